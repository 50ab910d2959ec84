"""Run by `test_phase_scheduler.py` in a process of its own: TensorFlow makes its virtual devices once."""

import json

import tensorflow as tf

import difflr
from difflr import Phase
from training.in_phases import Weights, compiled, fit

PHASES = [Phase("head", epochs=1), Phase("low", epochs=1), Phase("*", warm_up_steps=2)]


def trained(strategy):
    with strategy.scope():
        model = compiled(difflr.optimizers.SGD(0.05, momentum=0.9), jit_compile=False)
    weights = Weights()
    fit(model, PHASES, [weights], epochs=3)
    momentum = type(model.optimizer.momentums[0].value).__name__
    moved = [sorted(layers) for layers in weights.moved]
    return {"moved": moved, "momentum": momentum, "weights": [each.tolist() for each in model.get_weights()]}


def main():
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    mirrored = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    print(json.dumps([trained(mirrored), trained(tf.distribute.get_strategy())]))


if __name__ == "__main__":
    main()

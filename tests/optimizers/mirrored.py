"""Run by `test_mirrored.py` in a process of its own: TensorFlow makes its virtual devices once."""

import json
import os

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
import tensorflow as tf

import difflr

X = np.random.default_rng(0).normal(size=(16, 6)).astype("float32")
Y = np.random.default_rng(1).normal(size=(16, 2)).astype("float32")


def trained(groups, strategy=None):
    """The weights after an epoch, and how often gradients were reduced in a step."""
    counted = []
    real = tf.distribute.ReplicaContext.all_reduce

    def counting(self, *arguments, **more):
        counted.append(len(tf.nest.flatten(arguments[1])))
        return real(self, *arguments, **more)

    tf.distribute.ReplicaContext.all_reduce = counting
    with (strategy or tf.distribute.get_strategy()).scope():
        keras.utils.set_random_seed(0)
        layers = [keras.layers.Dense(4, name=f"layer_{i}", activation="tanh") for i in range(3)]
        model = keras.Sequential([keras.Input((6,)), *layers, keras.layers.Dense(2, name="head")])
        rules = {f"layer_{i}": 0.1 * (i + 1) for i in range(groups - 1)}
        optimizer = difflr.optimizers.AdamW(0.05, weight_decay=0.1, multipliers=difflr.Plan(model, rules))
        model.compile(optimizer, loss="mse", jit_compile=False)
    model.fit(X, Y, batch_size=8, epochs=1, shuffle=False, verbose=0)
    tf.distribute.ReplicaContext.all_reduce = real
    return [np.array(value).tolist() for value in model.get_weights()], counted


def main():
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    results = {groups: (trained(groups), trained(groups, strategy)) for groups in (1, 4)}
    print(json.dumps({str(groups): result for groups, result in results.items()}))


if __name__ == "__main__":
    main()

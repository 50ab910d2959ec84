"""Fine-tuning on two devices of one machine with TensorFlow. One device then goes on.

python examples/distribution/tensorflow_mirrored.py

The two devices are simulated on the CPU; without `simulate_devices` it takes the GPUs the machine has.
"""

import os

os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy as np
import tensorflow as tf

import difflr

X = np.random.default_rng(0).normal(size=(256, 16)).astype("float32")
Y = X[:, :4].argmax(axis=1)


def simulate_devices():
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    return ["CPU:0", "CPU:1"]


def compiled():
    body = [keras.layers.Dense(32, activation="relu", name=f"block{number}") for number in (1, 2)]
    layers = [keras.layers.Dense(32, name="stem"), *body, keras.layers.Dense(4, name="head")]
    model = keras.Sequential([keras.Input((16,)), *layers])
    plan = difflr.Plan(model, {"stem": difflr.FROZEN, "block?": 0.1, "kind:bias": {"weight_decay_multiplier": 0.0}})
    optimizer = difflr.optimizers.AdamW(1e-2, weight_decay=0.05, global_clipnorm=1.0, multipliers=plan)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss=loss, jit_compile=False)
    return model


def fit(model, first, last):
    phases = [difflr.Phase("head", epochs=1), difflr.Phase("*", warmup_steps=4)]
    callbacks = [difflr.PhaseScheduler(phases)]
    settings = {"batch_size": 64, "shuffle": False, "verbose": 0, "callbacks": callbacks}
    model.fit(X, Y, initial_epoch=first, epochs=last, **settings)
    return model


def trained(strategy, first, last, saved=None):
    """Train epochs `first` to `last`, from the start or from a saved file."""
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = keras.saving.load_model(saved) if saved else compiled()
    fit(model, first, last)  # 64 examples a step: 32 for each of two devices
    model.save("model.keras")
    return model


def main():
    two_devices = tf.distribute.MirroredStrategy(simulate_devices())
    one_device = tf.distribute.get_strategy()
    alone = trained(one_device, 0, 4).evaluate(X, Y, verbose=0)
    trained(two_devices, 0, 2)
    moved = trained(one_device, 2, 4, "model.keras").evaluate(X, Y, verbose=0)
    print(f"one device all the way: loss {alone:.6f}")
    print(f"two devices, then one: loss {moved:.6f}")


if __name__ == "__main__":
    main()

"""Fine-tuning on eight devices with JAX: the batch divided among them, or the weights too. One device then goes on.

python examples/distribution/jax_devices.py

The eight devices are simulated on the CPU; without the line that sets XLA_FLAGS it takes those the machine has.
"""

import os

os.environ["KERAS_BACKEND"] = "jax"
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"

import contextlib

import keras
import numpy as np

import difflr

X = np.random.default_rng(0).normal(size=(256, 16)).astype("float32")
Y = X[:, :4].argmax(axis=1)


def compiled():
    """A body at a tenth of the head's rate, and a stem that does not train."""
    body = [keras.layers.Dense(32, activation="relu", name=f"block{number}") for number in (1, 2)]
    layers = [keras.layers.Dense(32, name="stem"), *body, keras.layers.Dense(4, name="head")]
    model = keras.Sequential([keras.Input((16,)), *layers])
    plan = difflr.Plan(model, {"stem": difflr.FROZEN, "block?": 0.1, "kind:bias": {"weight_decay_multiplier": 0.0}})
    optimizer = difflr.optimizers.AdamW(1e-2, weight_decay=0.05, global_clipnorm=1.0, multipliers=plan)
    model.compile(optimizer, loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def data_parallel():
    """All weights on every device, the batch divided among them."""
    return keras.distribution.DataParallel()


def model_parallel():
    """The batch divided by two, the kernels of the blocks by four."""
    devices = keras.distribution.DeviceMesh((2, 4), ("batch", "model"), keras.distribution.list_devices())
    layouts = keras.distribution.LayoutMap(devices)
    layouts["block1/kernel"] = (None, "model")
    layouts["block2/kernel"] = ("model", None)
    return keras.distribution.ModelParallel(layout_map=layouts, batch_dim_name="batch")


def fit(model, first, last):
    phases = [difflr.Phase("head", epochs=1), difflr.Phase("*", warmup_steps=4)]
    callbacks = [difflr.PhaseScheduler(phases)]
    settings = {"batch_size": 64, "shuffle": False, "verbose": 0, "callbacks": callbacks}
    model.fit(X, Y, initial_epoch=first, epochs=last, **settings)
    return model


def trained(distribution, first, last, saved=None):
    """Train epochs `first` to `last`, from the start or from a saved file, and save the model."""
    keras.utils.set_random_seed(0)
    with distribution.scope() if distribution else contextlib.nullcontext():
        model = keras.saving.load_model(saved) if saved else compiled()
        fit(model, first, last)
        model.save("model.keras")
    return model


def main():
    alone = trained(None, 0, 4).evaluate(X, Y, verbose=0)
    trained(data_parallel(), 0, 2)
    trained(model_parallel(), 2, 3, "model.keras")
    moved = trained(None, 3, 4, "model.keras").evaluate(X, Y, verbose=0)
    print(f"one device all the way: loss {alone:.6f}")
    print(f"eight devices, the weights divided, one device: loss {moved:.6f}")


if __name__ == "__main__":
    main()

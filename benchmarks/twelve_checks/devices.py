"""Training on two devices after another optimizer has trained there, each backend in its own way."""

import multiprocessing
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

import difflr
from benchmarks.twelve_checks.check import FAILED, PASSED, PLAIN, SIDES, Check, Outcome, first_line
from benchmarks.twelve_checks.targets import multi

DEVICES = 2
STEPS = 2
SECONDS = 120  # after which processes that wait for each other are stopped
X = np.random.default_rng(0).normal(size=(16, 6)).astype("float32")
Y = np.random.default_rng(1).normal(size=(16, 2)).astype("float32")


def prepare(backend: str) -> None:
    """Makes two devices of one processor, before the backend has looked for devices."""
    if backend == "jax":
        import jax

        jax.config.update("jax_num_cpu_devices", DEVICES)
    elif backend == "tensorflow":
        import tensorflow as tf

        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * DEVICES)


def new_model() -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((X.shape[1],))
    hidden = keras.layers.Dense(4, activation="tanh", name="body")(inputs)
    return keras.Model(inputs, keras.layers.Dense(Y.shape[1], name="head")(hidden))


def fitted(make: Callable[[keras.Model], Any]) -> list[np.ndarray]:
    """The weights after an epoch of `fit`."""
    model = new_model()
    # XLA has no reductions between the virtual devices of TensorFlow's CPU.
    model.compile(make(model), loss="mse", jit_compile=keras.backend.backend() == "jax")
    model.fit(X, Y, batch_size=len(X) // STEPS, epochs=1, shuffle=False, verbose=0)
    return [np.array(value) for value in model.get_weights()]


def another(model: keras.Model) -> keras.optimizers.Optimizer:
    """What has trained on the two devices before."""
    return keras.optimizers.Adam(0.05)


def with_mirrored_strategy(make: Callable[[keras.Model], Any], one_strategy: bool) -> list[np.ndarray]:
    import tensorflow as tf

    def strategy() -> tf.distribute.Strategy:
        return tf.distribute.MirroredStrategy([f"CPU:{number}" for number in range(DEVICES)])

    first = strategy()
    with first.scope():
        fitted(another)
    with (first if one_strategy else strategy()).scope():
        return fitted(make)


def with_data_parallel(make: Callable[[keras.Model], Any], one_strategy: bool) -> list[np.ndarray]:
    first = keras.distribution.DataParallel()
    try:
        keras.distribution.set_distribution(first)
        fitted(another)
        keras.distribution.set_distribution(first if one_strategy else keras.distribution.DataParallel())
        return fitted(make)
    finally:
        keras.distribution.set_distribution(None)


def with_distributed_data_parallel(make: Callable[[keras.Model], Any], one_strategy: bool) -> list[np.ndarray]:
    """Torch's own: a process for each device, here both on the processor. Each finds `make` by its place in `CHECK`."""
    side, way = next((s, w) for s in SIDES for w, found in DEVICE.ways(s).items() if found["make"] is make)
    with tempfile.TemporaryDirectory() as folder:
        spawn = multiprocessing.get_context("spawn")
        processes = [
            spawn.Process(target=one_of_many, args=(rank, side, way, folder), daemon=True) for rank in range(DEVICES)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join(SECONDS)
        for process in processes:
            process.kill()
        failed = Path(folder) / "error"
        if failed.exists():
            raise RuntimeError(failed.read_text())
        with np.load(Path(folder) / "weights.npz") as weights:
            return list(weights.values())


def one_of_many(rank: int, side: str, way: str, folder: str) -> None:
    """What one process does: its part of each batch; the first one writes the weights to `folder`."""
    import torch
    from torch import distributed

    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=DEVICES)
    try:
        for name in ("another", "this"):
            model = new_model()
            replica = torch.nn.parallel.DistributedDataParallel(model)
            optimizer = another(model) if name == "another" else DEVICE.ways(side)[way]["make"](model)
            optimizer.build(model.trainable_variables)
            for step in range(STEPS):
                size = len(X) // STEPS // DEVICES
                begin = (step * DEVICES + rank) * size
                x, y = (torch.from_numpy(each[begin : begin + size]) for each in (X, Y))
                model.zero_grad()
                keras.ops.mean((replica(x) - y) ** 2).backward()
                variables = model.trainable_variables
                with torch.no_grad():
                    optimizer.apply([variable.value.grad for variable in variables], variables)
        if rank == 0:
            np.savez(Path(folder) / "weights.npz", *[np.array(value) for value in model.get_weights()])
    except Exception as error:
        (Path(folder) / "error").write_text(first_line(error))
    finally:
        distributed.destroy_process_group()


def two_adams(model: keras.Model) -> keras.optimizers.Optimizer:
    return multi(keras.optimizers.Adam(0.1), {"body/.*": keras.optimizers.Adam(0.01)})


ON_TWO = {
    "jax": with_data_parallel,
    "tensorflow": with_mirrored_strategy,
    "torch": with_distributed_data_parallel,
}


def device_trial(make: Callable[[keras.Model], Any], one_strategy: bool = False) -> Outcome:
    alone = fitted(make)
    both = ON_TWO[keras.backend.backend()](make, one_strategy)
    difference = max(np.abs(a - b).max() for a, b in zip(alone, both, strict=True))
    seen = f"largest difference to one device {difference:.2g}, asked at most 1e-5"
    return Outcome(PASSED if difference <= 1e-5 else FAILED, seen)


DEVICE = Check(
    "Two devices, after another optimizer has trained there",
    "`body` at a tenth of Adam's rate, on two devices where stock Adam has trained the same network before: `DataParallel`, "
    "`MirroredStrategy` and `DistributedDataParallel`, a new one for each. The weights should equal those of one device. "
    "(With networks of *different* sizes, a second `MirroredStrategy` fails in TensorFlow 2.21 with any optimizer.)",
    device_trial,
    keras={
        PLAIN: {"make": two_adams},
        "one strategy object for both": {"make": lambda model: two_adams(model), "one_strategy": True},
    },
    difflr={
        PLAIN: {"make": lambda model: difflr.optimizers.Adam(0.1, multipliers=difflr.Plan(model, {"body": 0.1}))},
    },
    alone=True,
)

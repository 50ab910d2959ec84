"""What a saved and loaded model does."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

import difflr
from benchmarks.twelve_checks import effects
from benchmarks.twelve_checks.check import FAILED, PASSED, PLAIN, Check, Outcome
from benchmarks.twelve_checks.targets import multi


def saved_and_loaded(model: keras.Model, **objects: Any) -> keras.Model:
    """The model after a trip to the disk, as if in another process: Keras's automatic names begin anew."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.keras"
        model.save(file)
        keras.utils.clear_session()
        return keras.saving.load_model(file, custom_objects=objects)


# -- a nested backbone ------------------------------------------------------------------------------------------------


def resume_trial(make: Callable[[keras.Model], Any]) -> Outcome:
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(4, activation="tanh", name=name) for name in ("stem", "top")]
    backbone = keras.Sequential(layers, name="backbone")
    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Dense(effects.UNITS, name="head")(backbone(inputs)))
    model.compile(make(model), loss="mse")
    x = np.random.default_rng(0).normal(size=effects.X.shape)
    arguments = {"x": x, "y": x[:, : effects.UNITS], "batch_size": 8, "epochs": 2, "shuffle": False, "verbose": 0}
    model.fit(**arguments)
    loaded = saved_and_loaded(model)
    for each in (model, loaded):
        each.fit(**arguments)
    differences = [np.abs(a - b).max() for a, b in zip(model.get_weights(), loaded.get_weights(), strict=True)]
    return Outcome(
        PASSED if max(differences) == 0 else FAILED,
        f"largest difference to the run without a break {max(differences):.3g}, asked 0",
    )


def nested(pattern: str) -> keras.optimizers.Optimizer:
    return multi(keras.optimizers.Adam(1e-2), {pattern: keras.optimizers.Adam(1e-3)})


RESUME = Check(
    "Saving and resuming, with a nested backbone",
    "`backbone`, a nested `Sequential`, at a tenth of Adam's rate; two epochs, save, load, two epochs. The weights should "
    "equal those of four epochs without a break, bit for bit.",
    resume_trial,
    keras={
        PLAIN: {"make": lambda model: nested("backbone/.*")},
        "a pattern for the names before and after loading": {"make": lambda model: nested("(backbone/)?(stem|top)/.*")},
    },
    difflr={
        PLAIN: {
            "make": lambda model: difflr.optimizers.Adam(1e-2, multipliers=difflr.Plan(model, {"backbone": 0.1})),
        }
    },
)


# -- what does not decay ----------------------------------------------------------------------------------------------


def decay_trial(make: Callable[..., Any], after: Callable[[Any], None] = lambda optimizer: None) -> Outcome:
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(effects.UNITS, bias_initializer="ones", name="head")]
    )
    optimizer = make(0.1, weight_decay=0.1)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    model.compile(optimizer, loss=effects.no_gradient)
    before = decayed(model)
    loaded = saved_and_loaded(model, no_gradient=effects.no_gradient)
    after(loaded.optimizer)
    later = decayed(loaded)
    right = before["bias"] == later["bias"] == 0 and before["kernel"] > 0 and later["kernel"] > 0
    seen = (
        f"bias lost {100 * before['bias']:.2g} % before saving and {100 * later['bias']:.2g} % after loading (asked 0)"
    )
    return Outcome(PASSED if right else FAILED, f"{seen}, kernel {100 * later['kernel']:.2g} %")


def decayed(model: keras.Model) -> dict[str, float]:
    """Which part of themselves kernel and bias lose in an epoch."""
    before = effects.values(model)
    effects.fit(model)
    after = effects.values(model)
    sums = [(np.abs(b).sum(), np.abs(a).sum()) for b, a in zip(before, after, strict=True)]
    return {name: float((b - a) / b) for name, (b, a) in zip(("kernel", "bias"), sums, strict=True)}


def exclude_again(optimizer: Any) -> None:
    optimizer.exclude_from_weight_decay(var_names=["bias"])


DECAY = Check(
    "Exclusion from weight decay, after loading",
    '`exclude_from_weight_decay(var_names=["bias"])`, save, load, train without a gradient: the bias should not decay.',
    decay_trial,
    keras={
        PLAIN: {"make": keras.optimizers.AdamW},
        "excluded again after loading": {"make": keras.optimizers.AdamW, "after": exclude_again},
    },
    difflr={PLAIN: {"make": difflr.optimizers.AdamW}},
)

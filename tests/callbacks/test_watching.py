"""Who watches changes nothing: training is the same with and without each callback of ours, bit for bit."""

import contextlib
import functools
import gc
import warnings
import weakref

import keras
import numpy as np
import pytest

import difflr
from optimizers.steps import BACKEND, values

pytestmark = pytest.mark.usefixtures("quick_compilation")
NUMBERS = np.random.default_rng(0)
X = NUMBERS.normal(size=(24, 4)).astype("float32")
Y = NUMBERS.normal(size=(24, 4)).astype("float32")

OURS = {
    "logger": lambda folder: [difflr.GroupLogger()],
    "logger of every batch": lambda folder: [difflr.GroupLogger(freq=1)],
    "verify": lambda folder: [difflr.VerifyPlan()],
    "stop at NaN": lambda folder: [difflr.TerminateOnNaN(freq=1)],
    "backup": lambda folder: [difflr.BackupAndRestore(folder / "backup")],
    "together": lambda folder: [difflr.VerifyPlan(), difflr.GroupLogger(freq=1), difflr.TerminateOnNaN(freq=1)],
}


@pytest.fixture(autouse=True)
def nothing_is_collected():
    """So that whatever is kept in a circle is kept for good: on JAX a step that was traced is found again."""
    if BACKEND == "jax":
        gc.disable()
    yield
    gc.enable()


# What JAX compiled can be found again; TensorFlow's graphs take seconds each, so one scenario there is about them.
EAGER = {"run_eagerly": BACKEND == "tensorflow"}
GRAPH = {"jit_compile": BACKEND == "jax"}


def new_model():
    """Three layers of the same shape: a step that was compiled to train others fits, too."""
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((4,)), *(keras.layers.Dense(4, name=f"block{n}") for n in (1, 2, 3))])


def fit(model, callbacks, epochs=1):
    return model.fit(X, Y, batch_size=8, epochs=epochs, shuffle=False, verbose=0, callbacks=callbacks).history["loss"]


def compiled(model, optimizer, frozen, settings=EAGER):
    model.compile(optimizer(1e-2, multipliers=difflr.Plan(model, {frozen: difflr.FROZEN})), loss="mse", **settings)


class Raises(keras.callbacks.Callback):
    """Raises an error in the second batch."""

    def __init__(self, method, error):
        super().__init__()
        self.error = error
        setattr(self, method, self.strike)

    def strike(self, batch, logs=None):
        if batch == 1:
            raise self.error("on purpose")


def two_fits(model, ours, settings=EAGER):
    for optimizer, frozen in ((difflr.optimizers.Adam, "block1"), (difflr.optimizers.Adam, "block2")):
        compiled(model, optimizer, frozen, settings)
        yield fit(model, ours())


def phases(model, ours):
    model.compile(difflr.optimizers.Adam(1e-2), loss="mse", **EAGER)
    trainable = [difflr.Phase(trainable=[f"block{n}"], epochs=1) for n in (1, 2, 3)]
    yield fit(model, [difflr.PhaseScheduler(difflr.Phases(trainable)), *ours()], epochs=3)


def error_in_a_neighbor(method, error):
    def scenario(model, ours):
        compiled(model, difflr.optimizers.Adam, "block1")
        with contextlib.suppress(RuntimeError, KeyboardInterrupt):
            fit(model, [*ours(), Raises(method, error)])
        yield fit(model, [], epochs=1)  # not compiled anew
        compiled(model, difflr.optimizers.Adam, "block2")
        yield fit(model, ours())

    return scenario


def error_in_the_step(model, ours):
    failing = [True]

    def loss(y_true, y_pred):
        if failing:
            raise RuntimeError("on purpose")
        return keras.ops.mean(keras.ops.square(y_true - y_pred))

    compiled(model, difflr.optimizers.Adam, "block1")
    model.compile(model.optimizer, loss=loss, **EAGER)
    with pytest.raises(RuntimeError, match="on purpose"):
        fit(model, ours())
    failing.clear()
    compiled(model, difflr.optimizers.Adam, "block2")
    yield fit(model, ours())


SCENARIOS = {
    "two fits": two_fits,
    "two compiled fits": functools.partial(two_fits, settings=GRAPH),
    "phases": phases,
    "error before a step": error_in_a_neighbor("on_train_batch_begin", RuntimeError),
    "interrupt before a step": error_in_a_neighbor("on_train_batch_begin", KeyboardInterrupt),
    "interrupt after a step": error_in_a_neighbor("on_train_batch_end", KeyboardInterrupt),
    "error in the step": error_in_the_step,
}


def outcome(scenario, ours):
    model = new_model()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a step that was interrupted VerifyPlan says that it saw nothing
        losses = list(SCENARIOS[scenario](model, ours))
    return losses, values([*model.variables, *model.optimizer.variables])


@pytest.fixture(scope="module")
def alone():
    """What happens without callbacks of ours."""
    found = {}

    def of(scenario):
        if scenario not in found:
            found[scenario] = outcome(scenario, list)
        return found[scenario]

    return of


OTHERS = [name for name in SCENARIOS if name != "two fits" and (name != "two compiled fits" or BACKEND == "tensorflow")]
CASES = [*(("two fits", ours) for ours in OURS), *((scenario, "together") for scenario in OTHERS)]


@pytest.mark.same_everywhere(but=["two compiled fits-together", "phases-together"])
@pytest.mark.parametrize(("scenario", "ours"), CASES)
def test_training_is_the_same(scenario, ours, alone, tmp_path):
    losses, variables = outcome(scenario, lambda: OURS[ours](tmp_path))
    expected_losses, expected_variables = alone(scenario)
    assert losses == expected_losses
    for found, expected in zip(variables, expected_variables, strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.same_everywhere
def test_a_model_is_as_it_was():
    model = new_model()
    compiled(model, difflr.optimizers.Adam, "block1")
    fit(model, [])
    of_model, of_optimizer = set(vars(model)), set(vars(model.optimizer))
    step = weakref.ref(model.train_function)
    logger = difflr.GroupLogger(freq=1)
    with pytest.raises(RuntimeError, match="on purpose") as kept:
        fit(model, [logger, difflr.VerifyPlan(), Raises("on_train_batch_begin", RuntimeError)])
    assert set(vars(model)) == of_model
    assert set(vars(model.optimizer)) == of_optimizer
    fit(model, [])
    assert model.train_function is step()
    fit(model, [logger])
    del kept
    model.compile("sgd", loss="mse")
    assert step() is None  # nobody keeps it


def test_a_progress_bar_is_as_it_was(capsys):
    model, bar = new_model(), keras.callbacks.ProgbarLogger()
    compiled(model, difflr.optimizers.Adam, "block1")
    attributes = dict(vars(bar))
    model.fit(X, Y, callbacks=[bar, difflr.GroupLogger(freq=1)], verbose=2)
    assert "on_epoch_end" not in vars(bar)
    assert set(vars(bar)) >= set(attributes)
    assert "update_ratio" not in capsys.readouterr().out


@pytest.mark.same_everywhere
@pytest.mark.skipif(BACKEND == "torch", reason="torch compiles one step at a time")
def test_the_rate_is_that_of_the_measured_step_among_several():
    model = new_model()
    rate = keras.optimizers.schedules.PiecewiseConstantDecay([0, 1, 2, 3], [0.1, 0.2, 0.3, 0.4, 0.5])
    model.compile(difflr.optimizers.SGD(rate), loss="mse", steps_per_execution=2, **GRAPH)
    history = model.fit(X, Y, batch_size=4, shuffle=False, verbose=0, callbacks=[difflr.GroupLogger()]).history
    assert history["learning_rate/all"] == [pytest.approx(0.4)]  # six batches: the fourth

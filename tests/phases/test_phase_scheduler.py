"""Phases in `fit`: who moves when, how far, and what the others cost."""

import itertools
from pathlib import Path

import keras
import numpy as np
import pytest

import difflr
from difflr import Phase
from optimizers import steps
from phases.in_phases import BATCH, NAMES, Weights, X, Y, compiled, fit, new_model, number

pytestmark = pytest.mark.usefixtures("quick_compilation")
BACKEND = keras.backend.backend()
TESTS = Path(__file__).parents[1]
THREE = [Phase("head", epochs=1), Phase(["head", "mid"], epochs=2), Phase("*")]
MOVED = [{"head"}, {"head", "mid"}, {"head", "mid"}, set(NAMES)]


@pytest.mark.same_everywhere(but=["plain", "eagerly", "jit"])
@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param({}, id="plain"),
        pytest.param({"run_eagerly": True}, id="eagerly"),
        pytest.param({"jit_compile": True}, id="jit", marks=pytest.mark.skipif(BACKEND == "torch", reason="slow")),
        pytest.param({"jit_compile": False}, id="no_jit"),
        pytest.param(
            {"steps_per_execution": 3},
            id="steps_per_execution",
            marks=pytest.mark.skipif(BACKEND == "torch", reason="Keras refuses it on torch"),
        ),
    ],
)
def test_each_layer_moves_in_its_phases_only(arguments):
    weights = Weights()
    fit(compiled(**arguments), THREE, [weights])
    assert weights.moved == MOVED


@pytest.mark.same_everywhere
def test_chain_thaw_freezes_again():
    weights, model = Weights(), compiled()
    fit(model, difflr.phases.chain_thaw(model), [weights])
    assert weights.moved == [{"head"}, {"low"}, {"mid"}, set(NAMES)]


@pytest.mark.same_everywhere
def test_validation_follows_layers_of_equal_shapes():
    """JAX takes the compiled evaluation of the phase before, in which two layers of one shape had changed places."""
    model, expected = compiled(), []

    def note(epoch, logs):
        low, mid, head = ([number(v) for v in model.get_layer(name).variables] for name in NAMES)
        predicted = np.tanh(np.tanh(X @ low[0] + low[1]) @ mid[0] + mid[1]) @ head[0] + head[1]
        expected.append(np.mean((predicted - Y) ** 2))

    phases = [Phase("low", epochs=1), Phase("mid", epochs=1), Phase("*")]
    history = fit(model, phases, [keras.callbacks.LambdaCallback(on_epoch_end=note)], epochs=3, validation_data=(X, Y))
    np.testing.assert_allclose(history.history["val_loss"], expected, rtol=1e-5)


def test_phases_in_mixed_precision():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        weights, model = Weights(), compiled()
    finally:
        keras.config.set_dtype_policy("float32")
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    model.optimizer.build(model.trainable_variables)
    number_of = len(model.optimizer.variables)
    fit(model, THREE, [weights])
    assert weights.moved == MOVED
    assert len(model.optimizer.variables) == number_of


def test_frozen_layers_cost_nothing():
    model, seen = compiled(), []
    note = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append((len(model.trainable_variables), len(model.optimizer.variables)))
    )
    fit(model, difflr.phases.chain_thaw(model), [note], epochs=4)
    assert [trainable for trainable, _ in seen] == [2, 2, 2, 6]
    state = [number_of for _, number_of in seen]
    assert state == [2 + 2 * 2 + 1] * 3 + [2 + 6 * 2 + 1]  # step and rate, two moments each, the multipliers


@pytest.mark.skipif(BACKEND != "torch", reason="about torch")
def test_torch_computes_no_gradient_of_frozen_layers():
    model, seen = compiled(), []

    def note(batch, logs):
        seen.append([model.get_layer(name).kernel.value.requires_grad for name in NAMES])

    fit(model, THREE, [keras.callbacks.LambdaCallback(on_train_batch_end=note)], epochs=4)
    assert seen[0] == [False, False, True]
    assert seen[3] == [False, True, True]
    assert seen[-1] == [True, True, True]


@pytest.mark.skipif(BACKEND != "jax", reason="about JAX")
def test_jax_compiles_a_cheaper_step():
    model, flops = compiled(difflr.optimizers.SGD(0.1)), []
    note = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: flops.append(_flops(model)))
    fit(model, [Phase("head", epochs=1), Phase("*")], [note], epochs=2)
    head_only, everything = flops
    assert head_only < 0.75 * everything


def _flops(model):
    import jax

    state = [[v.value for v in each] for each in (model.trainable_variables, model.non_trainable_variables)]
    state += [[v.value for v in model.optimizer.variables], [v.value for v in model.metrics_variables]]
    compiled_step = jax.jit(model.train_step).lower(tuple(state), (X[:BATCH], Y[:BATCH])).compile()
    return compiled_step.cost_analysis()["flops"]


@pytest.mark.same_everywhere(but=["SGD", "Adam"])
@pytest.mark.parametrize("name", ["SGD", "Adam", "RMSprop"])
def test_equals_two_trainings_with_the_state_carried_by_hand(name):
    """Phase 1 as a plan that freezes; then a new optimizer, which is given the step and the state of the head."""
    make = getattr(difflr.optimizers, name)
    in_phases = compiled(make(0.01))
    fit(in_phases, [Phase("head", epochs=2), Phase("*", own_bias_correction=False)], epochs=4)

    first = new_model()
    first.compile(
        make(0.01, multipliers=difflr.Plan(first, {"*": difflr.FROZEN, "head": difflr.TRAINABLE})), loss="mse"
    )
    fit(first, epochs=2)
    second = compiled(make(0.01))
    second.set_weights(first.get_weights())
    second.optimizer.build(second.trainable_variables)
    second.optimizer.iterations.assign(number(first.optimizer.iterations))
    theirs = {v.path.split("/")[-1]: v for v in second.optimizer.variables}
    for variable in first.optimizer.variables:
        if "head_" in variable.path:
            theirs[variable.path.split("/")[-1]].assign(number(variable))
    fit(second, epochs=2)
    for mine, expected in zip(in_phases.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, expected)


# -- newly unfrozen ----------------------------------------------------------------------------------------------------

RATE = 0.01


def moved_after_joining(optimizer, **arguments):
    """How far `slow` moves in each of its three steps, under a constant gradient, after 10 steps of `fast` alone."""
    model, kernels = steps.side_by_side(), []
    model.compile(optimizer, loss=steps.mean_output)
    note = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: kernels.append(number(model.get_layer("slow").kernel))
    )
    phases = [Phase("fast", epochs=10), Phase("*", **arguments)]
    steps.fit(model, epochs=13, callbacks=[difflr.PhaseScheduler(phases), note])
    assert all(np.array_equal(kernels[0], each) for each in kernels[:10])
    return [float(np.mean(a - b)) for a, b in itertools.pairwise(kernels[9:])]


@pytest.mark.same_everywhere(but=["Adam"])
@pytest.mark.parametrize("name", ["Adam", "AdamW", "Adamax"])
def test_a_newcomer_counts_its_own_steps(name):
    """Under a constant gradient a bias-corrected Adam moves by the rate at every step."""
    optimizer = getattr(difflr.optimizers, name)(RATE, weight_decay=0.0)
    np.testing.assert_allclose(moved_after_joining(optimizer), RATE, rtol=1e-4)


@pytest.mark.same_everywhere
@pytest.mark.parametrize("name", ["Adam", "Adamax"])
def test_sharing_the_count_makes_wrong_steps(name):
    """What Keras would do: the moments of the newcomer are corrected as if they had seen 11 gradients, not one."""
    optimizer = getattr(difflr.optimizers, name)(RATE)
    moved = moved_after_joining(optimizer, own_bias_correction=False)
    t = np.arange(11.0, 14)
    first, second = (1 - 0.9 ** (t - 10)) / (1 - 0.9**t), (1 - 0.999 ** (t - 10)) / (1 - 0.999**t)
    np.testing.assert_allclose(moved, RATE * (first / np.sqrt(second) if name == "Adam" else first), rtol=1e-4)


@pytest.mark.same_everywhere
def test_the_clock_is_not_on_the_decay():
    decayed = {}
    for own in (True, False):
        optimizer = difflr.optimizers.AdamW(RATE, weight_decay=20.0)
        decayed[own] = moved_after_joining(optimizer, own_bias_correction=own)[0]
    without = [
        moved_after_joining(difflr.optimizers.AdamW(RATE, weight_decay=0.0), own_bias_correction=own)[0]
        for own in (True, False)
    ]
    np.testing.assert_allclose(decayed[True] - without[0], decayed[False] - without[1], rtol=1e-3)


def test_a_newcomer_warms_up_alone():
    moved = moved_after_joining(difflr.optimizers.SGD(RATE), warmup_steps=2)
    full = RATE * np.mean(steps.kernel_gradient())
    np.testing.assert_allclose(moved, [full / 2, full, full], rtol=1e-5)


@pytest.mark.same_everywhere
def test_the_count_rests_while_the_variable_is_frozen():
    """Frozen after two steps and unfrozen ten steps later, it goes on with its third."""
    model, kernels = steps.side_by_side(), []
    model.compile(difflr.optimizers.Adam(RATE), loss=steps.mean_output)
    note = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: kernels.append(number(model.get_layer("slow").kernel))
    )
    phases = [Phase("*", epochs=2), Phase("fast", epochs=10), Phase("*")]
    steps.fit(model, epochs=14, callbacks=[difflr.PhaseScheduler(phases), note])
    moved = [float(np.mean(a - b)) for a, b in itertools.pairwise(kernels)]
    np.testing.assert_allclose(moved, [RATE] + [0] * 10 + [RATE] * 2, rtol=1e-4, atol=1e-9)


# -- the end of a phase -----------------------------------------------------------------------------------------------


class Trainable(keras.callbacks.Callback):
    """How many variables are trainable after each batch."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_batch_begin(self, batch, logs=None):
        self.seen.append(len(self.model.trainable_variables))


def test_phases_end_in_the_middle_of_an_epoch():
    trainable = Trainable()
    fit(compiled(), [Phase("head", steps=2), Phase(["head", "mid"], steps=5), Phase("*")], [trainable], epochs=3)
    assert trainable.seen == [2, 2, 4, 4, 4, 4, 4, 6, 6]


@pytest.mark.same_everywhere
def test_steps_are_those_of_the_optimizer():
    trainable = Trainable()
    optimizer = difflr.optimizers.SGD(0.01, gradient_accumulation_steps=2)
    fit(compiled(optimizer), [Phase("head", steps=2), Phase("*")], [trainable], epochs=2)
    assert trainable.seen == [2, 2, 2, 2, 6, 6]


@pytest.mark.same_everywhere
def test_training_ends_with_the_last_phase():
    history = fit(compiled(), [Phase("head", steps=2), Phase("*", steps=3)], epochs=9)
    assert history.epoch == [0, 1]


class Says(keras.metrics.Metric):
    """A metric whose value is decided by the test: one for each epoch."""

    def __init__(self, values, name="said"):
        super().__init__(name=name)
        self.values, self.epoch = iter(values), self.add_variable((), "zeros", name="value")

    def update_state(self, *args, **kwargs):
        pass

    def result(self):
        return keras.ops.convert_to_tensor(self.epoch)


class Sets(keras.callbacks.Callback):
    def __init__(self, metric):
        super().__init__()
        self.metric = metric

    def on_epoch_begin(self, epoch, logs=None):
        value = next(self.metric.values)
        self.metric.reset_state = lambda: self.metric.epoch.assign(value)
        self.metric.reset_state()


def plateau(values, phase, monitor="said_loss", **arguments):
    metric, trainable = Says(values, name="said_loss"), []
    model = new_model()
    model.compile(difflr.optimizers.SGD(0.01), loss="mse", metrics=[metric])
    note = keras.callbacks.LambdaCallback(on_epoch_end=lambda e, logs: trainable.append(len(model.trainable_variables)))
    fit(model, [phase, Phase("*")], [Sets(metric), note], epochs=len(values), **arguments)
    return trainable


@pytest.mark.same_everywhere
def test_a_phase_ends_on_a_plateau_of_the_training():
    phase = Phase("head", monitor="said_loss", patience=2)
    assert plateau([5, 4, 4, 3, 3, 3, 1, 1], phase) == [2, 2, 2, 2, 2, 2, 6, 6]


@pytest.mark.same_everywhere
def test_a_phase_ends_on_a_plateau_of_the_validation():
    phase = Phase("head", monitor="val_said_loss", patience=1)
    assert plateau([5, 4, 4, 3], phase, validation_data=(X, Y)) == [2, 2, 2, 6]


@pytest.mark.same_everywhere
def test_min_delta_and_mode_count_as_in_early_stopping():
    assert plateau([5, 4.5, 4, 3], Phase("head", monitor="said_loss", patience=1, min_delta=0.6)) == [2, 2, 6, 6]
    assert plateau([5, 4, 3, 2], Phase("head", monitor="said_loss", mode="max", patience=1)) == [2, 2, 6, 6]


def test_a_plateau_is_not_waited_for_longer_than_the_epochs_given():
    assert plateau([5, 4, 3, 2], Phase("head", monitor="said_loss", patience=1, epochs=3)) == [2, 2, 2, 6]


def test_training_ends_on_the_plateau_of_the_last_phase():
    metric = Says([5, 5, 5, 5, 5, 5], name="said_loss")
    model = new_model()
    model.compile(difflr.optimizers.SGD(0.01), loss="mse", metrics=[metric])
    phases = [Phase("head", epochs=1), Phase("*", monitor="said_loss", patience=2)]
    assert fit(model, phases, [Sets(metric)], epochs=6).epoch == [0, 1, 2, 3]


def test_nan_is_no_improvement():
    phase = Phase("head", monitor="loss")
    assert phase.is_better(1.0, None)
    assert not phase.is_better(float("nan"), None)
    assert not phase.is_better(float("nan"), 1.0)


@pytest.mark.skipif(BACKEND != "torch", reason="about torch")
def test_equals_torch_with_the_gradients_switched_off_by_hand():
    """In torch every parameter has its own step, which rests while it has no gradient."""
    import torch

    settings = {"head": ("head",), "low": ("low",), "*": NAMES}
    model = compiled(difflr.optimizers.Adam(0.01, epsilon=1e-12))
    expected = new_model()
    fit(model, [Phase("head", epochs=2), Phase("low", epochs=1), Phase("*")], epochs=5)

    layers = {name: expected.get_layer(name) for name in NAMES}
    optimizer = torch.optim.Adam([v.value for v in expected.variables], lr=0.01, eps=1e-12)
    for trainable in ["head", "head", "low", "*", "*"]:
        for name, layer in layers.items():
            for variable in layer.variables:
                variable.value.requires_grad_(name in settings[trainable])
        for start in range(0, len(X), BATCH):
            optimizer.zero_grad(set_to_none=True)
            x, y = (torch.from_numpy(each[start : start + BATCH]) for each in (X, Y))
            torch.mean((expected(x) - y) ** 2).backward()
            optimizer.step()
    for mine, theirs in zip(model.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("swap_first", [True, False])
def test_averages_in_the_model_while_the_phase_changes(swap_first):
    """`SwapEMAWeights` takes them out again at the beginning of the next epoch, before a phase may begin."""
    model = keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(3, name="body"), keras.layers.Dense(1, name="head")]
    )
    model.compile(difflr.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5), loss="mse")
    phases = difflr.PhaseScheduler([difflr.Phase("head", epochs=1), difflr.Phase("body")])
    callbacks = [keras.callbacks.SwapEMAWeights(swap_on_epoch=True), phases][:: 1 if swap_first else -1]
    seen = []  # on torch: elsewhere the weights are with `fit` between batches
    look = (
        (lambda batch, logs=None: seen.append(keras.ops.convert_to_numpy(model.layers[1].kernel)))
        if keras.backend.backend() == "torch"
        else None
    )
    note = keras.callbacks.LambdaCallback(on_train_batch_end=look)

    def train():
        x = np.ones((2, 2), "float32")
        model.fit(x, x[:, :1], epochs=2, verbose=0, callbacks=[*callbacks, note])

    if swap_first:
        train()
        assert len(seen) in (0, 2)
        for weights in seen[1:]:
            np.testing.assert_array_equal(weights, seen[0])  # the head's own weights, not their averages
    else:
        with pytest.raises(ValueError, match="Put it first"):
            train()

"""torch's fused kernels: the exact optimizer within rounding, and never where they are another formula."""

import keras
import numpy as np
import pytest

import difflr
from difflr.optimizers.torch_passes import exact, fused
from optimizers.steps import (
    BACKEND,
    NAMES,
    assert_same,
    fit,
    gradients,
    new_variables,
    ours,
    side_by_side,
    train,
    values,
)

pytestmark = pytest.mark.skipif(BACKEND != "torch", reason="only torch has fused kernels")

FUSED = {
    "SGD-momentum": {"momentum": 0.9},
    "Adam": {},
    "Adam-amsgrad": {"amsgrad": True},
    "Adam-large epsilon": {"epsilon": 0.1},
    "Adam-without momentum": {"beta_1": 0.0},
    "AdamW": {"weight_decay": 0.3},
    "AdamW-averages": {"use_ema": True, "ema_momentum": 0.9, "ema_overwrite_frequency": 7},
    "AdamW-clipped and scaled": {"global_clipnorm": 0.7, "loss_scale_factor": 8.0},
    "AdamW-accumulating": {"gradient_accumulation_steps": 3},
    "Adagrad": {"weight_decay": 0.3},
}
EXACT = {
    "SGD": {},
    "SGD-nesterov": {"momentum": 0.9, "nesterov": True},
    "Adagrad-from zero": {"initial_accumulator_value": 0.0},
    "Adagrad-large epsilon": {"epsilon": 1e-3},
}


@pytest.fixture
def taken(monkeypatch):
    """Which passes are taken."""
    passes = []

    def noting(module):
        def note(function):
            def noted(step):
                passes.append(module.__name__.rpartition(".")[2])
                function(step)

            return noted

        monkeypatch.setattr(module, "PASSES", {name: note(function) for name, function in module.PASSES.items()})

    noting(exact)
    noting(fused)
    return passes


def groups(variables, decays):
    """Three groups: one decays less, one follows a schedule."""
    warm_up = keras.optimizers.schedules.PolynomialDecay(0.1, 50, end_learning_rate=1.0)
    return [
        (variables[1], {"multiplier": 0.5} | ({"weight_decay_multiplier": 0.0} if decays else {})),
        (variables[2], {"multiplier": 0.1} | ({"weight_decay_multiplier": 0.5} if decays else {})),
        (variables[3], {"schedule": warm_up}),
    ]


@pytest.mark.parametrize("setting", FUSED)
@pytest.mark.parametrize("follows", ["effective_rate", "base_rate"])
def test_a_hundred_steps(setting, follows, taken):
    name = setting.partition("-")[0]
    trained = []
    for fuse in (True, False):
        variables = new_variables()
        settings = FUSED[setting] | {"weight_decay_follows": follows}
        decays = name == "AdamW" or "weight_decay" in settings
        optimizer = ours(name, groups(variables, decays), 1e-3, fused=fuse, **settings)
        trained.append(train(optimizer, variables, steps=100) + values(optimizer.variables))
    assert set(taken) == {"fused", "exact"}
    for got, expected in zip(*trained, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-6 * max(np.abs(expected).max(), 1e-3))


@pytest.mark.parametrize("setting", EXACT)
def test_another_formula_is_not_fused(setting, taken):
    name = setting.partition("-")[0]
    variables = new_variables()
    train(ours(name, 0.5, fused=True, **EXACT[setting]), variables)
    assert set(taken) == {"exact"}


@pytest.mark.parametrize("name", [name for name in NAMES if name not in {*fused.PASSES, "AdamW"}])
def test_all_others_are_exact(name):
    mine, theirs = new_variables(), new_variables()
    assert_same(train(ours(name, 0.5, fused=True), mine), train(ours(name, 0.5), theirs))


def test_half_precision_is_not_fused(taken):
    variables = [keras.Variable(np.ones((3, 2)), dtype="float16")]
    ours("AdamW", 0.5, fused=True).apply([keras.ops.ones((3, 2), dtype="float16")], variables)
    assert taken == ["exact"]


def test_double_precision_is_fused(taken):
    start = np.random.default_rng(0).normal(size=(3, 2))
    trained = []
    for fuse in (True, False):
        variable = keras.Variable(start, dtype="float64")
        optimizer = ours("Adam", 0.5, fused=fuse)
        for _ in range(5):
            optimizer.apply([keras.ops.convert_to_tensor(start)], [variable])
        trained.append(values([variable]))
    assert taken == ["fused"] * 5 + ["exact"] * 5
    np.testing.assert_allclose(*trained, rtol=1e-12)


@pytest.mark.parametrize("of_gradient", [True, False])
def test_a_transposed_tensor(of_gradient, taken):
    """The kernels read memory from end to end: of a transposed tensor they would update the wrong numbers."""
    import torch

    trained = []
    gradient = torch.arange(1.0, 7.0).reshape(3, 2)
    for fuse in (True, False):
        variable = keras.Variable(np.arange(6.0).reshape(3, 2))
        if of_gradient:
            gradient = gradient.t().contiguous().t()
        else:
            variable.value.data = variable.value.data.t().contiguous().t()
        ours("Adam", 0.5, fused=fuse).apply([gradient * torch.tensor([[1.0], [2.0], [3.0]])], [variable])
        trained.append(values([variable]))
    assert_same(*trained)


def test_a_rate_of_zero_still_decays_at_the_base_rate():
    """A group whose schedule is at 0 stands still, but for a decay that follows the base rate."""
    zero = keras.optimizers.schedules.PiecewiseConstantDecay([100], [0.0, 1.0])
    variables = new_variables()
    rules = [(variables[2], {"schedule": zero})]
    before = values(variables)
    settings = {"weight_decay": 0.5, "weight_decay_follows": "base_rate"}
    train(ours("AdamW", rules, 0.1, fused=True, **settings), variables, steps=1)
    np.testing.assert_allclose(values(variables)[2], before[2] * 0.95, rtol=1e-6)


def test_fit_is_fused_unless_told_otherwise(taken):
    for settings in ({}, {"fused": False}):
        model = side_by_side()
        model.compile(difflr.optimizers.AdamW(0.1, multipliers=0.5, **settings), loss="mse")
        fit(model)
        assert model.optimizer.get_config()["fused"] is (settings == {})
    assert taken == ["fused", "exact"]


def test_no_step_waits_for_the_device(monkeypatch):
    """What a GPU would be waited for are numbers read from tensors. Here every tensor passes for one on a GPU."""
    import torch

    from difflr.optimizers.torch_passes.step import Step

    monkeypatch.setattr(Step, "scalars", lambda self, values: list(values.unbind()))
    variables, other = new_variables(), new_variables()
    settings = {"weight_decay": 0.3}
    optimizer = ours("AdamW", groups(variables, True), fused=True, **settings)
    optimizer.build(variables)
    real = Step.__init__

    def on_gpu(self, *args):
        real(self, *args)
        self.on_cpu = False

    monkeypatch.setattr(Step, "__init__", on_gpu)
    read = []
    for name in ("item", "tolist", "__float__", "__bool__", "cpu", "numpy"):
        original = getattr(torch.Tensor, name)
        monkeypatch.setattr(
            torch.Tensor, name, lambda self, *a, name=name, original=original: read.append(name) or original(self, *a)
        )
    for grads in gradients(3):
        optimizer.apply([torch.from_numpy(g) for g in grads], variables)
    assert read == []
    monkeypatch.undo()
    np.testing.assert_allclose(
        np.concatenate([v.ravel() for v in values(variables)]),
        np.concatenate([v.ravel() for v in train(ours("AdamW", groups(other, True), **settings), other)]),
        rtol=2e-6,
    )

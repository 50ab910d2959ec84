"""Caffe's rates over time and its update against numpy, written from the formulas."""

import io

import keras
import numpy as np
import pytest

import difflr
from difflr.interop import from_caffe
from difflr.schedules import CaffeSchedule
from interop.caffe_nets import layer, model_of, net

# -- the rate over time -----------------------------------------------------------------------------------------------

POLICIES = {
    "fixed": ({}, lambda i: 1.0),
    "step": ({"gamma": 0.1, "stepsize": 7}, lambda i: 0.1 ** (i // 7)),
    "exp": ({"gamma": 0.9999}, lambda i: 0.9999**i),
    "inv": ({"gamma": 0.001, "power": 0.75}, lambda i: (1 + 0.001 * i) ** -0.75),
    "multistep": ({"gamma": 0.5, "stepvalue": [3, 3, 50]}, lambda i: 0.5 ** ((i >= 3) + (i >= 4) + (i >= 50))),
    "poly": ({"power": 1.5, "max_iter": 100_000}, lambda i: (1 - min(i, 100_000) / 100_000) ** 1.5),
    "sigmoid": ({"gamma": 0.01, "stepsize": 200}, lambda i: 1 / (1 + np.exp(-0.01 * (i - 200)))),
}


@pytest.mark.parametrize("policy", POLICIES)
def test_policy_is_caffes_formula(policy):
    arguments, formula = POLICIES[policy]
    schedule = CaffeSchedule(0.02, policy, **arguments)
    schedule = CaffeSchedule.from_config(schedule.get_config())
    every_third = CaffeSchedule(0.02, policy, iter_size=3, **arguments)
    for iteration in (0, 1, 2, 3, 4, 6, 7, 13, 14, 49, 50, 1000, 99_999, 100_000):
        expected = 0.02 * formula(iteration)
        np.testing.assert_allclose(float(schedule(iteration)), expected, rtol=1e-5, atol=1e-30)
        np.testing.assert_allclose(float(every_third(3 * iteration + 2)), expected, rtol=1e-5, atol=1e-30)


# -- the update -------------------------------------------------------------------------------------------------------

RATE, MOMENTUM, DELTA, RMS_DECAY, MOMENTUM2 = 0.05, 0.9, 1e-4, 0.9, 0.99
LR_MULT, DECAY_MULT = [0.5, 2.0, 1.0, 0.1], [1.0, 0.0, 250.0, 1.0]
UPDATE_NET = [
    layer("a", "lr_mult: 0.5", "lr_mult: 2 decay_mult: 0"),
    layer("b", "decay_mult: 250", "lr_mult: 0.1"),
]
SOLVERS = {
    "SGD": f"momentum: {MOMENTUM}",
    "Nesterov": f"momentum: {MOMENTUM}",
    "AdaGrad": f"delta: {DELTA}",
    "RMSProp": f"delta: {DELTA} rms_decay: {RMS_DECAY}",
    "AdaDelta": f"delta: {DELTA} momentum: {MOMENTUM}",
    "Adam": f"delta: {DELTA} momentum: {MOMENTUM} momentum2: {MOMENTUM2}",
}


class Caffe:
    """Caffe's `ApplyUpdate` in double precision: clip, normalize, regularize, compute, in this order."""

    def __init__(self, kind, start, decay=0.0, regularization="L2", iter_size=1, clip=-1.0):
        self.kind, self.decay, self.regularization = kind, decay, regularization
        self.iter_size, self.clip, self.iteration = iter_size, clip, 0
        self.weights = [value.astype("float64") for value in start]
        self.history = [(np.zeros_like(w), np.zeros_like(w)) for w in self.weights]

    def step(self, sums):
        norm = np.sqrt(sum((g.astype("float64") ** 2).sum() for g in sums))
        scale = self.clip / norm if norm > self.clip >= 0 else 1.0
        rate = RATE * (1 + 0.5 * self.iteration) ** -0.75
        self.iteration += 1
        for i, total in enumerate(sums):
            w = self.weights[i]
            penalty = w if self.regularization == "L2" else np.sign(w)
            g = scale * total / self.iter_size + self.decay * DECAY_MULT[i] * penalty
            self.weights[i] = w - rate * LR_MULT[i] * self.direction(i, g, rate * LR_MULT[i])

    def direction(self, i, g, local_rate):
        h, h2 = self.history[i]
        if self.kind in ("SGD", "Nesterov"):  # the rate stands inside the history
            new = local_rate * g + MOMENTUM * h
            self.history[i] = (new, h2)
            return (new if self.kind == "SGD" else (1 + MOMENTUM) * new - MOMENTUM * h) / local_rate
        if self.kind == "AdaGrad":
            self.history[i] = (h + g**2, h2)
            return g / (np.sqrt(h + g**2) + DELTA)
        if self.kind == "RMSProp":
            new = RMS_DECAY * h + (1 - RMS_DECAY) * g**2
            self.history[i] = (new, h2)
            return g / (np.sqrt(new) + DELTA)
        if self.kind == "AdaDelta":
            new = MOMENTUM * h + (1 - MOMENTUM) * g**2
            update = g * np.sqrt((DELTA + h2) / (DELTA + new))
            self.history[i] = (new, MOMENTUM * h2 + (1 - MOMENTUM) * update**2)
            return update
        m, v = MOMENTUM * h + (1 - MOMENTUM) * g, MOMENTUM2 * h2 + (1 - MOMENTUM2) * g**2
        self.history[i] = (m, v)
        correction = np.sqrt(1 - MOMENTUM2**self.iteration) / (1 - MOMENTUM**self.iteration)
        return correction * m / (np.sqrt(v) + DELTA)


def values(model):
    return [keras.ops.convert_to_numpy(variable) for variable in model.trainable_variables]


def seeded_model():
    keras.utils.set_random_seed(1)
    model = model_of("a", "b")
    for variable in model.trainable_variables:  # no bias at 0, of which a relative tolerance says nothing
        variable.assign(variable + 0.3)
    return model


def solver_text(kind, more=""):
    return io.StringIO(f"base_lr: {RATE} lr_policy: 'inv' gamma: 0.5 power: 0.75 type: '{kind}' {SOLVERS[kind]} {more}")


def follow(optimizer, model, formula, steps):
    """Steps of both with the same gradients; the weights have to agree after each."""
    numbers = np.random.default_rng(formula.iteration)
    variables = model.trainable_variables
    for _ in range(steps):
        batches = [
            [numbers.normal(size=v.shape).astype("float32") for v in variables] for _ in range(formula.iter_size)
        ]
        for gradients in batches:
            optimizer.apply([keras.ops.convert_to_tensor(g) for g in gradients], variables)
        formula.step([np.sum(g, axis=0) for g in zip(*batches, strict=True)])
        for got, expected in zip(values(model), formula.weights, strict=True):
            np.testing.assert_allclose(got, expected, rtol=2e-4, atol=1e-6)


@pytest.mark.same_everywhere(but=["SGD-L2"])
@pytest.mark.parametrize("regularization", ["L2", "L1"])
@pytest.mark.parametrize("kind", SOLVERS)
def test_update_is_caffes_formula(kind, regularization):
    model = seeded_model()
    start = values(model)
    solver = solver_text(kind, f"weight_decay: 0.004 regularization_type: '{regularization}'")
    optimizer = from_caffe(net(*UPDATE_NET), model, solver).optimizer
    follow(optimizer, model, Caffe(kind, start, 0.004, regularization), steps=12)
    assert all(np.abs(now - before).max() > 1e-4 for now, before in zip(values(model), start, strict=True))


@pytest.mark.same_everywhere
@pytest.mark.parametrize("kind", ["SGD", "Adam"])
def test_accumulation_and_clipping_are_caffes(kind):
    """Caffe clips the sum of `iter_size` batches, before the decay; its schedule counts updates."""
    model = seeded_model()
    start = values(model)
    solver = solver_text(kind, "weight_decay: 0.004 iter_size: 3 clip_gradients: 5")
    optimizer = from_caffe(net(*UPDATE_NET), model, solver).optimizer
    follow(optimizer, model, Caffe(kind, start, 0.004, iter_size=3, clip=5.0), steps=6)


@pytest.mark.same_everywhere
@pytest.mark.parametrize("kind", SOLVERS)
def test_training_goes_on_from_a_saved_model(kind, tmp_path):
    model = seeded_model()
    formula = Caffe(kind, values(model), 0.004)
    model.compile(from_caffe(net(*UPDATE_NET), model, solver_text(kind, "weight_decay: 0.004")).optimizer, loss="mse")
    follow(model.optimizer, model, formula, steps=3)
    model.save(tmp_path / "model.keras")
    model = keras.models.load_model(tmp_path / "model.keras")
    follow(model.optimizer, model, formula, steps=3)


def test_fit_freezes_and_moves_as_the_prototxt_says():
    """Through the compiled step of each backend: plain SGD, so the movements are the multipliers."""
    keras.utils.set_random_seed(1)
    model = model_of("a", "b", bias=False)
    text = net(layer("a", "lr_mult: 0"), layer("b", "lr_mult: 0.25"))
    optimizer = from_caffe(text, model, io.StringIO("base_lr: 0.1 lr_policy: 'fixed' type: 'SGD'")).optimizer
    model.compile(optimizer, loss=lambda y, p: keras.ops.mean(p, axis=-1))
    before = values(model), model.get_layer("a").kernel.numpy()
    model.fit(np.ones((8, 4), "float32"), np.zeros((8, 6), "float32"), batch_size=8, verbose=0)
    np.testing.assert_allclose(before[0][0] - values(model)[0], 0.1 * 0.25 / 6, rtol=1e-4)
    np.testing.assert_array_equal(model.get_layer("a").kernel.numpy(), before[1])


@pytest.mark.same_everywhere
def test_old_solver_types():
    for number, name in enumerate(["SGD", "NESTEROV", "ADAGRAD", "RMSPROP", "ADADELTA", "ADAM"]):
        solver = io.StringIO(f"base_lr: 1 lr_policy: 'fixed' solver_type: {name if number else 0}")
        optimizer = from_caffe(net(layer("a")), model_of("a"), solver).optimizer
        assert type(optimizer).__name__.upper() == f"CAFFE{'SGD' if name == 'NESTEROV' else name}"
        assert getattr(optimizer, "nesterov", False) is (name == "NESTEROV")


@pytest.mark.same_everywhere
def test_plan_comes_back_from_its_json():
    model = model_of("a", "b")
    plan = from_caffe(net(*UPDATE_NET), model).plan
    assert difflr.Plan.from_json(model, plan.to_json()) == plan

"""Every fault is told, with who is to blame: the three of the literature first."""

import re

import keras
import numpy as np
import pytest

import difflr
from optimizers.steps import BACKEND, values

NUMBERS = np.random.default_rng(0)
X = NUMBERS.normal(size=(16, 6)).astype("float32")
Y = NUMBERS.normal(size=(16, 3)).astype("float32")
DATA = (X, Y)
pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(autouse=True)
def same_numbers():
    keras.utils.set_random_seed(0)


def blocks(*between):
    """Three blocks and a head; their biases are not 0, as in a pretrained network."""
    dense = [keras.layers.Dense(6, activation="tanh", name=f"block{n}") for n in range(3)]
    model = keras.Sequential([keras.Input((6,)), *dense, *between, keras.layers.Dense(3, name="head")])
    for layer in dense:
        layer.bias.assign(NUMBERS.normal(size=6))
    return model


def compiled(model, optimizer):
    model.compile(optimizer, loss="mse", run_eagerly=BACKEND == "tensorflow")
    return model


def fault(plan, model, **arguments):
    """What `verify` says."""
    before = values(model.variables)
    with pytest.raises(difflr.PlanNotKept) as caught:
        difflr.verify(model, DATA, plan=plan, **arguments)
    for early, late in zip(before, values(model.variables), strict=True):
        np.testing.assert_array_equal(early, late)
    return str(caught.value)


class Scaled(keras.optimizers.Adam):
    """As timm's groups: each variable has an `lr_scale`, and who is to multiply it in is another matter."""

    def __init__(self, *args, lr_scale, multiplied_in, **kwargs):
        super().__init__(*args, **kwargs)
        self.lr_scale, self.multiplied_in = lr_scale, multiplied_in

    def apply(self, grads, trainable_variables=None):
        if self.multiplied_in == "gradient":
            scales = [self.lr_scale(variable.path) for variable in trainable_variables or self._trainable_variables]
            grads = [gradient * scale for gradient, scale in zip(grads, scales, strict=True)]
        super().apply(grads, trainable_variables)


class RateScaled(keras.optimizers.SGD):
    """What a user writes who knows where to put it."""

    def __init__(self, *args, lr_scale, **kwargs):
        super().__init__(*args, **kwargs)
        self.lr_scale = lr_scale

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        for gradient, variable in zip(grads, trainable_variables, strict=True):
            rate = learning_rate * self.lr_scale(variable.path)
            keras.optimizers.SGD.update_step(self, gradient, variable, rate)


def depth(path):
    found = re.search(r"block(\d)", path)
    return int(found.group(1)) + 1 if found else 4


@pytest.mark.same_everywhere
def test_timm_2532_scales_that_nobody_multiplies_in():
    model = blocks()
    plan = difflr.layerwise_decay(model, 0.75)
    compiled(model, Scaled(0.01, lr_scale=lambda path: 0.75 ** (4 - depth(path)), multiplied_in=None))
    said = fault(plan, model)
    assert "No multiplier reaches the rate" in said
    assert "Scaled, which has no plan" in said
    assert re.search(r"block0 +2 +0\.4219 +1 +NOT KEPT", said)


def test_videomamba_109_every_layer_in_the_top_group():
    def commented_out(path):
        return 0 if path.startswith("patch_embed") else 4  # `layers.N` fell through to the top

    model = blocks()
    plan = difflr.layerwise_decay(model, 0.75)
    compiled(model, RateScaled(0.01, lr_scale=lambda path: 0.75 ** (4 - commented_out(path))))
    said = fault(plan, model)
    assert re.search(r"block2 +2 +0\.75 +1 +NOT KEPT", said)
    with pytest.warns(UserWarning, match="Layer-wise decay has no effect: .* in one depth group"):
        difflr.layerwise_decay(blocks(), 0.75, depth=lambda path: 0 if path.startswith("patch_embed") else None)


@pytest.mark.same_everywhere
def test_electra_51_one_decay_too_many_below_the_head():
    model = blocks()
    plan = difflr.layerwise_decay(model, 0.8)
    # The pooler was taken out and its place was not: `layer_decay ** (n_layers + 2 - depth)`.
    heights = lambda path: 0 if "head" in path else 5 - depth(path)  # noqa: E731
    compiled(model, RateScaled(0.01, lr_scale=lambda path: 0.8 ** heights(path)))
    said = fault(plan, model)
    assert re.search(r"block2 +2 +0\.8 +0\.64 +NOT KEPT", said)
    assert "All of these move 0.8 times as far as the plan says" in said
    assert "head" not in said.split("All of these")[1]
    compiled(model, RateScaled(0.01, lr_scale=lambda path: 0.8 ** (4 - depth(path))))
    assert difflr.verify(model, DATA, plan=plan).kept


def test_a_multiplier_applied_twice():
    model = blocks()
    plan = difflr.Plan(model, {"block0": 0.1, "block1": 0.5})
    compiled(model, difflr.optimizers.Adam(0.01, multipliers=plan * plan))
    said = fault(plan, model)
    assert "applied twice" in said
    assert "other multipliers than this plan: block0/kernel 0.01 instead of 0.1" in said


@pytest.mark.same_everywhere
def test_gradients_scaled_instead_of_rates():
    model = blocks()
    plan = difflr.Plan(model, {"block0": 0.1})
    compiled(model, Scaled(0.01, lr_scale=lambda path: 0.1 if "block0" in path else 1.0, multiplied_in="gradient"))
    assert "Scaling gradients instead of the rate" in fault(plan, model)


def test_a_stock_optimizer():
    model = blocks()
    plan = difflr.Plan(model, {"block0": 0.1})
    said = fault(plan, compiled(model, keras.optimizers.Lion(0.01)))
    assert "keras's Lion, which has no plan" in said
    assert "difflr.optimizers.Lion(..., multipliers=plan)" in said


@pytest.mark.same_everywhere
def test_a_plan_edited_afterwards_and_a_multiplier_set():
    model = blocks()
    plan = difflr.Plan(model, {"block0": 0.1, "block1": 0.5})
    compiled(model, difflr.optimizers.SGD(0.01, multipliers=plan))
    said = fault(plan * 0.5, model)
    assert "All of these move 2 times as far as the plan says" in said
    model.optimizer.build(model.trainable_variables)
    model.optimizer.multipliers[model.get_layer("block0")] = 0.9
    said = fault(plan, model)
    assert "block0/kernel 0.9 instead of 0.1" in said
    assert "`optimizer.multipliers` was set since" in said


def test_frozen_layers_that_move():
    model = blocks()
    plan = difflr.Plan(model, {"block0": difflr.FROZEN})
    said = fault(plan, compiled(model, keras.optimizers.SGD(0.01)))
    assert re.search(r"block0 +2 +0 +- +FROZEN, MOVES", said)
    assert "The plan freezes block0/kernel, block0/bias, and they move" in said


def test_live_layers_that_the_optimizer_does_not_train():
    model = blocks()
    plan = difflr.Plan(model, {"block0": 0.1})
    model.get_layer("block1").trainable = False
    compiled(model, difflr.optimizers.SGD(0.01))
    said = fault(plan, model)
    assert "does not train block1/kernel, block1/bias" in said


@pytest.mark.same_everywhere
@pytest.mark.parametrize("policy", ["keep", "update"])
def test_statistics_that_do_the_other_thing(policy):
    model = blocks(keras.layers.BatchNormalization(name="bn"))
    plan = difflr.Plan(model, {"bn": difflr.FROZEN}, frozen_statistics=policy)
    model = compiled(model, difflr.optimizers.SGD(0.01, multipliers=plan))
    assert difflr.verify(model, DATA, plan=plan).kept
    bn = model.get_layer("bn")
    bn.trainable = policy == "keep"
    bn.gamma.trainable = bn.beta.trainable = False
    said = fault(plan, compiled(model, difflr.optimizers.SGD(0.01)))
    assert "moving statistics of frozen BatchNormalization layers, and those of bn" in said


class WithUnused(keras.Model):
    def __init__(self):
        super().__init__()
        self.used, self.unused = keras.layers.Dense(3, name="used"), keras.layers.Dense(3, name="unused")

    def build(self, shape):
        self.used.build(shape)
        self.unused.build(shape)

    def call(self, x):
        return self.used(x)


@pytest.mark.filterwarnings("ignore:Gradients do not exist:UserWarning")
def test_a_layer_that_is_never_used():
    model = WithUnused()
    model.build((None, 6))
    plan = difflr.Plan(model)
    said = fault(plan, compiled(model, difflr.optimizers.SGD(0.01, multipliers=plan)))
    assert "No gradient reaches unused/kernel, unused/bias, at any weights" in said
    assert "used/kernel, used" not in said.split("No gradient")[1].replace("unused", "")


def test_another_model():
    plan = difflr.Plan(blocks())
    with pytest.raises(ValueError, match="The plan is for another model"):
        difflr.verify(compiled(blocks(), difflr.optimizers.SGD()), DATA, plan=plan)


def test_what_cannot_be_measured():
    model = blocks()
    plan = difflr.Plan(model)
    with pytest.raises(ValueError, match="has no optimizer to verify. Compile it first"):
        difflr.verify(model, DATA, plan=plan)
    model.compile(difflr.optimizers.SGD(), loss="mse", steps_per_execution=2)
    with pytest.raises(ValueError, match="steps_per_execution=2"):
        difflr.verify(model, DATA, plan=plan)
    compiled(model, difflr.optimizers.SGD())
    with pytest.raises(TypeError, match=r"an iterator, which would lose a batch: pass `next\(data\)`"):
        difflr.verify(model, iter([DATA]), plan=plan)
    with pytest.raises(ValueError, match="`tolerance` is relative"):
        difflr.verify(model, DATA, plan=plan, tolerance=1.0)
    with pytest.raises(ValueError, match="together"):
        difflr.verify(model, DATA, plan=plan, step=print)
    with pytest.raises(ValueError, match="not all finite"):
        difflr.verify(model, (X * np.inf, Y), plan=plan)

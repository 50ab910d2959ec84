"""A change of who is trainable keeps the state of every optimizer, variable by variable."""

import keras
import numpy as np
import pytest

import difflr
from difflr import keras_private
from optimizers.steps import BACKEND, NAMES, ONE_SETTING, ours
from phases.in_phases import new_model, number

pytestmark = pytest.mark.usefixtures("quick_compilation")

AVERAGES = {"use_ema": True, "ema_momentum": 0.9, "ema_overwrite_frequency": 2}
SETTINGS = {"plain": {}, "averaged and clipped": {**AVERAGES, "global_clipnorm": 1e6}}
ALL = ("low", "mid", "head")


class Run:
    """An optimizer that gets the same gradients as every other one, for those who are trainable."""

    def __init__(self, name, **settings):
        self.model = new_model()
        self.optimizer = ours(name, difflr.Plan(self.model, {"low": 0.1, "mid": 0.5}), **settings)
        self.optimizer.bind(self.model)
        self.optimizer.build(self.model.trainable_variables)
        self.numbers = np.random.default_rng(3)

    def variables(self, name):
        return self.model.get_layer(name).variables

    def values(self, name):
        return [number(variable) for variable in self.variables(name)]

    def train_only(self, *names, **arguments):
        trainable = frozenset(id(variable) for name in names for variable in self.variables(name))
        self.optimizer.replan(self.optimizer.plan.whole.only(trainable, "phase"), **arguments)

    def steps(self, count):
        for _ in range(count):
            grads = {id(v): self.numbers.normal(size=v.shape).astype("float32") for v in self.model.variables}
            trainable = self.model.trainable_variables
            self.optimizer.apply(
                [keras.ops.convert_to_tensor(grads[id(variable)]) for variable in trainable], trainable
            )

    def state(self, variable):
        trainable = self.optimizer._groups.trainable
        position = [id(each) for each in trainable].index(id(variable))
        slots = keras_private.slots(self.optimizer, len(trainable))
        return {name: number(slot[position]) for name, slot in slots.items() if slot[position] is not None}


def assert_same(mine, other):
    for a, b in zip(mine, other, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.same_everywhere(but=ONE_SETTING)
@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("name", NAMES)
def test_who_stays_live_trains_as_without_phases(name, settings):
    run, other = Run(name, **SETTINGS[settings]), Run(name, **SETTINGS[settings])
    for each in (run, other):
        each.steps(2)
    run.train_only("head")
    assert [variable.path for variable in run.model.trainable_variables] == ["head/kernel", "head/bias"]
    for each in (run, other):
        each.steps(2)
    run.train_only(*ALL)
    for each in (run, other):
        each.steps(2)
    assert_same(run.values("head"), other.values("head"))
    assert int(number(run.optimizer.iterations)) == 6


@pytest.mark.same_everywhere(but=ONE_SETTING)
@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("name", NAMES)
def test_state_is_there_again_after_a_rest(name, settings):
    run = Run(name, **SETTINGS[settings])
    run.steps(3)
    kernel = run.variables("low")[0]
    before, value = run.state(kernel), number(kernel)
    run.train_only("head")
    assert not any(kernel.path.replace("/", "_") in variable.path for variable in run.optimizer.variables)
    run.steps(2)
    np.testing.assert_array_equal(number(kernel), value)
    run.train_only(*ALL)
    after = run.state(kernel)
    assert before.keys() == after.keys()
    assert_same(after.values(), before.values())
    run.steps(1)
    assert not np.array_equal(number(kernel), value)


def test_amsgrad_keeps_its_maxima():
    run = Run("Adam", amsgrad=True)
    run.steps(2)
    before = run.state(run.variables("low")[0])
    assert len(before) == 3
    run.train_only("head")
    run.train_only(*ALL)
    assert_same(run.state(run.variables("low")[0]).values(), before.values())


def test_the_average_of_a_newcomer_begins_at_its_value():
    """Keras begins an average at 0 and skips that in the first step of the optimizer only."""
    run = Run("SGD", **AVERAGES)
    run.train_only("head")
    run.steps(3)
    before = run.values("low")[0]
    run.train_only(*ALL)
    assert_same([run.state(run.variables("low")[0])["_model_variables_moving_average"]], [before])
    run.steps(1)
    assert np.abs(run.values("low")[0] - before).max() < 0.1 * np.abs(before).max()


@pytest.mark.skipif(BACKEND == "jax", reason="outside jit JAX compiles the accumulation anew at every step")
def test_half_a_batch_of_gradients_is_no_use_later():
    run = Run("SGD", gradient_accumulation_steps=2)
    run.steps(1)
    assert run.state(run.variables("low")[0])["_accumulated_gradients"].any()
    assert run.state(run.variables("head")[0])["_accumulated_gradients"].any()
    run.train_only("head")
    assert run.state(run.variables("head")[0])["_accumulated_gradients"].any()
    run.steps(1)
    run.train_only(*ALL)
    assert not run.state(run.variables("low")[0])["_accumulated_gradients"].any()


def test_state_in_an_unknown_form_is_refused_before_anything_changes():
    @keras.saving.register_keras_serializable("tests")
    class Dictionary(keras.optimizers.SGD):
        def build(self, variables):
            super().build(variables)
            self.sums = {str(n): self.add_variable_from_reference(v, name="sum") for n, v in enumerate(variables)}

    run = Run("SGD")
    run.optimizer = difflr.optimizers.differential(Dictionary)(0.1)
    run.optimizer.bind(run.model)
    run.optimizer.build(run.model.trainable_variables)
    with pytest.raises(ValueError, match="Dictionary keeps .*sum.* in no attribute"):
        run.train_only("head")
    assert len(run.model.trainable_variables) == 6


def test_changed_multipliers_are_kept_while_their_layer_is_frozen():
    run = Run("Adam")
    run.optimizer.multipliers[run.model.get_layer("low")] = 0.3
    run.train_only("head")
    assert run.optimizer.multipliers[run.variables("low")[0]] == 0
    run.train_only(*ALL)
    assert run.optimizer.multipliers[run.variables("low")[0]] == 0.3

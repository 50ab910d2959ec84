"""Whatever a class replaces of an optimizer is called on every backend, with the rate of its variables."""

import keras
import pytest

import difflr
from difflr.optimizers import DifferentialOptimizer, differential
from optimizers.steps import (
    BACKEND,
    BASE,
    SLOW,
    assert_all_differ,
    assert_close,
    compiled_step,
    fit,
    new_variables,
    product,
    side_by_side,
    slow_half,
    train,
    values,
)

SETTINGS = {"weight_decay": 0.3}


class UpdateStep:
    def update_step(self, gradient, variable, learning_rate):
        super().update_step(keras.ops.clip(gradient, -0.5, 0.5), variable, learning_rate)


class UpdateStepAtHalfTheRate:
    def update_step(self, gradient, variable, learning_rate):
        super().update_step(gradient, variable, learning_rate * 0.5)


class AssignSub:
    def assign_sub(self, variable, value):
        super().assign_sub(variable, keras.ops.multiply(value, 0.5))


class DecayOfMatrices:
    def _apply_weight_decay(self, variables):
        super()._apply_weight_decay([variable for variable in variables if len(variable.shape) > 1])


class OwnDecay:
    def _apply_weight_decay(self, variables):
        for variable in variables:
            self._pull(variable)

    def _pull(self, variable):
        variable.assign(variable - keras.ops.sign(variable) * (3.0 * self.learning_rate))


class UseWeightDecay:
    def _use_weight_decay(self, variable):
        return len(variable.shape) > 1


class ClipGradients:
    def _clip_gradients(self, grads):
        return [keras.ops.sign(gradient) for gradient in grads]


class BackendUpdateStep:
    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        super()._backend_update_step([0.1 * each for each in grads], trainable_variables, learning_rate * 0.5)


class BackendApplyGradients:
    def _backend_apply_gradients(self, grads, trainable_variables):
        super()._backend_apply_gradients([-gradient for gradient in grads], trainable_variables)


class Apply:
    def apply(self, grads, trainable_variables=None):
        super().apply([-gradient for gradient in grads], trainable_variables)


class CurrentLearningRate:
    def _get_current_learning_rate(self):
        return super()._get_current_learning_rate() * 0.5


MIXINS = [each for each in list(globals().values()) if isinstance(each, type) and each.__module__ == __name__]


def made(mixin, *parents):
    return type(mixin.__name__, (mixin, *parents), {})


WAYS = {
    "a subclass of ours": lambda mixin, name: made(mixin, getattr(difflr.optimizers, name)),
    "made differential": lambda mixin, name: differential(made(mixin, getattr(keras.optimizers, name))),
    "made of torch's vectorized one": lambda mixin, name: differential(
        made(mixin, type(getattr(keras.optimizers, name)()))
    ),
}
if BACKEND != "torch":
    del WAYS["made of torch's vectorized one"]


def expected(mixin, name, **settings):
    """What Keras's own optimizer with the same method replaced does at the rate of each half of the variables."""
    cls = made(mixin, getattr(keras.optimizers, name))
    at_base, at_slow = (train(cls(rate, **settings), new_variables()) for rate in (BASE, product(BASE, SLOW)))
    return at_base[:2] + at_slow[2:]


@pytest.mark.same_everywhere
@pytest.mark.parametrize("name", ["AdamW", "SGD"])
@pytest.mark.parametrize("mixin", MIXINS)
@pytest.mark.parametrize("way", WAYS)
def test_a_replaced_method_is_called_with_the_rate_of_its_variables(way, mixin, name):
    variables, plain = new_variables(), new_variables()
    optimizer = WAYS[way](mixin, name)(BASE, multipliers=slow_half(variables), **SETTINGS)
    got = train(optimizer, variables)
    assert_close(got, expected(mixin, name, **SETTINGS), rtol=1e-5, atol=1e-6)
    without = train(getattr(difflr.optimizers, name)(BASE, multipliers=slow_half(plain), **SETTINGS), plain)
    assert any((mine != theirs).any() for mine, theirs in zip(got, without, strict=True)), "the method has no effect"


@pytest.mark.parametrize("name", ["Nadam", "Adagrad", "Lion", "RMSprop", "Adamax", "Adadelta"])
def test_update_step_of_a_subclass(name):
    """Nadam advances a schedule of the whole optimizer: once a step, and not once a group."""
    variables = new_variables()
    optimizer = made(UpdateStep, getattr(difflr.optimizers, name))(BASE, multipliers=slow_half(variables))
    assert_close(train(optimizer, variables), expected(UpdateStep, name), rtol=1e-5, atol=1e-6)


def test_compiled():
    variables = new_variables()
    optimizer = made(UpdateStepAtHalfTheRate, difflr.optimizers.AdamW)(
        BASE, multipliers=slow_half(variables), **SETTINGS
    )
    optimizer.build(variables)
    got = train(optimizer, variables, step=compiled_step(optimizer, variables))
    assert_close(got, expected(UpdateStepAtHalfTheRate, "AdamW", **SETTINGS), rtol=1e-5, atol=1e-6)


def test_in_fit():
    kernels = []
    for parent, arguments in ((difflr.optimizers.SGD, {"multipliers": 1.0}), (keras.optimizers.SGD, {})):
        model = side_by_side()
        model.compile(made(UpdateStep, parent)(BASE, **arguments), loss="mse")
        kernels.append(values(fit(model, epochs=2).weights))
    assert_close(*kernels, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("follows", ["effective_rate", "base_rate"])
def test_own_decay_follows_what_the_plan_says(follows):
    """A decay that reads the rate of the optimizer finds that of its group."""

    class Decay:
        def _apply_weight_decay(self, variables):
            for variable in variables:
                variable.assign(variable - variable * self.learning_rate)

    settings = {"weight_decay_follows": follows, "weight_decay": 1.0}
    for way in WAYS.values():
        variables = new_variables()
        settings["multipliers"] = [(v, {"multiplier": 0.5, "weight_decay_multiplier": 0.25}) for v in variables[2:]]
        before = values(variables)
        optimizer = way(Decay, "SGD")(0.5, **settings)
        optimizer.build(variables)
        optimizer.apply([keras.ops.zeros(v.shape) for v in variables])
        slow = 0.25 * (0.5 if follows == "effective_rate" else 1.0)
        kept = [1 - 0.5, 1 - 0.5, 1 - 0.5 * slow, 1 - 0.5 * slow]
        assert_close(values(variables), [b * k for b, k in zip(before, kept, strict=True)])


class ByItself:
    """An update of all variables that hands nothing on."""

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        for gradient, variable in zip(grads, trainable_variables, strict=True):
            variable.assign(variable - gradient * learning_rate)


@pytest.mark.parametrize("way", WAYS)
def test_an_update_of_all_variables_by_itself_is_refused(way):
    variables = new_variables()
    optimizer = WAYS[way](ByItself, "SGD")(BASE, multipliers=slow_half(variables))
    with pytest.raises(NotImplementedError, match=r"ByItself updates the variables in `_backend_update_step`"):
        train(optimizer, variables)


@pytest.mark.skipif(BACKEND != "torch", reason="only torch has vectorized optimizers in Keras")
def test_a_vectorized_update_by_itself_is_refused_above_and_called_once_a_group_below():
    class Own:
        def _parallel_update_step(self, grads, variables, learning_rate):
            for gradient, variable in zip(grads, variables, strict=True):
                variable.assign(variable - gradient * learning_rate)

    plain = new_variables()
    without = train(difflr.optimizers.SGD(BASE, multipliers=slow_half(plain)), plain)
    variables = new_variables()
    below = WAYS["made of torch's vectorized one"](Own, "SGD")(BASE, multipliers=slow_half(variables))
    assert_close(train(below, variables), without)
    variables = new_variables()
    with pytest.raises(NotImplementedError, match="updates the variables in"):
        train(made(Own, difflr.optimizers.SGD)(BASE, multipliers=slow_half(variables)), variables)


def test_averages_and_accumulation_with_a_replaced_update():
    settings = {"use_ema": True, "ema_overwrite_frequency": 2, "gradient_accumulation_steps": 2}
    variables = new_variables()
    optimizer = made(UpdateStep, difflr.optimizers.Adam)(BASE, multipliers=slow_half(variables), **settings)
    got = train(optimizer, variables, steps=4)
    cls = made(UpdateStep, keras.optimizers.Adam)
    at_base, at_slow = (train(cls(rate, **settings), new_variables(), steps=4) for rate in (BASE, product(BASE, SLOW)))
    assert_close(got, at_base[:2] + at_slow[2:], rtol=1e-5, atol=1e-6)
    assert_all_differ(at_base[2:], at_slow[2:])


def test_a_class_with_half_of_the_hooks_is_refused():
    with pytest.raises(TypeError, match=r"Derive it from the Keras optimizer alone"):
        type("Half", (DifferentialOptimizer, keras.optimizers.SGD), {})

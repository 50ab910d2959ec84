"""`differential` makes one of any Keras optimizer, and what it makes is that optimizer."""

import functools
import inspect

import keras
import numpy as np
import pytest

import difflr
from difflr.optimizers import DifferentialOptimizer, differential
from optimizers.steps import (
    BACKEND,
    BASE,
    NAMES,
    X,
    Y,
    assert_all_differ,
    assert_close,
    assert_same,
    new_variables,
    ours,
    product,
    side_by_side,
    slow_half,
    stock,
    train,
    values,
)


class Friction(keras.optimizers.Optimizer):
    """An optimizer from outside Keras: an update of its own, and a decay that spares vectors."""

    def __init__(self, learning_rate=0.01, friction=0.5, **kwargs):
        super().__init__(learning_rate=learning_rate, **kwargs)
        self.friction = friction

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self.speeds = self.add_optimizer_variables(variables, "speed")

    def update_step(self, gradient, variable, learning_rate):
        speed = self.speeds[self._get_variable_index(variable)]
        rate = keras.ops.cast(learning_rate, variable.dtype)
        self.assign(speed, keras.ops.tanh(gradient) + self.friction * speed)
        self.assign_sub(variable, rate * speed)

    def _apply_weight_decay(self, variables):
        super()._apply_weight_decay([variable for variable in variables if len(variable.shape) > 1])

    def get_config(self):
        return {**super().get_config(), "friction": self.friction}


class Careful(keras.optimizers.Adam):
    """A subclass of a stock optimizer."""

    def update_step(self, gradient, variable, learning_rate):
        super().update_step(keras.ops.clip(gradient, -0.5, 0.5), variable, learning_rate)


# -- classes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_it_is_the_optimizer_it_is_named_after(name):
    cls, stock_class = getattr(difflr.optimizers, name), getattr(keras.optimizers, name)
    optimizer = cls(multipliers=0.5)
    assert isinstance(optimizer, stock_class)
    assert isinstance(optimizer, DifferentialOptimizer)
    assert (cls.__name__, cls.__module__) == (name, "difflr.optimizers")
    assert differential(stock_class) is cls
    assert differential(cls) is cls
    assert isinstance(optimizer, type(stock_class())), "on torch: the vectorized class"


@pytest.mark.parametrize("name", NAMES)
def test_arguments_are_where_they_were(name):
    theirs = inspect.signature(getattr(keras.optimizers, name)).parameters
    mine = inspect.signature(getattr(difflr.optimizers, name)).parameters
    added = {"multipliers", "weight_decay_follows", "fused"}
    assert [p for p in mine if p not in added] == list(theirs)
    assert all(mine[p].default == theirs[p].default for p in theirs)
    assert {p for p in mine if mine[p].kind is inspect.Parameter.KEYWORD_ONLY} >= added


@pytest.mark.parametrize("name", NAMES)
def test_positional_arguments(name):
    parameters = list(inspect.signature(getattr(keras.optimizers, name)).parameters.values())
    positional = [0.03, *(p.default for p in parameters[1:5])]
    config = getattr(difflr.optimizers, name)(*positional, multipliers=0.1).get_config()
    expected = getattr(keras.optimizers, name)(*positional).get_config()
    assert {key: config[key] for key in expected if key != "name"} == {k: v for k, v in expected.items() if k != "name"}


@pytest.mark.parametrize("name", NAMES)
def test_documentation_says_what_a_multiplier_means(name):
    documentation = inspect.getdoc(getattr(difflr.optimizers, name))
    assert f"optimizer `{name}` with a learning rate per variable" in documentation
    assert "multiplier" in documentation.split("\n\n")[1]


@pytest.mark.skipif(BACKEND != "torch", reason="only torch has vectorized optimizers in Keras")
@pytest.mark.parametrize(
    "name", [name for name in NAMES if hasattr(type(getattr(keras.optimizers, name)()), "_parallel_update_step")]
)
def test_torch_keeps_the_vectorized_update(name, monkeypatch):
    """`update_step` is never called, one collective update a step is."""
    calls = []
    cls = getattr(difflr.optimizers, name)
    original = cls._vectorized_step
    monkeypatch.setattr(cls, "_vectorized_step", lambda self, *args: (calls.append(1), original(self, *args))[1])
    monkeypatch.setattr(getattr(keras.optimizers, name), "update_step", None)
    train(ours(name, slow_half(variables := new_variables())), variables, steps=3)
    assert len(calls) == 3


@pytest.mark.skipif(BACKEND != "torch", reason="only torch has vectorized optimizers in Keras")
def test_torch_has_a_vectorized_update_at_all():
    names = [name for name in NAMES if hasattr(type(getattr(keras.optimizers, name)()), "_parallel_update_step")]
    assert {"SGD", "Adam", "AdamW", "Nadam"} <= set(names)


# -- third parties ----------------------------------------------------------------------------------------------------


def third_parties():
    return [(Friction, {"friction": 0.9, "weight_decay": 0.2}), (Careful, {"beta_1": 0.8, "weight_decay": 0.2})]


@pytest.mark.same_everywhere
@pytest.mark.parametrize(("cls", "settings"), third_parties(), ids=["own update", "subclass"])
def test_third_party_class(cls, settings):
    mine = differential(cls)
    assert issubclass(mine, cls)
    assert mine is differential(cls)
    at_base = train(cls(BASE, **settings), new_variables())
    at_slow = train(cls(product(BASE, 0.1), **settings), new_variables())
    assert_same(train(mine(BASE, multipliers=None, **settings), new_variables()), at_base)
    variables = new_variables()
    assert_same(train(mine(BASE, multipliers=slow_half(variables), **settings), variables), at_base[:2] + at_slow[2:])
    assert_all_differ(at_base, at_slow)


def test_own_decay_with_nothing_left_of_a_group():
    """A group of vectors only, which this optimizer's decay spares."""
    variables = new_variables()
    rules = [(variables[1], 0.5), (variables[3], 0.5)]
    got = train(differential(Friction)(BASE, weight_decay=0.2, multipliers=rules), variables)
    at_base = train(Friction(BASE, weight_decay=0.2), new_variables())
    at_half = train(Friction(product(BASE, 0.5), weight_decay=0.2), new_variables())
    assert_same(got, [at_base[0], at_half[1], at_base[2], at_half[3]])


def test_third_party_instance_and_its_settings():
    optimizer = differential(Friction(0.05, friction=0.7, clipnorm=0.3))
    config = optimizer.get_config()
    assert (config["friction"], config["clipnorm"], config["learning_rate"]) == (0.7, 0.3, pytest.approx(0.05))
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(optimizer))
    assert type(again) is differential(Friction)
    assert again.friction == 0.7


@pytest.mark.skipif(BACKEND != "torch", reason="only torch has vectorized optimizers in Keras")
def test_third_party_vectorized_update_is_called_once_a_group():
    """Nobody's own update is replaced."""
    rates = []

    class Parallel(type(keras.optimizers.SGD())):
        def _parallel_update_step(self, grads, variables, learning_rate):
            rates.append((round(float(learning_rate), 6), len(variables)))
            super()._parallel_update_step(grads, variables, learning_rate)

    variables = new_variables()
    got = train(differential(Parallel)(BASE, multipliers=slow_half(variables)), variables, steps=1)
    assert rates == [(0.02, 2), (0.002, 2)]
    expected = new_variables()
    assert_same(got, train(ours("SGD", slow_half(expected)), expected, steps=1))


# -- instances --------------------------------------------------------------------------------------------------------


def test_instance_keeps_its_settings_and_its_name():
    original = keras.optimizers.AdamW(0.02, weight_decay=0.05, beta_1=0.8, use_ema=True, name="mine")
    optimizer = differential(original)
    assert type(optimizer) is difflr.optimizers.AdamW
    mine, theirs = optimizer.get_config(), original.get_config()
    assert {key: mine[key] for key in theirs} == theirs
    assert mine["multipliers"] is None


def test_instance_keeps_its_schedule_object_and_callable():
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)
    assert differential(keras.optimizers.SGD(schedule))._learning_rate is schedule

    def rate():
        return 0.1

    assert differential(keras.optimizers.SGD(rate))._learning_rate is rate


def test_instance_keeps_what_it_excludes_from_decay():
    original = keras.optimizers.AdamW(weight_decay=0.3)
    original.exclude_from_weight_decay(var_names=["bias"])
    reference = keras.optimizers.AdamW(weight_decay=0.3)
    reference.exclude_from_weight_decay(var_names=["bias"])
    assert_same(train(differential(original), new_variables()), train(reference, new_variables()))


def test_names_and_configs():
    assert type(differential("adam")) is difflr.optimizers.Adam
    config = keras.optimizers.serialize(keras.optimizers.SGD(0.3))
    assert differential(config).get_config()["learning_rate"] == pytest.approx(0.3)


def test_ours_is_returned_as_it_is():
    optimizer = ours("SGD", 0.5)
    assert differential(optimizer) is optimizer


def test_what_is_inside_a_loss_scale_optimizer():
    original = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.3), initial_scale=64.0, name="scaled")
    optimizer = differential(original)
    assert isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    assert isinstance(optimizer.inner_optimizer, difflr.optimizers.Adam)
    assert (optimizer.initial_scale, optimizer.name) == (64.0, "scaled")


@pytest.mark.parametrize("thing", [3, None, keras.layers.Dense, object()], ids=["number", "None", "class", "object"])
def test_what_is_no_optimizer(thing):
    with pytest.raises(TypeError, match=r"Expected a Keras optimizer, its class or its name\. Received"):
        differential(thing)


def test_built_instances_are_refused():
    original = keras.optimizers.Adam(name="old")
    original.build(new_variables())
    with pytest.raises(ValueError, match=r"'old' is built already.*difflr\.optimizers\.Adam\(\.\.\., multipliers="):
        differential(original)


# -- several optimizers -----------------------------------------------------------------------------------------------


HAS_SEVERAL = pytest.mark.skipif(not hasattr(keras.optimizers, "MultiOptimizer"), reason="Keras before 3.15")


def two(slow, fast):
    from keras.src.optimizers.multi_optimizer import OptimizerMap

    return keras.optimizers.MultiOptimizer(OptimizerMap(fast, {".*slow.*": slow}))


@HAS_SEVERAL
def test_multi_optimizer_of_stock_optimizers_is_refused():
    with pytest.raises(ValueError, match=r"cannot be differential, but the optimizers in it can"):
        differential(two(keras.optimizers.SGD(), keras.optimizers.Adam()))
    holding = two(ours("SGD", None), ours("Adam", None))
    assert differential(holding) is holding


def by_name(model):
    return {
        "/".join(v.path.split("/")[-2:]): value for v, value in zip(model.weights, values(model.weights), strict=True)
    }


@functools.cache
def fitted(name, rate):
    """The weights after one step of a stock optimizer."""
    model = side_by_side()
    model.compile(stock(name, rate), loss="mse")
    model.fit(X, Y, verbose=0)
    return by_name(model)


@pytest.mark.same_everywhere(but=["True"])
@HAS_SEVERAL
@pytest.mark.parametrize("frozen", [False, True])
def test_multi_optimizer_may_hold_ours(frozen):
    """After one step the gradients have not yet seen the rates: each part moves as alone."""
    model = side_by_side()
    untrained = by_name(model)
    rules = {"slow/kernel": 0.1, "slow/bias": difflr.FROZEN} if frozen else {"slow/kernel": 0.1}
    plan = difflr.Plan(model, rules)
    slow, fast = (getattr(difflr.optimizers, name)(0.2, multipliers=plan) for name in ("SGD", "Adam"))
    model.compile(two(slow, fast), loss="mse")
    model.fit(X, Y, verbose=0)
    adam, sgd, tenth = fitted("Adam", 0.2), fitted("SGD", 0.2), fitted("SGD", product(0.2, 0.1))
    expected = {
        "fast/kernel": adam["fast/kernel"],
        "fast/bias": adam["fast/bias"],
        "slow/kernel": tenth["slow/kernel"],
        "slow/bias": untrained["slow/bias"] if frozen else sgd["slow/bias"],
    }
    got = by_name(model)
    assert got.keys() == expected.keys()
    assert_close(list(got.values()), [expected[path] for path in got], rtol=1e-5, atol=1e-6)
    assert not np.allclose(got["slow/kernel"], sgd["slow/kernel"])

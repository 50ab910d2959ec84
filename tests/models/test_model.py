import keras
import numpy as np
import pytest

import difflr
from difflr.layers import Dense


def functional(model_class=difflr.Model):
    inputs = keras.Input((3,))
    x = Dense(4, W_learning_rate_multiplier=0.1, b_learning_rate_multiplier=0.2, name="a")(inputs)
    return model_class(inputs, keras.layers.Dense(2, name="b")(x))


class Subclassed(difflr.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = difflr.Sequential([Dense(4, learning_rate_multiplier=0.5)])
        self.last = Dense(2, learning_rate_multiplier={"bias": 0.25})

    def call(self, x):
        return self.last(self.inner(x))


def moves_by(model, learning_rate, optimizer="sgd"):
    """One step on a constant batch: how far each variable moved, against one step of stock SGD, as a ratio."""
    x, y = np.ones((4, 3), "float32"), np.full((4, 2), 5.0, "float32")
    before = model.get_weights()

    def moved(compile_with):
        model.set_weights(before)
        model.compile(compile_with, loss="mse")
        model.train_on_batch(x, y)
        return [new - old for new, old in zip(model.get_weights(), before, strict=True)]

    declared = moved(optimizer)
    difflr.Plan(model, [("*", {"multiplier": 1.0, "frozen": False})])
    stock_optimizer = difflr.optimizers.SGD(learning_rate, multipliers=difflr.Plan(model, {"*": 1.0}))
    stock = moved(stock_optimizer)
    return [float(np.abs(one).sum() / np.abs(other).sum()) for one, other in zip(declared, stock, strict=True)]


def test_multipliers_of_all_layers():
    model = functional()
    a, b = model.get_layer("a"), model.get_layer("b")
    assert model.multipliers[a.kernel] == 0.1
    assert model.multipliers[a.bias] == 0.2
    assert b.kernel not in model.multipliers
    assert repr(model.multipliers) == "{a/kernel: 0.1, a/bias: 0.2}"


def test_nested_and_subclassed():
    model = Subclassed()
    model(np.ones((1, 3), "float32"))
    assert repr(model.multipliers) == "{inner/dense/kernel: 0.5, inner/dense/bias: 0.5, last/bias: 0.25}"


def test_a_subclass_after_a_functional_model_is_none():
    functional()
    assert isinstance(functional(), difflr.Model)
    assert isinstance(functional(), keras.Model)
    model = Subclassed()
    model(np.ones((1, 3), "float32"))
    assert type(model).__mro__[1] is difflr.Model
    assert not hasattr(model, "operations")
    assert set(model.get_config()) == set(keras.Model().get_config())


@pytest.mark.same_everywhere(but=["stock", "loss scale"])
@pytest.mark.parametrize("how", ["name", "stock", "differential", "loss scale"])
def test_compile_never_ignores_what_layers_declare(how):
    optimizer = {
        "name": "sgd",
        "stock": keras.optimizers.SGD(0.01),
        "differential": difflr.optimizers.SGD(0.01),
        "loss scale": keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.01), initial_scale=2.0),
    }[how]
    ratios = moves_by(functional(), 0.01, optimizer)
    np.testing.assert_allclose(ratios, [0.1, 0.2, 1, 1], rtol=1e-4)


def test_a_plain_keras_model_with_a_differential_optimizer():
    ratios = moves_by(functional(keras.Model), 0.01, difflr.optimizers.SGD(0.01))
    np.testing.assert_allclose(ratios, [0.1, 0.2, 1, 1], rtol=1e-4)


@pytest.mark.same_everywhere
def test_a_sequential_that_is_built_late():
    model = difflr.Sequential([Dense(4, learning_rate_multiplier=0.5), Dense(2)])
    model.compile("adam", loss="mse")
    assert len(model.multipliers) == 0
    model.fit(np.ones((4, 3)), np.ones((4, 2)), verbose=0)
    assert [row.multiplier for row in model.optimizer.plan.rows] == [0.5, 0.5, 1, 1]


def test_declared_zero_is_frozen():
    model = difflr.Sequential([keras.Input((3,)), Dense(4, b_learning_rate_multiplier=0.0, name="a"), Dense(2)])
    model.compile("adam", loss="mse")
    before = keras.ops.convert_to_numpy(model.get_layer("a").bias).copy()
    model.fit(np.ones((4, 3)), np.ones((4, 2)), verbose=0)
    assert np.array_equal(before, keras.ops.convert_to_numpy(model.get_layer("a").bias))
    assert len(model.trainable_variables) == 3
    assert difflr.Plan(model, {"a/bias": 0.5}).rows[1].multiplier == 0.5


def test_two_values_for_one_weight():
    one, two = Dense(3, learning_rate_multiplier=0.1, name="one"), Dense(3, learning_rate_multiplier=0.2, name="two")
    inputs = keras.Input((3,))
    model = difflr.Model(inputs, two(one(inputs)))
    two._trainable_variables[0] = one.kernel
    with pytest.raises(ValueError, match=r"one/kernel.*'one' declares 0\.1, 'two' declares 0\.2"):
        model.multipliers  # noqa: B018
    with pytest.raises(ValueError, match="Two layers declare"):
        model.compile("sgd", loss="mse")


def test_path_patterns_in_the_optimizer():
    model = functional()
    model.compile(difflr.optimizers.SGD(0.01, multipliers={"b": 0.5}), loss="mse")
    model.train_on_batch(np.ones((4, 3)), np.ones((4, 2)))
    assert [row.multiplier for row in model.optimizer.plan.rows] == [0.1, 0.2, 0.5, 0.5]


@pytest.mark.filterwarnings("ignore:Layer 'a' declares")
def test_optimizers_that_cannot_be_taken():
    built = keras.optimizers.SGD(0.01)
    built.build(functional().trainable_variables)
    with pytest.raises(ValueError, match="built already"):
        functional().compile(built)
    if hasattr(keras.optimizers, "MultiOptimizer"):
        multi = keras.optimizers.MultiOptimizer(keras.optimizers.OptimizerMap(keras.optimizers.SGD(0.1), {}))
        with pytest.raises(ValueError, match="cannot be differential"):
            functional().compile(multi)
    with pytest.raises(TypeError, match="Expected a Keras optimizer"):
        functional().compile(3)


def test_no_optimizer_and_clone():
    model = functional()
    model.compile(None)
    clone = keras.models.clone_model(model)
    assert list(clone.multipliers.values()) == list(model.multipliers.values())
    assert isinstance(clone, difflr.Model)


class FunctionalByCode(difflr.Model):
    """A subclass that calls the constructor as `Model(inputs, outputs)` does."""

    def __init__(self):
        inputs = keras.Input((3,))
        super().__init__(inputs, Dense(2, W_learning_rate_multiplier=0.5, name="d")(inputs), name="by_code")


class Mixed(Subclassed, keras.Model):
    """Further bases."""


class FunctionalLike(difflr.Model):
    """A subclass with the constructor of a functional model, which Keras saves with its layers."""

    def __init__(self, inputs, outputs, name=None, **kwargs):
        super().__init__(inputs, outputs, name=name, **kwargs)


def test_a_subclass_that_is_functional_leaves_the_others_as_they_are():
    model = FunctionalByCode()
    assert isinstance(model, difflr.Model)
    assert repr(model.multipliers) == "{d/kernel: 0.5}"
    assert model.operations
    model.compile("sgd", loss="mse")
    model.fit(np.ones((4, 3)), np.ones((4, 2)), verbose=0)
    assert type(FunctionalByCode()) is FunctionalByCode
    for other in (Subclassed(), Mixed()):
        other(np.ones((1, 3), "float32"))
        assert not hasattr(other, "operations")
        assert list(other.multipliers.values()) == [0.5, 0.5, 0.25]


@pytest.mark.skipif(not hasattr(keras.optimizers, "MultiOptimizer"), reason="before 3.15 Keras loads none of its own")
def test_a_subclass_with_the_constructor_of_a_functional_model_saves_and_loads(tmp_path):
    plain = functional()
    model = FunctionalLike(plain.inputs, plain.outputs)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", custom_objects={"FunctionalLike": FunctionalLike})
    assert type(loaded) is FunctionalLike
    assert repr(loaded.multipliers) == "{a/kernel: 0.1, a/bias: 0.2}"


@pytest.mark.parametrize("make", [functional, lambda: difflr.Sequential([keras.Input((3,)), Dense(2)])])
def test_a_saved_model_is_of_its_class_again(make, tmp_path):
    model = make()
    model.compile("adam", loss="mse")
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded) is type(model)
    assert isinstance(loaded, (difflr.Model, difflr.Sequential))
    assert type(loaded.optimizer) is difflr.optimizers.Adam
    assert list(loaded.multipliers.values()) == list(model.multipliers.values())


def test_what_they_are():
    assert isinstance(functional(), keras.Model)
    assert isinstance(functional(), difflr.Model)
    assert type(functional()).__name__ == "Functional"
    assert isinstance(difflr.Sequential(), keras.Sequential)
    assert not isinstance(functional(keras.Model), difflr.Model)
    assert not isinstance(difflr.Sequential([keras.Input((3,)), Dense(2)]), difflr.Model)


def test_arguments_of_keras():
    inputs = keras.Input((3,))
    model = difflr.Model(inputs=inputs, outputs=Dense(2)(inputs), name="given", trainable=False)
    assert model.name == "given"
    assert model.trainable_variables == []
    assert difflr.Sequential([Dense(2)], name="given", trainable=False).name == "given"


def test_nested_models_of_all_sorts():
    inner = difflr.Sequential([keras.Input((3,)), Dense(3, learning_rate_multiplier=0.5, name="d")], name="inner")
    stock = keras.Sequential([keras.Input((3,)), Dense(3, learning_rate_multiplier=0.25, name="d")], name="stock")
    inputs = keras.Input((3,))
    model = difflr.Model(inputs, keras.layers.Dense(1, name="head")(stock(inner(inputs))))
    assert repr(model.multipliers) == (
        "{inner/d/kernel: 0.5, inner/d/bias: 0.5, stock/d/kernel: 0.25, stock/d/bias: 0.25}"
    )


def test_a_compiled_model_names_its_multipliers_by_its_own_paths():
    model = functional()
    model.compile(difflr.optimizers.SGD(0.01, multipliers={"kind:head": 4.0}), loss="mse")
    model.train_on_batch(np.ones((4, 3)), np.ones((4, 2)))
    assert repr(model.optimizer.multipliers) == "{a/kernel: 0.1, a/bias: 0.2, b/kernel: 4.0, b/bias: 4.0}"


def test_a_path_that_is_not_there_says_so():
    with pytest.raises(ValueError, match=r"'c' matches no trainable variable.*The layer tree begins with: a, b"):
        functional().compile(difflr.optimizers.SGD(0.01, multipliers={"c": 0.5}), loss="mse")


@pytest.mark.filterwarnings("ignore:Layer 'a' declares")
def test_a_built_loss_scale_optimizer():
    inner = keras.optimizers.SGD(0.01)
    inner.build(functional().trainable_variables)
    with pytest.raises(ValueError, match="built already"):
        functional().compile(keras.optimizers.LossScaleOptimizer(inner))


def test_multi_optimizers_of_differential_ones_are_taken():
    if not hasattr(keras.optimizers, "MultiOptimizer"):
        return
    model = functional()
    multi = keras.optimizers.MultiOptimizer(keras.optimizers.OptimizerMap(difflr.optimizers.SGD(0.1), {}))
    model.compile(multi, loss="mse")
    assert model.optimizer is multi


def test_compile_without_an_optimizer_still_tells_of_conflicts():
    one = Dense(3, learning_rate_multiplier=0.1, name="one")
    outer = difflr.layers.TimeDistributed(one, name="outer", learning_rate_multiplier=0.2)
    model = difflr.Sequential([keras.Input((2, 3)), outer])
    for optimizer in (None, "sgd"):
        with pytest.raises(ValueError, match="Two layers declare different multipliers"):
            model.compile(optimizer)

"""`difflr.layers` has every Keras layer with weights, and each is that layer in all but the multipliers."""

import inspect
import re

import keras
import numpy as np
import pytest

import difflr
from difflr.layers import DeclaresKernelAndBias, DeclaresMultipliers, declaring
from layers.every_layer import (
    CONVOLUTIONS_AND_DENSE,
    FROM_ELSEWHERE,
    SLOW_TO_CALL,
    WITH_WEIGHTS,
    WITHOUT_WEIGHTS,
    WITHOUT_WEIGHTS_SLOW_TO_MAKE,
    classes,
)

OURS = {name: cls for name, cls in vars(difflr.layers).items() if name in difflr.layers.__all__}
OURS = {name: cls for name, cls in OURS.items() if cls not in (DeclaresMultipliers, DeclaresKernelAndBias)}
names = pytest.mark.parametrize("name", [name for name in WITH_WEIGHTS if hasattr(keras.layers, name)])
pytestmark = pytest.mark.usefixtures("quick_compilation")


def uncounted(name):
    """An automatic name without its counter: `dense_5/kernel` -> `dense/kernel`."""
    return re.sub(r"_\d+\b", "", name)


def by_keras_and_by_difflr(name, **extra):
    """The layer of Keras and ours, each with its output, made from equal seeds."""
    case = WITH_WEIGHTS[name]
    made = []
    for module, more in ((keras.layers, {}), (difflr.layers, extra)):
        keras.utils.set_random_seed(7)
        layer = case.make(getattr(module, name), **more)
        if name in SLOW_TO_CALL:
            case.model(layer)
            made.append((layer, None))
        else:
            made.append((layer, keras.ops.convert_to_numpy(case.call(layer, case.batch()))))
    return made


def test_the_tables_know_every_layer_of_keras():
    known = {*WITH_WEIGHTS, *WITHOUT_WEIGHTS, *WITHOUT_WEIGHTS_SLOW_TO_MAKE, *FROM_ELSEWHERE}
    new = sorted(set(classes()) - {"Layer"} - known)
    assert not new, f"Keras has new layers: {new}. Add a line to tests/layers/every_layer.py for each."


@pytest.mark.parametrize("name", sorted(set(WITHOUT_WEIGHTS) & set(classes())))
def test_a_layer_without_weights_is_not_there(name):
    case = WITHOUT_WEIGHTS[name]
    layer = case.make(classes()[name])
    shapes = [(2, *shape) for shape in case.shapes]
    if not layer.built:
        layer.build(shapes[0] if len(shapes) == 1 else shapes)
    assert layer.weights == []
    assert name not in OURS


@names
def test_a_layer_with_weights_is_there(name):
    cls = OURS[name]
    assert issubclass(cls, getattr(keras.layers, name))
    assert (cls.__name__, cls.__module__) == (getattr(keras.layers, name).__name__, "difflr.layers")


def test_layers_slow_to_make_are_not_there():
    assert WITHOUT_WEIGHTS_SLOW_TO_MAKE.isdisjoint(OURS)


@pytest.mark.same_everywhere
def test_every_exception_is_needed():
    """A layer that is named as one, and that the rule alone would sort as well, is not to be named."""
    builds = {name for name, cls in classes().items() if cls.build is not keras.layers.Layer.build}
    assert declaring.WITHOUT_WEIGHTS & set(classes()) <= builds
    assert declaring.WITHOUT_BUILD.isdisjoint(builds)
    assert {*WITHOUT_WEIGHTS, *WITHOUT_WEIGHTS_SLOW_TO_MAKE} >= declaring.WITHOUT_WEIGHTS


def test_layers_whose_weights_come_from_elsewhere_are_there():
    assert set(classes()) >= FROM_ELSEWHERE
    assert set(OURS) >= FROM_ELSEWHERE


def test_aliases_are_the_same_class():
    own_name = {cls: name for name, cls in classes().items()}
    aliases = {
        name: own_name[cls] for name, cls in vars(keras.layers).items() if isinstance(cls, type) and cls in own_name
    }
    there = {name: own for name, own in aliases.items() if own in OURS}
    assert there["Convolution2D"] == "Conv2D"
    for name, own in there.items():
        assert OURS[name] is OURS[own]


@names
def test_convolutions_and_dense_take_the_two_original_arguments(name):
    parameters = inspect.signature(OURS[name]).parameters
    assert "learning_rate_multiplier" in parameters
    assert issubclass(OURS[name], DeclaresKernelAndBias) == (name in CONVOLUTIONS_AND_DENSE)
    assert {"W_learning_rate_multiplier", "b_learning_rate_multiplier"} <= set(parameters) or (
        name not in CONVOLUTIONS_AND_DENSE
    )
    for new in set(parameters) - set(inspect.signature(getattr(keras.layers, name)).parameters):
        assert parameters[new].kind is inspect.Parameter.KEYWORD_ONLY, f"{new} would move the positions"


@pytest.mark.same_everywhere
@names
def test_equal_seeds_give_equal_names_weights_and_outputs(name):
    (theirs, their_output), (ours, our_output) = by_keras_and_by_difflr(name, learning_rate_multiplier=0.5)
    assert uncounted(ours.name) == uncounted(theirs.name)
    assert [uncounted(w.path) for w in ours.weights] == [uncounted(w.path) for w in theirs.weights]
    for mine, other in zip(ours.weights, theirs.weights, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(mine), keras.ops.convert_to_numpy(other))
        assert mine.trainable == other.trainable
    np.testing.assert_array_equal(our_output, their_output)
    assert type(ours).call is type(theirs).call
    assert len(ours.multipliers) == len(theirs.trainable_weights) != 0


@names
def test_nothing_declared_leaves_nothing_behind(name):
    theirs, ours = (WITH_WEIGHTS[name].make(getattr(module, name)) for module in (keras.layers, difflr.layers))
    assert len(ours.multipliers) == 0
    assert set(ours.get_config()) == set(theirs.get_config())


@names
def test_positional_arguments_are_those_of_keras(name):
    case = WITH_WEIGHTS[name]

    def all_positional(cls):
        given = case.arguments()
        parameters = list(inspect.signature(getattr(keras.layers, name).__init__).parameters.values())[1:]
        positional = [p for p in parameters if p.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD]
        rest = {k: v for k, v in given.items() if k not in [p.name for p in positional]}
        return cls(*[given.get(p.name, p.default) for p in positional], **rest)

    theirs, ours = all_positional(getattr(keras.layers, name)), all_positional(OURS[name])
    assert uncounted(str(ours.get_config())) == uncounted(str(theirs.get_config()))


@pytest.mark.same_everywhere(but=["Dense", "Conv2D", "LSTM", "MultiHeadAttention"])
@names
def test_a_saved_model_loads_with_its_multipliers_and_without_custom_objects(name, tmp_path):
    case = WITH_WEIGHTS[name]
    layer = case.make(OURS[name], learning_rate_multiplier=0.0, name="the_layer")
    case.model(layer).save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    twin = loaded.get_layer("rnn").cell if case.cell else loaded.get_layer("the_layer")
    assert type(twin) is OURS[name]
    assert twin.get_config()["learning_rate_multiplier"] == 0.0
    assert list(twin.multipliers.values()) == [0.0] * len(layer.multipliers) != []
    for mine, other in zip(twin.weights, layer.weights, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(mine), keras.ops.convert_to_numpy(other))


def test_normalization_says_that_it_has_nothing_to_train():
    with pytest.raises(ValueError, match=r"Normalization 'n' has no trainable weights"):
        difflr.layers.Normalization(name="n", learning_rate_multiplier=0.1).build((None, 3))


@pytest.mark.skipif(
    keras.backend.backend() != "jax", reason="Keras's JaxLayer is made for the backends JAX and TensorFlow"
)
def test_jax_layer():
    def call(params, inputs):
        return inputs @ params["kernel"]

    layer = difflr.layers.JaxLayer(call, params={"kernel": np.ones((3, 2), "float32")}, learning_rate_multiplier=0.1)
    layer(np.ones((2, 3), "float32"))
    assert list(layer.multipliers.values()) == [0.1]


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="Keras's TorchModuleWrapper is for the backend torch")
def test_torch_module_wrapper():
    import torch

    layer = difflr.layers.TorchModuleWrapper(torch.nn.Linear(3, 2), learning_rate_multiplier=0.1)
    layer(np.ones((2, 3), "float32"))
    assert list(layer.multipliers.values()) == [0.1, 0.1]

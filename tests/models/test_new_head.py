"""A new last layer, in the right place."""

import keras
import numpy as np
import pytest

import difflr
from difflr.models import after_vectorization


def backbone():
    inputs = keras.Input((6, 6, 3))
    x = keras.layers.Conv2D(4, 3, name="stem")(inputs)
    return keras.Model(inputs, keras.layers.Conv2D(5, 3, name="top")(x), name="backbone")


@pytest.mark.same_everywhere
def test_a_dense_head_is_replaced():
    inputs = keras.Input((6, 6, 3))
    x = keras.layers.Dropout(0.5, name="drop")(keras.layers.GlobalMaxPooling2D()(backbone()(inputs)))
    x = keras.layers.Activation("softmax")(keras.layers.Dense(7, name="head")(x))
    model = keras.Model(inputs, x)
    new = difflr.new_head(model, 3)
    assert [layer.name for layer in new.layers[-2:]] == ["drop", "new_head"]
    assert new.get_layer("backbone") is model.get_layer("backbone")
    assert new.output_shape == (None, 3)
    assert new.get_layer("new_head").activation is keras.activations.softmax
    assert "backbone/stem/kernel" in {row.path for row in difflr.Plan(new).rows}


@pytest.mark.same_everywhere
def test_feature_maps_are_pooled():
    new = difflr.new_head(backbone(), 2, activation=None)
    assert [layer.name for layer in new.layers[-3:]] == ["top", "pool", "head"]
    x = np.random.default_rng(0).normal(size=(2, 6, 6, 3)).astype("float32")
    maps = keras.Model(new.inputs, new.get_layer("top").output).predict(x, verbose=0)
    kernel, bias = new.get_layer("head").get_weights()
    np.testing.assert_allclose(new.predict(x, verbose=0), maps.mean((1, 2)) @ kernel + bias, rtol=1e-4, atol=1e-5)


@pytest.mark.same_everywhere
def test_before_training_all_classes_are_about_equally_probable_however_large_the_features():
    keras.utils.set_random_seed(0)
    new = difflr.new_head(keras.Sequential([keras.Input((512,)), keras.layers.Rescaling(1.0, name="features")]), 4)
    features = np.random.default_rng(0).normal(scale=10, size=(50, 512)).astype("float32")
    labels = np.arange(50) % 4
    new.compile(loss="sparse_categorical_crossentropy")
    assert new.evaluate(features, labels, verbose=0) < 2 * np.log(4) + 1  # 10 with Keras's own kernel
    ordinary = keras.Sequential([keras.Input((512,)), keras.layers.Dense(4, activation="softmax")])
    ordinary.compile(loss="sparse_categorical_crossentropy")
    assert ordinary.evaluate(features, labels, verbose=0) > 8


@pytest.mark.same_everywhere
def test_sequential_models_and_a_given_place():
    layers = [keras.layers.Dense(4, name="one"), keras.layers.Dense(3, name="two"), keras.layers.Dense(2, name="head")]
    model = keras.Sequential([keras.Input((5,)), *layers])
    assert [layer.name for layer in difflr.new_head(model, 6).layers[1:]] == ["one", "two", "new_head"]
    new = difflr.new_head(model, 6, features="one", name="mine")
    assert [layer.name for layer in new.layers[1:]] == ["one", "mine"]
    assert new.layers[1] is model.layers[0]


def classifier():
    """As MobileNet: the classes come out of a convolution, and a softmax on top."""
    inputs = keras.Input((6, 6, 3))
    x = keras.layers.Conv2D(4, 3, name="stem")(inputs)
    x = keras.layers.GlobalAveragePooling2D(keepdims=True, name="pool")(x)
    x = keras.layers.Conv2D(10, 1, name="classes")(keras.layers.Dropout(0.1, name="drop")(x))
    return keras.Model(inputs, keras.layers.Softmax(name="softmax")(keras.layers.Flatten()(x)), name="classifier")


def normalized(model):
    inputs = keras.Input((6, 6, 3))
    return keras.Model(inputs, model(keras.layers.Rescaling(1 / 255)(inputs)))


@pytest.mark.same_everywhere
@pytest.mark.same_everywhere
@pytest.mark.parametrize(
    "make",
    [
        classifier,
        lambda: keras.Sequential(
            [keras.Input((6, 6, 3)), backbone(), keras.layers.Conv2D(10, 2, activation="softmax", name="classes")]
        ),
        lambda: normalized(classifier()),
        lambda: keras.Sequential([keras.Input((6, 6, 3)), normalized(classifier()), keras.layers.Activation("linear")]),
    ],
    ids=["softmax", "activation", "nested", "twice nested"],
)
def test_a_head_stands_on_features_not_on_probabilities(make):
    model = make()
    new = difflr.new_head(model, 3)
    assert new.output_shape == (None, 3)
    assert new.layers[-1].kernel.shape[0] in (4, 5)  # channels of the body, not the 10 classes
    paths = {row.path for row in difflr.Plan(new).rows}
    assert not any("classes" in path for path in paths)
    assert {path for path in paths if not path.startswith(("head", "new_head"))} < {
        row.path for row in difflr.Plan(model).rows
    }


def test_features_that_are_probabilities():
    with pytest.warns(UserWarning, match="'softmax' outputs probabilities.*`features`"):
        difflr.new_head(classifier(), 3, features="softmax")
    inputs = keras.Input((5,))
    both = keras.layers.Softmax()(keras.layers.Dense(4)(inputs) + keras.layers.Dense(4)(inputs))
    with pytest.raises(ValueError, match="from 2 inputs.*Name the layer"):
        difflr.new_head(keras.Model(inputs, both), 3)


@pytest.mark.same_everywhere
def test_what_cannot_be_cut():
    class Own(keras.Model):
        pass

    inputs = keras.Input((5,))
    two = keras.Model(inputs, [keras.layers.Dense(2)(inputs), keras.layers.Dense(2)(inputs)])
    with pytest.raises(ValueError, match="Expected a built functional or Sequential model. Received: Own"):
        difflr.new_head(Own(), 2)
    with pytest.raises(ValueError, match="Received: 2 outputs"):
        difflr.new_head(two, 2)
    with pytest.raises(ValueError, match="no layer 'tpo'. Did you mean 'top'"):
        difflr.new_head(backbone(), 2, features="tpo")
    for number in (1, True, 2.0):
        with pytest.raises(ValueError, match="integer >= 2"):
            difflr.new_head(backbone(), number)
    with pytest.raises(ValueError, match="takes no texts"):
        after_vectorization(backbone())


@pytest.mark.same_everywhere
@pytest.mark.parametrize("form", [lambda x: x, lambda x: {"images": x}, lambda x: [x]], ids=["tensor", "dict", "list"])
def test_the_inputs_keep_their_structure(form):
    """What was passed to the model is passed to it with its new head, and Keras does not warn of another structure."""
    inputs = keras.Input((4,), name="images")
    model = keras.Model(form(inputs), keras.layers.Dense(3, name="old")(inputs))
    headed = difflr.new_head(model, 2)
    assert type(headed.input) is type(model.input)
    assert headed.predict(form(np.ones((2, 4), "float32")), verbose=0).shape == (2, 2)

"""Gradients that are no plain ones: sparse rows of an embedding, and values that replace the variable."""

import keras
import numpy as np
import pytest

import difflr
from optimizers.steps import (
    BACKEND,
    BASE,
    NAMES,
    SLOW,
    assert_close,
    assert_same,
    gradients,
    new_variables,
    ours,
    product,
    stock,
    tensors,
    values,
)

TOKENS = np.array([[1, 2], [2, 5]])
LABELS = np.ones((2, 1), "float32")


def embedding_model():
    words = keras.Input((2,), dtype="int32")
    embedded = keras.layers.Embedding(6, 3, name="words", embeddings_initializer=keras.initializers.Constant(0.5))(
        words
    )
    flat = keras.layers.Flatten()(embedded)
    head = keras.layers.Dense(1, name="head", kernel_initializer=keras.initializers.Constant(0.3))(flat)
    return keras.Model(words, head)


def one_step(optimizer):
    model = embedding_model()
    model.compile(optimizer, loss="mse")
    model.fit(TOKENS, LABELS, epochs=1, batch_size=2, verbose=0)
    return values(model.trainable_variables)


@pytest.mark.same_everywhere(but=["Adam"])
@pytest.mark.parametrize("name", ["SGD", "Adam"])
def test_embedding_in_fit(name):
    """After one step the gradients do not depend on the rates yet, so every variable can be compared."""
    got = one_step(ours(name, lambda variable: SLOW if "embeddings" in variable.name else 1.0))
    fast, slow = one_step(stock(name)), one_step(stock(name, product(BASE, SLOW)))
    assert_close(got, [slow[0], fast[1], fast[2]], rtol=1e-6)
    moved = np.abs(got[0] - 0.5).max(axis=1) > 1e-5
    assert moved.tolist() == [False, True, True, False, False, True]


@pytest.mark.skipif(BACKEND != "tensorflow", reason="only TensorFlow has sparse gradients (IndexedSlices) in Keras")
def test_the_gradient_of_an_embedding_is_sparse():
    import tensorflow as tf

    model = embedding_model()
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(model(TOKENS))
    assert isinstance(tape.gradient(loss, model.trainable_variables)[0], tf.IndexedSlices)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="only TensorFlow has sparse gradients (IndexedSlices) in Keras")
@pytest.mark.parametrize("name", NAMES)
def test_indexed_slices(name):
    """As the stock optimizer takes them, whatever that is: Muon cannot."""
    import tensorflow as tf

    def outcome(optimizer):
        variables = new_variables()[:2]
        optimizer.build(variables)
        try:
            for grads in gradients(2):
                sparse = tf.IndexedSlices(tf.constant(grads[0][:2]), tf.constant([0, 2]), tf.constant([4, 3]))
                optimizer.apply([sparse, tf.constant(grads[1])], variables)
        except Exception as error:
            return type(error)
        return values(variables)

    got = outcome(ours(name, lambda variable: SLOW if variable.name == "fast_kernel" else 1.0, clipnorm=0.5))
    fast = outcome(stock(name, clipnorm=0.5))
    slow = outcome(stock(name, product(BASE, SLOW), clipnorm=0.5))
    if isinstance(fast, type):
        assert got is fast
        assert name not in ("SGD", "Adam", "AdamW")
    else:
        assert_same(got, [slow[0], fast[1]])


@pytest.mark.parametrize("name", NAMES)
def test_overwritten_variables_are_left_alone(name):
    """The gradient of such a variable (a float8 scale) is its new value, whatever the rates are."""
    variables = new_variables()
    variables[2].overwrite_with_gradient = True
    optimizer = ours(name, [(variable, 0.5) for variable in variables], weight_decay=0.3)
    reference_variables = new_variables()
    reference_variables[2].overwrite_with_gradient = True
    reference = stock(name, BASE * 0.5, weight_decay=0.3)
    for grads in gradients(2):
        optimizer.apply(tensors(grads), variables)
        reference.apply(tensors(grads), reference_variables)
        np.testing.assert_array_equal(values(variables)[2], grads[2])
    assert_same(values(variables), values(reference_variables))


def test_a_frozen_one_is_not_overwritten():
    variables = new_variables()
    variables[2].overwrite_with_gradient = True
    start = values(variables)
    optimizer = ours("SGD", [(variables[2], difflr.FROZEN)])
    optimizer.apply(tensors(gradients(1)[0]), variables)
    assert_same(values(variables)[2:3], start[2:3])

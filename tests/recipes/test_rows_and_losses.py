"""What docs/recipes.md and its examples show: embedding rows with their own rate, and a loss that moves the body less."""

import importlib.util
import pathlib

import keras
import numpy as np
import pytest

import difflr
from test_documents import python_blocks

ROOT = pathlib.Path(__file__).parents[2]


def example(name):
    """An example as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def embedding_class():
    return example("embedding_rows").EmbeddingWithOwnRows


def network(embedding):
    model = keras.Sequential([keras.Input((4,), dtype="int32"), embedding, keras.layers.Dense(1, name="top")])
    for variable in model.trainable_variables:
        shape = tuple(variable.shape)
        variable.assign(np.linspace(-1, 1, int(np.prod(shape))).reshape(shape))
    return model


TABLE = np.random.default_rng(0).normal(size=(8, 2)).astype("float32")
OWN = [2, 6, 7]
OTHERS = [0, 1, 3, 4, 5]
TOKENS = np.random.default_rng(1).integers(0, 8, (16, 4)).astype("int32")


def trained(model, optimizer, steps):
    model.compile(optimizer, loss="mse", run_eagerly=True)
    for _ in range(steps):
        model.train_on_batch(TOKENS, np.ones((16, 4, 1), "float32"))


def split(embedding_class, rules, optimizer, steps=3, **arguments):
    """All rows after some steps, of an embedding that has its own rows apart."""
    embedding = embedding_class(6, 2, OWN, name="tokens")
    model = network(embedding)
    embedding.others.embeddings.assign(TABLE[:6])
    embedding.own_embeddings.assign(TABLE[OWN])
    trained(model, optimizer(multipliers=difflr.Plan(model, rules), **arguments), steps)
    rows = keras.ops.convert_to_numpy(embedding.others.embeddings)
    return np.concatenate([rows, TABLE[6:]]), keras.ops.convert_to_numpy(embedding.own_embeddings), model


def plain(optimizer, steps=3, **arguments):
    embedding = keras.layers.Embedding(8, 2, name="tokens")
    model = network(embedding)
    embedding.embeddings.assign(TABLE)
    trained(model, optimizer(**arguments), steps)
    return keras.ops.convert_to_numpy(embedding.embeddings)


@pytest.mark.same_everywhere
@pytest.mark.parametrize("optimizer", ["AdamW", "SGD"])
def test_at_one_rate_it_trains_as_a_plain_embedding(embedding_class, optimizer):
    arguments = {"learning_rate": 0.01, "weight_decay": 0.1} | ({"momentum": 0.9} if optimizer == "SGD" else {})
    expected = plain(getattr(keras.optimizers, optimizer), **arguments)
    others, own, _ = split(embedding_class, None, getattr(difflr.optimizers, optimizer), **arguments)
    np.testing.assert_allclose(others[OTHERS], expected[OTHERS], atol=1e-6)
    np.testing.assert_allclose(own, expected[OWN], atol=1e-6)
    assert np.abs(own - TABLE[OWN]).min() > 1e-4


def test_rows_that_are_frozen_stay_bit_for_bit_and_own_rows_have_their_rate(embedding_class):
    arguments = {"learning_rate": 0.01, "weight_decay": 0.1}
    rules = {"tokens/others": difflr.FROZEN, "tokens/own_embeddings": {"multiplier": 5.0, "weight_decay_multiplier": 0}}
    others, _, model = split(embedding_class, rules, difflr.optimizers.AdamW, **arguments)
    assert (others[OTHERS] == TABLE[OTHERS]).all()
    assert sum(int(np.prod(each.shape)) for each in model.optimizer.variables) < 30  # no state for the others
    _, own, _ = split(embedding_class, rules, difflr.optimizers.AdamW, steps=1, **arguments)
    five_times = plain(keras.optimizers.AdamW, steps=1, learning_rate=0.05, weight_decay=0.0)
    np.testing.assert_allclose(own, five_times[OWN], atol=1e-6)


@pytest.mark.same_everywhere
def test_it_is_saved_and_loaded(embedding_class, tmp_path):
    _, own, model = split(embedding_class, {"tokens/own_embeddings": 2.0}, difflr.optimizers.AdamW)
    model.save(tmp_path / "own.keras")
    loaded = keras.saving.load_model(tmp_path / "own.keras")
    np.testing.assert_array_equal(loaded.predict(TOKENS, verbose=0), model.predict(TOKENS, verbose=0))
    assert difflr.plan_of(loaded) == difflr.plan_of(model)


@pytest.mark.same_everywhere
def test_a_share_of_the_gradient_is_a_rate_under_sgd():
    blocks = [code for _, code in python_blocks((ROOT / "docs" / "recipes.md").read_text(encoding="utf-8"))]
    (block,) = [code for code in blocks if "def share_of_gradient" in code]
    exec(block, namespace := {"keras": keras})
    share_of_gradient = namespace["share_of_gradient"]
    moved = []
    for share in (1.0, 0.25, 0.0):
        inputs = keras.Input((3,))
        features = keras.layers.Dense(4, name="body")(inputs)
        model = keras.Model(inputs, keras.layers.Dense(1, name="top")(share_of_gradient(features, share)))
        for variable in model.trainable_variables:
            shape = tuple(variable.shape)
            variable.assign(np.linspace(-1, 1, int(np.prod(shape))).reshape(shape))
        model.compile(difflr.optimizers.SGD(0.1), loss="mse", run_eagerly=True)
        before = [keras.ops.convert_to_numpy(each) for each in model.weights]
        model.train_on_batch(np.ones((2, 3), "float32"), np.ones((2, 1), "float32"))
        moved.append([keras.ops.convert_to_numpy(new) - old for new, old in zip(model.weights, before, strict=True)])
    for one, quarter, none, factor in zip(*moved, [True, True, False, False], strict=True):
        np.testing.assert_allclose(quarter, one * (0.25 if factor else 1), atol=1e-6)
        np.testing.assert_allclose(none, one * (0.0 if factor else 1), atol=1e-6)
        assert np.abs(one).max() > 1e-3


@pytest.mark.same_everywhere
def test_an_optimizer_for_each_loss_moves_the_body_at_its_own_rate():
    """A tenth of the rate is a tenth of the way under Adam, where a tenth of the gradient is the whole way."""
    gradients = example("gan").gradients
    keras.utils.set_random_seed(0)
    x = keras.ops.convert_to_tensor(np.random.default_rng(0).normal(size=(8, 4)), "float32")
    body, top = keras.layers.Dense(3, name="body"), keras.layers.Dense(1, name="top")
    model = keras.Sequential([keras.Input((4,)), body, top])
    optimizer = difflr.optimizers.Adam(1e-2, multipliers={body: 0.1})
    variables = body.trainable_variables + top.trainable_variables
    before = [keras.ops.convert_to_numpy(each) for each in variables]
    optimizer.apply(gradients(lambda: 1e3 * keras.ops.mean((model(x) - 1) ** 2), variables), variables)
    for variable, old, rate in zip(variables, before, [1e-3, 1e-3, 1e-2, 1e-2], strict=True):
        np.testing.assert_allclose(np.abs(keras.ops.convert_to_numpy(variable) - old), rate, rtol=1e-2)

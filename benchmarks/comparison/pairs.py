"""The pairs: a network that knows one thing, and data that asks for another."""

import dataclasses
import functools
from collections.abc import Callable

import keras
import numpy as np
from keras import layers

from benchmarks.comparison import minilm, texts
from difflr.demo import digits, squeezenet

VALIDATION_SEED = 2026


@dataclasses.dataclass(frozen=True)
class Data:
    """Inputs and labels, three times. Validation and test are the same for every seed."""

    train: tuple[np.ndarray, np.ndarray]
    validation: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Pair:
    """A pretrained network and new data.

    Args:
        title: What it is, in a few words.
        build: Makes the model, with pretrained weights and, where it is new, a head drawn with the current seed.
        data: From a seed to the data; the seed draws the training part.
        head: The name of the head's layer; the rest is the body.
        groups: The body's parts, from the input on: each a list of patterns of layer-tree paths.
        epochs: How long to train.
        batch_size: How many at a step.
    """

    title: str
    build: Callable[[], keras.Model]
    data: Callable[[int], Data]
    head: str
    groups: tuple[tuple[str, ...], ...]
    epochs: int
    batch_size: int = 16


def drawn(labels, seed, per_class, without=()):
    """Positions of `per_class` of every class, drawn with `seed` outside `without`."""
    generator = np.random.default_rng(seed)
    free = np.ones(len(labels), bool)
    free[list(without)] = False
    each = [generator.permutation(np.flatnonzero(free & (labels == label)))[:per_class] for label in np.unique(labels)]
    return np.concatenate(each)


# -- SqueezeNet from ImageNet reads handwritten digits: the demo's pair


@functools.cache
def _digits():
    pictures, labels = digits.load()
    return pictures.astype("float32"), labels


@functools.cache
def _squeezenet_weights():
    return squeezenet.read_weights()


def digits_model():
    """As the demo's, on smaller pictures."""
    pictures = keras.Input((28, 28, 1))
    x = layers.Resizing(40, 40, interpolation="bicubic", name="resize")(pictures)
    x = layers.Concatenate(name="grey_to_rgb")([x, x, x])
    x = squeezenet.load_imagenet(squeezenet.build((40, 40, 3)), _squeezenet_weights())(x)
    return keras.Model(pictures, layers.Dense(10, name="head")(layers.GlobalAveragePooling2D(name="pool")(x)))


def digits_data(seed):
    pictures, labels = _digits()
    test = drawn(labels, digits.TEST_SEED, 100)
    validation = drawn(labels, VALIDATION_SEED, 50, without=test)
    train = drawn(labels, seed, 32, without=[*test, *validation])
    return Data(*((pictures[part], labels[part]) for part in (train, validation, test)))


# -- MiniLM sorts postings into 20 newsgroups

TOKENS = 20


@functools.cache
def _postings():
    """BERT's tokens that occur; tokens and labels of the training part and of the test."""
    found = []
    for part, per_class in (("train", 40), ("test", 30)):  # the tokenizer is slow
        postings, labels = texts.newsgroups(part)
        few = drawn(labels, VALIDATION_SEED, per_class)
        found.append((minilm.Tokenizer()([postings[position] for position in few], TOKENS), labels[few]))
    vocabulary = np.union1d([0], np.concatenate([tokens.ravel() for tokens, _ in found]))
    return vocabulary, [(np.searchsorted(vocabulary, tokens).astype("int32"), labels) for tokens, labels in found]


def newsgroups_data(seed):
    (tokens, labels), test = _postings()[1]
    validation = drawn(labels, VALIDATION_SEED, 10)
    train = drawn(labels, seed, 6, without=validation)
    return Data((tokens[train], labels[train]), (tokens[validation], labels[validation]), test)


def newsgroups_model():
    tokens = keras.Input((TOKENS,), dtype="int32")
    features = minilm.build(TOKENS, _postings()[0])(tokens)
    return keras.Model(tokens, layers.Dense(20, name="head")(features), name="newsgroups")


# -- a small network that reads clean digits meets inverted, blurred and noisy ones


@functools.cache
def _small_network_weights():
    """Trained once, on 2,500 clean digits; the others are left for the new task."""
    pictures, labels = _digits()
    known = drawn(labels, 0, 250)
    keras.utils.set_random_seed(0)
    model = _small_network()
    model.compile(keras.optimizers.Adam(2e-3), loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(pictures[known], labels[known], epochs=6, batch_size=64, verbose=0)
    return model.get_weights()


def _small_network():
    x = pictures = keras.Input((28, 28, 1))
    x = layers.Rescaling(1 / 255)(x)
    for number, filters in enumerate((16, 32, 64), 1):
        x = layers.Conv2D(filters, 3, padding="same", activation="relu", name=f"conv{number}")(x)
        x = layers.MaxPooling2D(2, name=f"pool{number}")(x)
    x = layers.Dense(64, activation="relu", name="dense")(layers.Flatten()(x))
    return keras.Model(pictures, layers.Dense(10, name="head")(x), name="small_network")


def corrupted_model():
    model = _small_network()
    model.set_weights(_small_network_weights())
    return model


@functools.cache
def _corrupted():
    """The digits that the small network has not seen: white turned to black, blurred, and with noise."""
    pictures, labels = _digits()
    known = np.zeros(len(labels), bool)
    known[drawn(labels, 0, 250)] = True
    pictures, labels = pictures[~known], labels[~known]
    padded = np.pad(pictures, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    blurred = sum(padded[:, y : y + 28, x : x + 28] for y in range(3) for x in range(3)) / 9
    noise = np.random.default_rng(0).normal(scale=50, size=blurred.shape)
    return np.clip(255 - blurred + noise, 0, 255).astype("float32"), labels


def corrupted_data(seed):
    pictures, labels = _corrupted()
    test = drawn(labels, digits.TEST_SEED, 100)
    validation = drawn(labels, VALIDATION_SEED, 50, without=test)
    train = drawn(labels, seed, 10, without=[*test, *validation])
    return Data(*((pictures[part], labels[part]) for part in (train, validation, test)))


PAIRS = {
    "digits": Pair(
        "SqueezeNet (ImageNet) → 320 handwritten digits, 40 pixels",
        digits_model,
        digits_data,
        head="head",
        groups=(
            ("squeezenet/conv1", "squeezenet/fire2_*", "squeezenet/fire3_*"),
            ("squeezenet/fire[45]_*",),
            ("squeezenet/fire[67]_*",),
            ("squeezenet/fire[89]_*",),
        ),
        epochs=8,
        batch_size=32,
    ),
    "newsgroups": Pair(
        "MiniLM (sentences) → 120 postings, 20 newsgroups",
        newsgroups_model,
        newsgroups_data,
        head="head",
        groups=(
            ("minilm/*embedding*",),
            ("minilm/block[01]_*",),
            ("minilm/block[23]_*",),
            ("minilm/block[45]_*",),
        ),
        epochs=6,
    ),
    "corrupted": Pair(
        "a small network (clean digits) → 100 inverted, blurred, noisy digits",
        corrupted_model,
        corrupted_data,
        head="head",
        groups=(("conv1",), ("conv2",), ("conv3",), ("dense",)),
        epochs=20,
    ),
}

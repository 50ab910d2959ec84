"""The pretrained networks: SqueezeNet from ImageNet, MiniLM, and four small ones that are trained here.

Each function builds a model with its pretrained body and a head drawn with the current seed. What is trained here is
trained once, on other data than the tasks', and kept in the cache.
"""

import functools

import keras
import numpy as np
from keras import layers

from benchmarks.evidence import minilm, sources
from difflr.demo import squeezenet
from difflr.demo.packages import cache_folder

WORDS = 16
NUM_KNOWN = 2500  # digits that small networks know; the other 2,500 are for the tasks
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def with_head(body, num_classes):
    """A new head on the features of `body`."""
    return keras.Model(body.input, layers.Dense(num_classes, name="head")(body.output))


# -- from ImageNet


def squeezenet_model(num_classes, size, gray=False):
    """SqueezeNet 1.1: no normalization layers."""
    inputs, x = _pictures(size, gray)
    x = squeezenet.build((size, size), _squeezenet_weights())(x)
    return keras.Model(inputs, layers.Dense(num_classes, name="head")(layers.GlobalAveragePooling2D(name="pool")(x)))


@functools.cache
def _squeezenet_weights():
    return squeezenet.read_weights()


def _pictures(size, gray):
    if not gray:
        inputs = keras.Input((size, size, 3))
        return inputs, inputs
    inputs = keras.Input((28, 28, 1))
    x = layers.Resizing(size, size, interpolation="bicubic", name="resize")(inputs)
    return inputs, layers.Concatenate(name="grey_to_rgb")([x, x, x])


# -- from pairs of sentences


def minilm_model(num_classes, length, vocabulary, num_layers):
    """MiniLM, a BERT of six layers, of which the upper ones may be left out."""
    tokens = keras.Input((length,), dtype="int32")
    return keras.Model(
        tokens, layers.Dense(num_classes, name="head")(minilm.build(length, vocabulary, num_layers)(tokens))
    )


# -- from 2,500 digits, clean


def small_network_body(normalized=False):
    x = pictures = keras.Input((28, 28, 1))
    x = layers.Rescaling(1 / 255)(x)
    for number, filters in enumerate((8, 16, 32), 1):
        x = layers.Conv2D(filters, 3, padding="same", use_bias=not normalized, name=f"conv{number}")(x)
        if normalized:
            x = layers.BatchNormalization(name=f"norm{number}")(x)
        x = layers.MaxPooling2D(2, name=f"pool{number}")(layers.ReLU(name=f"relu{number}")(x))
    x = layers.Dense(32, activation="relu", name="dense")(layers.Flatten()(x))
    return keras.Model(pictures, x)


def small_network(num_classes=10, normalized=False, known=tuple(range(10)), keep_head=False):
    """Three convolutions that know the digits `known`, with BatchNormalization if `normalized`."""

    def train(model):
        pictures, labels = sources.handwritten_digits()
        those = np.flatnonzero(np.isin(labels, known) & _is_known(labels))
        model.compile(keras.optimizers.Adam(2e-3), loss=LOSS)
        model.fit(pictures[those], np.searchsorted(known, labels[those]), epochs=6, batch_size=64, verbose=0)

    name = f"small_network{'_normalized' if normalized else ''}_{''.join(map(str, known))}"
    make = functools.partial(small_network_body, normalized)
    if keep_head:
        return pretrained(name, lambda: with_head(make(), len(known)), train)
    return with_head(_body_of(pretrained(name, lambda: with_head(make(), len(known)), train)), num_classes)


def _is_known(labels):
    """The first 250 of each digit, in an order drawn once."""
    generator, known = np.random.default_rng(0), np.zeros(len(labels), bool)
    for label in range(10):
        known[generator.permutation(np.flatnonzero(labels == label))[: NUM_KNOWN // 10]] = True
    return known


def new_digits():
    """The digits that no small network has seen."""
    pictures, labels = sources.handwritten_digits()
    new = ~_is_known(labels)
    return pictures[new], labels[new]


# -- from 11,293 postings in 20 newsgroups


@keras.saving.register_keras_serializable("difflr_evidence")
class Positions(layers.Layer):
    """Adds what is learnt for each position."""

    def build(self, input_shape):
        self.position = self.add_weight(shape=input_shape[1:], name="position")

    def call(self, x):
        return x + self.position


def small_transformer_body():
    words = keras.Input((WORDS,), dtype="int32")
    x = layers.Embedding(4002, 64, name="embedding")(words)
    x = Positions(name="positions")(x)
    for number in (1, 2):
        seen = layers.MultiHeadAttention(4, 16, name=f"attention{number}")(x, x)
        x = layers.LayerNormalization(name=f"attention_norm{number}")(x + seen)
        hidden = layers.Dense(128, activation="gelu", name=f"hidden{number}")(x)
        x = layers.LayerNormalization(name=f"norm{number}")(x + layers.Dense(64, name=f"output{number}")(hidden))
    return keras.Model(words, layers.GlobalAveragePooling1D(name="pool")(x))


def recurrent_body():
    words = keras.Input((WORDS,), dtype="int32")
    x = layers.Embedding(4002, 64, name="embedding")(words)
    x = layers.GRU(64, return_sequences=True, name="gru1")(x)
    return keras.Model(words, layers.GRU(64, name="gru2")(x))


def text_network(body, num_classes):
    """A small transformer or a recurrent network that knows the newsgroups."""

    def train(model):
        lines, labels = sources.texts("20newsgroups-train")
        model.compile(keras.optimizers.Adam(2e-3), loss=LOSS)
        model.fit(sources.word_numbers(lines, WORDS), labels, epochs=3, batch_size=128, verbose=0)

    return with_head(_body_of(pretrained(body.__name__, lambda: with_head(body(), 20), train)), num_classes)


def pretrained(name, build, train):
    """`build()` with weights that `train` makes once."""
    file = cache_folder() / "evidence" / f"{name}.npz"
    if not file.exists():
        keras.utils.set_random_seed(0)
        fresh = build()
        train(fresh)
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savez(file, *fresh.get_weights())
    model = build()
    with np.load(file) as held:
        model.set_weights([held[f"arr_{number}"] for number in range(len(held.files))])
    return model


def _body_of(model):
    return keras.Model(model.input, model.get_layer("head").input)

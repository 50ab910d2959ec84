"""Texts as numbers, without all of them being as long as the longest."""

import math

import keras
import numpy as np

AT_ONCE = 64  # of which one may be very long
SHORTEST = 16


class TextsToNumbers:
    """What a model's TextVectorization layer makes of texts.

    A layer without a length of its own pads to the longest text it sees: then each text is kept as long as it is,
    and a batch is padded to a power of two, so that few shapes are compiled.

    Args:
        layer: The layer.
        rest: The model that takes what it puts out.
    """

    def __init__(self, layer: keras.layers.TextVectorization, rest: keras.Model):
        self._layer = layer
        self._of_any_length = None in rest.input_shape[1:]

    def of(self, texts: np.ndarray) -> np.ndarray:
        """The numbers, an array for each text.

        Args:
            texts: Array `(num_texts,)` of strings.
        """
        parts = [
            keras.ops.convert_to_numpy(self._layer(texts[begin : begin + AT_ONCE]))
            for begin in range(0, len(texts), AT_ONCE)
        ]
        parts = [part.astype("int32") if part.dtype == "int64" else part for part in parts]
        if not self._of_any_length:
            return np.concatenate(parts)
        numbers = np.empty(len(texts), object)
        numbers[:] = [np.trim_zeros(row, "b") for part in parts for row in part]
        return numbers

    def batch(self, numbers: np.ndarray) -> np.ndarray:
        """A batch as the model takes it.

        Args:
            numbers: What `of` returned, of some texts.
        """
        if not self._of_any_length:
            return numbers
        power = math.ceil(math.log2(max(SHORTEST, *map(len, numbers))))  # of few lengths, for each is compiled
        return keras.utils.pad_sequences(numbers, 2**power, padding="post")

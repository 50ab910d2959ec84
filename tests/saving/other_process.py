"""Run as a script: loads what the tests saved, one name a line of its input, trains on, and writes down what comes of it.

Automatic names count from other numbers here: a model that is saved and loaded is rarely the first one in a process.
"""

import json
import sys
import traceback
import warnings
from pathlib import Path

import keras
import numpy as np

from saving import kinds


def shift_automatic_names():
    """Other counts for every class, so that no name is the same by accident."""
    own = keras.layers
    made = [own.Dense(1) for _ in range(7)] + [own.BatchNormalization() for _ in range(5)]
    made += [
        own.LSTM(1),
        own.Embedding(1, 1),
        own.LayerNormalization(),
        own.Concatenate(),
        own.MultiHeadAttention(1, 1),
    ]
    made += [keras.Sequential() for _ in range(3)] + [kinds.mlp() for _ in range(2)]
    made += [kinds.Block() for _ in range(2)] + [kinds.InCode(), kinds.Tied(), kinds.SubclassedKeras()]
    made += [keras.optimizers.Adam(), keras.optimizers.SGD()]


def taken_up(name, file):
    """The model of a kind, loaded and trained on."""
    model = keras.saving.load_model(file)
    found = kinds.told(model)
    if name.endswith("with_frozen_statistics"):
        model.optimizer.bind(model)
    kinds.train(model, kinds.KINDS[name]()[1])
    return model, found


def main(folder):
    shift_automatic_names()
    words = {}
    for name in map(str.strip, sys.stdin):
        with warnings.catch_warnings(record=True) as caught, kinds.quick_initializers():
            warnings.simplefilter("always")
            try:
                model, told = taken_up(name, folder / f"{name}.keras")
            except Exception:
                words[name] = {"error": traceback.format_exc()}
                continue
        said = [str(each.message) for each in caught if issubclass(each.category, UserWarning)]
        words[name] = {"told": told, "warnings": said}
        np.savez(folder / f"{name}.npz", **kinds.state(model))
    (folder / "words.json").write_text(json.dumps(words))


if __name__ == "__main__":
    main(Path(sys.argv[1]))

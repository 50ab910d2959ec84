"""A small transformer that reads the names of Unicode characters, fine-tuned with layer-wise decay.

The data come with Python: `unicodedata`. First the transformer learns from 1,800 names which category a character has:
upper case, lower case, number, sign, ... Then it gets a new head and 80 names, and learns in which direction the
character is written: left to right, right to left as in Hebrew, or right to left as in Arabic.

    python examples/text.py
"""

import unicodedata

import keras
import numpy as np

import difflr

LENGTH = 8  # words
CATEGORIES = ("Lu", "Ll", "Lo", "Nd", "No", "So", "Sm", "Mn", "Po")
DIRECTIONS = ("L", "R", "AL")


def named(property_of, values, count: int, seed: int, codes=range(0x1FFFF)):
    """Names of characters, as many for each value of a property, and the number of the value."""
    rng = np.random.default_rng(seed)
    names, labels = [], []
    for label, value in enumerate(values):
        found = [unicodedata.name(chr(code), "") for code in codes if property_of(chr(code)) == value]
        found = [name for name in found if name and "-" not in name]
        chosen = rng.choice(found, count // len(values), replace=False)
        names, labels = [*names, *chosen], [*labels, *[label] * len(chosen)]
    return names, np.array(labels)


def numbers(names, vocabulary) -> np.ndarray:
    """A row of word numbers for each name; 0 is nothing, 1 a word that is not in the vocabulary."""
    rows = [[vocabulary.get(word, 1) for word in name.split()[:LENGTH]] for name in names]
    return np.array([row + [0] * (LENGTH - len(row)) for row in rows])


def transformer(vocabulary_size: int, width: int = 32, blocks: int = 2) -> keras.Model:
    inputs = keras.Input((LENGTH,), dtype="int32")
    x = keras.layers.Embedding(vocabulary_size, width, name="words")(inputs)
    for block in range(blocks):
        attention = keras.layers.MultiHeadAttention(4, width // 4, name=f"block{block}_attention")
        x = keras.layers.LayerNormalization(name=f"block{block}_norm")(x + attention(x, x))
        hidden = keras.layers.Dense(2 * width, activation="gelu", name=f"block{block}_wide")(x)
        x = x + keras.layers.Dense(width, name=f"block{block}_narrow")(hidden)
    return keras.Model(inputs, keras.layers.GlobalAveragePooling1D()(x), name="transformer")


def main(epochs: int = 6) -> float:
    """Fine-tunes, and prints the plan and the accuracy on 300 other names."""
    keras.utils.set_random_seed(0)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    names, categories = named(unicodedata.category, CATEGORIES, 1800, seed=0)
    words = sorted({word for name in names for word in name.split()})
    vocabulary = {word: number for number, word in enumerate(words, start=2)}
    body = transformer(len(vocabulary) + 2)
    pretrained = keras.Sequential([body, keras.layers.Dense(len(CATEGORIES))])
    pretrained.compile(keras.optimizers.Adam(3e-3), loss=loss)
    pretrained.fit(numbers(names, vocabulary), categories, batch_size=64, epochs=3, verbose=0)

    model = keras.Sequential([body, keras.layers.Dense(len(DIRECTIONS), name="head")])
    few, many = (named(unicodedata.bidirectional, DIRECTIONS, count, seed=seed) for count, seed in ((81, 1), (300, 2)))
    plan = difflr.layerwise_decay(model, 0.5) * difflr.no_decay(model)
    print(plan.table(learning_rate=1e-2))
    model.compile(difflr.optimizers.AdamW(1e-2, multipliers=plan), loss=loss, metrics=["accuracy"])
    model.fit(numbers(few[0], vocabulary), few[1], batch_size=16, epochs=epochs, verbose=0)
    accuracy = model.evaluate(numbers(many[0], vocabulary), many[1], verbose=0)[1]
    print(f"Accuracy on 300 names: {accuracy:.2f} (by chance: {1 / len(DIRECTIONS):.2f})")
    return accuracy


if __name__ == "__main__":
    main()

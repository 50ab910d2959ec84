"""Rows of an embedding at a rate of their own: new tokens train, old ones stay.

A learning rate belongs to a variable. So that some rows of an embedding train at another rate, make them a variable: this
is exact with every optimizer, weight decay and momentum included. PEFT calls it `trainable_token_indices`.

    python examples/embedding_rows.py
"""

import keras
import numpy as np

import difflr


@keras.saving.register_keras_serializable("my_layers")
class EmbeddingWithOwnRows(keras.layers.Layer):
    """An embedding with some rows in a separate variable; ids from `input_dim` on are new tokens."""

    def __init__(self, input_dim, output_dim, own_rows, **arguments):
        super().__init__(**arguments)
        self.others = keras.layers.Embedding(input_dim, output_dim, name="others")
        self.own_rows = list(own_rows)

    def build(self, input_shape=None):
        self.others.build()
        shape = (len(self.own_rows), self.others.output_dim)
        self.own_embeddings = self.add_weight(shape, initializer="uniform", name="own_embeddings")
        self.places = np.full(max(self.others.input_dim, max(self.own_rows) + 1), -1, "int32")
        self.places[self.own_rows] = range(len(self.own_rows))

    def call(self, tokens):
        place = keras.ops.take(self.places, tokens)
        is_own = place >= 0
        own = keras.ops.take(self.own_embeddings, keras.ops.where(is_own, place, 0), axis=0)
        others = self.others(keras.ops.where(is_own, 0, tokens))
        return keras.ops.where(is_own[..., None], own, others)

    def get_config(self):
        sizes = {"input_dim": self.others.input_dim, "output_dim": self.others.output_dim}
        return {**super().get_config(), **sizes, "own_rows": self.own_rows}


def main(epochs: int = 2) -> float:
    """Trains one old token and two new ones, and prints how far all the others moved."""
    keras.utils.set_random_seed(0)
    tokens = EmbeddingWithOwnRows(20, 4, own_rows=[3, 20, 21], name="tokens")
    layers = [keras.Input((6,), dtype="int32"), tokens, keras.layers.Flatten(), keras.layers.Dense(2, name="head")]
    model = keras.Sequential(layers)
    before = keras.ops.convert_to_numpy(tokens.others.embeddings).copy()

    plan = difflr.Plan(model, {"tokens/others": difflr.FROZEN, "tokens/own_embeddings": 5.0})
    print(plan.table(learning_rate=1e-3))
    model.compile(difflr.optimizers.AdamW(1e-3, weight_decay=0.1, multipliers=plan), loss="mse")
    model.fit(np.arange(66).reshape(11, 6) % 22, np.ones((11, 2)), epochs=epochs, verbose=0)

    moved = float(np.abs(keras.ops.convert_to_numpy(tokens.others.embeddings) - before).max())
    print(f"The other rows moved by {moved}.")  # no update, no decay, no momentum
    return moved


if __name__ == "__main__":
    main()

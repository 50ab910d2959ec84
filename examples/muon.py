"""Muon for the matrices, AdamW for the rest; and a plan for both.

Muon (Jordan et al., 2024) is meant for the hidden matrices of a network. Embeddings, the head, biases and norms keep
AdamW. Keras's `Muon` does both: it has AdamW inside for whatever is no hidden matrix, at `adam_lr_ratio` of its rate.
`difflr.optimizers.Muon` adds the multipliers of a plan.

With Keras 3.15 or newer, `keras.optimizers.MultiOptimizer` can hold two optimizers of difflr instead.

    python examples/muon.py
"""

import keras
import numpy as np

import difflr

RULES = {"embedding": 0.5, "head": 0.5, "kind:no_decay": {"weight_decay_multiplier": 0}}


def network() -> keras.Model:
    inputs = keras.Input((6,), dtype="int32")
    x = keras.layers.Flatten()(keras.layers.Embedding(20, 8, name="embedding")(inputs))
    for number in (1, 2):
        x = keras.layers.LayerNormalization(name=f"norm{number}")(x)
        x = keras.layers.Dense(48, activation="relu", name=f"hidden{number}")(x)
    return keras.Model(inputs, keras.layers.Dense(5, name="head")(x))


def matrices(model: keras.Model) -> list[keras.Variable]:
    """The kernels of the hidden layers."""
    return [layer.kernel for layer in model.layers if layer.name.startswith("hidden")]


def one_muon(model: keras.Model) -> keras.optimizers.Optimizer:
    """Keras's Muon, which has AdamW inside, at rates of a plan."""
    plan = difflr.Plan(model, RULES)
    print(plan.table(learning_rate=1e-2))
    return difflr.optimizers.Muon(1e-2, exclude_layers=["head"], adam_lr_ratio=0.3, multipliers=plan)


def two_optimizers(model: keras.Model) -> keras.optimizers.Optimizer:
    """Keras's MultiOptimizer with an optimizer of difflr for each part, both with the same plan."""
    plan = difflr.Plan(model, RULES)
    muon = difflr.optimizers.Muon(1e-2, multipliers=plan)
    adamw = difflr.optimizers.AdamW(3e-3, multipliers=plan)
    chosen = {id(variable) for variable in matrices(model)}
    return keras.optimizers.MultiOptimizer(lambda variable: muon if id(variable) in chosen else adamw)


def main(epochs: int = 6) -> dict[str, float]:
    """Trains the same network both ways on a made-up task, and prints the accuracy of each."""
    x = np.random.default_rng(0).integers(20, size=(800, 6))
    y = x[:, :2].sum(1) // 8
    found = {}
    for make in (one_muon, two_optimizers) if hasattr(keras.optimizers, "MultiOptimizer") else (one_muon,):
        keras.utils.set_random_seed(0)
        model = network()
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(make(model), loss=loss, metrics=["accuracy"])
        model.fit(x[:600], y[:600], epochs=epochs, verbose=0)
        found[make.__name__] = model.evaluate(x[600:], y[600:], verbose=0)[1]
        print(f"{make.__name__}: {found[make.__name__]:.2f} of the answers are right")
    return found


if __name__ == "__main__":
    main()

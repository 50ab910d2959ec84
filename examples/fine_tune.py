"""Fine-tuning in one call, on stripes: a small network that knows how they lie learns to tell wide from narrow ones.

The network is trained on clean stripes at eight angles. Then it gets a new head and 60 noisy images of three widths.
`difflr.fine_tune` trains the head for an epoch, then everything, lower layers more slowly.

    python examples/fine_tune.py
"""

import keras
import numpy as np

import difflr

SIZE = 16


def stripes(angles, widths, noise, seed):
    """Images of stripes: one for each angle (in radians) and width (in pixels). Shape (count, 16, 16, 1)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIZE, :SIZE]
    along = np.cos(angles)[:, None, None] * x + np.sin(angles)[:, None, None] * y
    phase = rng.uniform(0, 2 * np.pi, (len(angles), 1, 1))
    images = np.sin(along * np.pi / widths[:, None, None] + phase) + rng.normal(scale=noise, size=along.shape)
    return images[..., None].astype("float32")


def knows_angles(epochs: int = 3) -> keras.Model:
    """The pretrained body."""
    labels = np.arange(800) % 8
    images = stripes(labels * np.pi / 8, np.full(800, 3.0), noise=0.1, seed=0)
    inputs = x = keras.Input((SIZE, SIZE, 1))
    for number, filters in enumerate((16, 32), 1):
        x = keras.layers.Conv2D(filters, 3, strides=2, activation="relu", name=f"conv{number}")(x)
    features = keras.layers.Dense(32, activation="relu", name="features")(keras.layers.Flatten()(x))
    model = keras.Model(inputs, keras.layers.Dense(8)(features))
    model.compile("adam", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(images, labels, epochs=epochs, verbose=0)
    return keras.Model(inputs, features, name="body")


def widths(count: int, seed: int):
    """The new task: images of noisy stripes at any angle, and which of three widths they have."""
    labels = np.arange(count) % 3
    angles = np.random.default_rng(seed).uniform(0, np.pi, count)
    return stripes(angles, np.array([2.0, 3.0, 4.5])[labels], noise=0.5, seed=seed), labels


def main(epochs: int = 10) -> keras.callbacks.History:
    """Fine-tunes, and prints who trains at which rate and what comes of it."""
    keras.utils.set_random_seed(0)
    body = knows_angles()
    model = keras.Sequential([body, keras.layers.Dense(3, name="head")])

    print(difflr.discriminative(model, 0.1).table(learning_rate=5e-3))  # what fine_tune does, seen beforehand
    history = difflr.fine_tune(
        model,
        *widths(60, seed=1),
        validation_data=widths(300, seed=2),
        epochs=epochs,
        learning_rate=1e-2,
        batch_size=10,
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        verbose=0,
    )
    accuracies = history.history["val_accuracy"]
    print(f"Validation accuracy: {accuracies[0]:.2f} with the head alone, {accuracies[-1]:.2f} at the end.")
    return history


if __name__ == "__main__":
    main()

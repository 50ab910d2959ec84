"""Distribution shift: the same classes, seen by another camera. Which layers should learn?

A network learns the angle of stripes on clean images. Then the images turn dark, inverted and noisy, and 40 of them
have labels. Lee et al. ("Surgical Fine-Tuning Improves Adaptation to Distribution Shifts", 2023) train the first block
alone when the inputs change, and the last when the labels do. Here the 312 parameters of the first block do about as well
as all 8,912.

    python examples/shift.py
"""

import keras
import numpy as np

import difflr

SIZE, ANGLES = 16, 8


def stripes(count: int, seed: int, shifted: bool = False):
    """Images of stripes `(count, 16, 16, 1)` and the number of their angle."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % ANGLES
    angles = (labels * np.pi / ANGLES)[:, None, None]
    y, x = np.mgrid[:SIZE, :SIZE]
    along = np.cos(angles) * x + np.sin(angles) * y
    images = np.maximum(0, np.sin(along * 2 + rng.uniform(0, 6, (count, 1, 1)))) + rng.normal(
        scale=0.1, size=along.shape
    )
    if shifted:
        images = 0.4 - 0.4 * images + rng.normal(scale=0.3, size=along.shape)
    return images[..., None].astype("float32"), labels


def network() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((SIZE, SIZE, 1)),
            keras.layers.Conv2D(12, 5, activation="relu", name="block1"),
            keras.layers.Conv2D(24, 3, strides=2, activation="relu", name="block2"),
            keras.layers.Conv2D(24, 3, strides=2, activation="relu", name="block3"),
            keras.layers.Flatten(),
            keras.layers.Dense(ANGLES, name="head"),
        ]
    )


def main(epochs: int = 10) -> dict[str, float]:
    """Adapts the network in three ways, and prints the accuracy of each on 400 shifted images."""
    keras.utils.set_random_seed(0)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model = network()
    model.compile(keras.optimizers.Adam(3e-3), loss=loss, metrics=["accuracy"])
    model.fit(*stripes(800, seed=0), epochs=5, verbose=0)
    pretrained, test = model.get_weights(), stripes(400, seed=2, shifted=True)
    found = {"before": model.evaluate(*test, verbose=0)[1]}

    plans = {
        "first block": difflr.surgical(model, "block1"),
        "head": difflr.surgical(model, "head"),
        "everything": difflr.Plan(model),
    }
    print(plans["first block"])
    for name, plan in plans.items():
        model.set_weights(pretrained)
        model.trainable = True  # what the plan before froze
        model.compile(difflr.optimizers.Adam(3e-3, multipliers=plan), loss=loss, metrics=["accuracy"])
        model.fit(*stripes(40, seed=1, shifted=True), batch_size=16, epochs=epochs, verbose=0)
        found[name] = model.evaluate(*test, verbose=0)[1]
    for name, accuracy in found.items():
        print(f"{name:12} {accuracy:.2f}")
    return found


if __name__ == "__main__":
    main()

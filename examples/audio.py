"""Sounds: a convolutional network on spectrograms that knows pitch learns to tell instruments apart.

The sounds are made up: notes of eight pitches, with overtones. First the network learns the pitch. Then it gets a new head
and 60 notes, and learns which overtones they have. The spectrogram is a layer of the model. Keras would
train it, as a plan's table shows; here it is frozen.

    python examples/audio.py
"""

import keras
import numpy as np

import difflr

RATE, SAMPLES = 4000, 1024  # Hz; a quarter of a second
OVERTONES = {"flute": (1, 0.1, 0), "clarinet": (1, 0, 0.6), "violin": (1, 0.7, 0.5)}


def notes(count: int, seed: int):
    """Noisy notes, their pitches (0 to 7) and their instruments (0 to 2)."""
    rng = np.random.default_rng(seed)
    pitches, instruments = rng.integers(8, size=count), rng.integers(len(OVERTONES), size=count)
    hertz = 220 * 2 ** (pitches / 8 + rng.normal(scale=0.01, size=count))
    strength = np.array(list(OVERTONES.values()))[instruments] * rng.uniform(0.6, 1.4, (count, 3))
    time = np.arange(SAMPLES) / RATE
    harmonics = np.arange(1, 4)[None, :, None] * hertz[:, None, None] * time
    sounds = (strength[:, :, None] * np.sin(2 * np.pi * harmonics + rng.uniform(0, 6, (count, 1, 1)))).sum(1)
    noisy = sounds + rng.normal(scale=0.2, size=sounds.shape)
    return noisy[..., None].astype("float32"), pitches, instruments


def network() -> keras.Model:
    """Sounds in, 32 features out."""
    inputs = keras.Input((SAMPLES, 1))
    spectrogram = keras.layers.STFTSpectrogram(frame_length=256, frame_step=128, expand_dims=True, name="spectrogram")
    spectrogram.trainable = False  # Keras would train it
    x = spectrogram(inputs)
    for number, filters in enumerate((8, 16), start=1):
        x = keras.layers.Conv2D(filters, 3, strides=(1, 2), padding="same", name=f"conv{number}")(x)
        x = keras.layers.Activation("relu")(keras.layers.BatchNormalization(name=f"norm{number}")(x))
    features = keras.layers.Dense(32, activation="relu", name="features")(keras.layers.Flatten()(x))
    return keras.Model(inputs, features, name="body")


def main(epochs: int = 6) -> keras.callbacks.History:
    """Fine-tunes, and prints the plan and the accuracy on 100 other notes."""
    keras.utils.set_random_seed(0)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    body = network()
    sounds, pitches, _ = notes(400, seed=0)
    pretrained = keras.Sequential([body, keras.layers.Dense(8)])
    pretrained.compile(keras.optimizers.Adam(3e-3), loss=loss)
    pretrained.fit(sounds, pitches, epochs=3, verbose=0)

    model = keras.Sequential([body, keras.layers.Dense(len(OVERTONES), name="head")])
    rules = {"kind:norm": difflr.FROZEN}  # on few examples: keep the statistics of the pretraining
    plan = difflr.discriminative(model, 0.1) * difflr.Plan(model, rules)
    print(plan.table(learning_rate=5e-3))
    (few, _, instruments), (many, _, truth) = notes(60, seed=1), notes(100, seed=2)
    history = difflr.fine_tune(
        model,
        few,
        instruments,
        validation_data=(many, truth),
        epochs=epochs,
        plan=plan,
        learning_rate=1e-2,
        batch_size=10,
        loss=loss,
        metrics=["accuracy"],
        verbose=0,
    )
    accuracies = history.history["val_accuracy"]
    print(f"Accuracy on 100 notes: {accuracies[0]:.2f} with the head alone, {accuracies[-1]:.2f} at the end")
    return history


if __name__ == "__main__":
    main()

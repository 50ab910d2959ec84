"""Fine-tuning in several processes, or on several machines, with TensorFlow. One process then goes on.

python examples/distribution/launch.py 2 examples/distribution/tensorflow_workers.py
"""

import json
import os

os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy as np
import tensorflow as tf

import difflr

X = np.random.default_rng(0).normal(size=(256, 16)).astype("float32")
Y = X[:, :4].argmax(axis=1)


@keras.saving.register_keras_serializable(package="example")
class OfWorkers(keras.Model):
    """A model whose `fit` runs under MultiWorkerMirroredStrategy, for which Keras 3.15 has two gaps (keras #20585)."""

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        # Keras would average the first batch over the workers, to learn its shape, and fails.
        if iterator is not None and self._distribute_strategy is not None:
            local = self._distribute_strategy.experimental_local_results
            batch = next(next(batches for _, _, batches in iterator))
            data_batch, iterator = keras.tree.map_structure(lambda values: local(values)[0], batch), None
        super()._maybe_symbolic_build(iterator, data_batch)

    def train_step(self, data):
        """Keras's step; its numbers get the axis over which Keras averages them."""
        return with_axis(super().train_step(data))

    def test_step(self, data):
        """The same for `evaluate`."""
        return with_axis(super().test_step(data))


def with_axis(logs):
    several = tf.distribute.get_strategy().num_replicas_in_sync > 1
    return {name: tf.reshape(value, (1,)) for name, value in logs.items()} if several else logs


def compiled():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((16,))
    x = keras.layers.Dense(32, name="stem")(inputs)
    for number in (1, 2):
        x = keras.layers.Dense(32, activation="relu", name=f"block{number}")(x)
    model = OfWorkers(inputs, keras.layers.Dense(4, name="head")(x))
    plan = difflr.Plan(model, {"stem": difflr.FROZEN, "block?": 0.1, "kind:bias": {"weight_decay_multiplier": 0.0}})
    optimizer = difflr.optimizers.AdamW(1e-2, weight_decay=0.05, global_clipnorm=1.0, multipliers=plan)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss=loss, jit_compile=False)
    return model


def fit(model, first, last):
    phases = [difflr.Phase("head", epochs=1), difflr.Phase("*", warmup_steps=4)]
    callbacks = [difflr.PhaseScheduler(phases)]
    settings = {"batch_size": 64, "shuffle": False, "verbose": 0, "callbacks": callbacks}
    model.fit(X, Y, initial_epoch=first, epochs=last, **settings)
    return model


def main():
    strategy = tf.distribute.MultiWorkerMirroredStrategy()  # first of all: it reads TF_CONFIG and meets the others
    rank = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
    with strategy.scope():
        model = compiled()
    fit(model, 0, 2)  # 64 examples a step: 32 for each of two workers
    model.save(f"model_{rank}.keras")  # every worker saves, each a file of its own
    if rank == 0:
        with tf.distribute.OneDeviceStrategy("CPU:0").scope():
            compare(keras.saving.load_model("model_0.keras"))


def compare(model):
    """One worker goes on, and another one does it all."""
    moved = fit(model, 2, 4).evaluate(X, Y, verbose=0)
    alone = fit(compiled(), 0, 4).evaluate(X, Y, verbose=0)
    print(f"one worker all the way: loss {alone:.6f}")
    print(f"several workers, then one: loss {moved:.6f}")


if __name__ == "__main__":
    main()

"""Fine-tuning in several processes with PyTorch: `fit` with DistributedDataParallel inside. One process then goes on.

torchrun --nproc-per-node 2 examples/distribution/torch_processes.py
"""

import os

os.environ["KERAS_BACKEND"] = "torch"

import keras
import numpy as np
import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

import difflr

X = np.random.default_rng(0).normal(size=(256, 16)).astype("float32")
Y = X[:, :4].argmax(axis=1)
BATCH = 64  # of all processes together


@keras.saving.register_keras_serializable(package="example")
class Parallel(keras.Model):
    """A model whose gradients are averaged over all processes, where there are several."""

    def make_train_function(self, force=False):
        """Prepares a training step, and the exchange of those gradients that it has."""
        if force or self.train_function is None:
            together = DistributedDataParallel(self) if distributed.is_initialized() else self
            self._together = together.__call__  # its method only: Keras would take a module for a layer
        super().make_train_function(force)

    def train_step(self, data):
        """Keras's step, but the model is called through `DistributedDataParallel`."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        y_pred = self._together(x, training=True)
        self.zero_grad()
        loss = self.compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight)
        self.optimizer.scale_loss(loss).backward()  # here the processes meet
        weights = self.trainable_weights
        with torch.no_grad():
            self.optimizer.apply([weight.value.grad for weight in weights], weights)
        return self.compute_metrics(x, y, y_pred, sample_weight) | {"loss": loss.detach()}


def compiled():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((16,))
    x = keras.layers.Dense(32, name="stem")(inputs)
    for number in (1, 2):
        x = keras.layers.Dense(32, activation="relu", name=f"block{number}")(x)
    model = Parallel(inputs, keras.layers.Dense(4, name="head")(x))
    plan = difflr.Plan(model, {"stem": difflr.FROZEN, "block?": 0.1, "kind:bias": {"weight_decay_multiplier": 0.0}})
    optimizer = difflr.optimizers.AdamW(1e-2, weight_decay=0.05, global_clipnorm=1.0, multipliers=plan)
    model.compile(optimizer, loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def fit(model, first, last, x=X, y=Y, batch_size=BATCH):
    phases = [difflr.Phase("head", epochs=1), difflr.Phase("*", warmup_steps=4)]
    callbacks = [difflr.PhaseScheduler(phases)]
    settings = {"batch_size": batch_size, "shuffle": False, "verbose": 0, "callbacks": callbacks}
    model.fit(x, y, initial_epoch=first, epochs=last, **settings)
    return model


def share(array):
    """The examples of this process: its part of every batch."""
    rank, number = distributed.get_rank(), distributed.get_world_size()
    return array.reshape(-1, number, BATCH // number, *array.shape[1:])[:, rank].reshape(-1, *array.shape[1:])


def fit_together(model, first, last):
    fit(model, first, last, share(X), share(Y), BATCH // distributed.get_world_size())


def own_loop(model, first, last):
    """The same without `fit`."""
    exchange = DistributedDataParallel(model)
    inputs, targets = share(X), share(Y)
    size = BATCH // distributed.get_world_size()
    for _ in range(first, last):
        for start in range(0, len(inputs), size):
            batch = slice(start, start + size)
            model.zero_grad()
            loss = model.loss(torch.as_tensor(targets[batch]), exchange(torch.as_tensor(inputs[batch]), training=True))
            loss.backward()
            weights = model.trainable_weights
            with torch.no_grad():
                model.optimizer.apply([weight.value.grad for weight in weights], weights)


def main():
    distributed.init_process_group("gloo")  # "nccl" with GPUs
    first = distributed.get_rank() == 0
    model = compiled()
    fit_together(model, 0, 2)
    distributed.destroy_process_group()
    if first:
        model.save("model.keras")
        compare(keras.saving.load_model("model.keras"))


def compare(model):
    """One process goes on, and another one does it all."""
    moved = fit(model, 2, 4).evaluate(X, Y, verbose=0)
    alone = fit(compiled(), 0, 4).evaluate(X, Y, verbose=0)
    print(f"one process all the way: loss {alone:.6f}")
    print(f"several processes, then one: loss {moved:.6f}")


if __name__ == "__main__":
    main()

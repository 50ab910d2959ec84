"""What `GroupLogger` costs: `KERAS_BACKEND=... python -m benchmarks.logging_cost` prints one line of JSON.

One `fit`, in which the logger rests in every other epoch: neighboring epochs are compared, and who begins changes from
pair to pair. Processor time, as other things may run on the machine; `--wall` takes the clock on the wall, on a quiet one.
The compilation of the measured step falls into the first pair, which is told apart.
"""

import argparse
import json
import statistics
import time

import keras

import difflr
from benchmarks import measure, models


class InTurn(difflr.GroupLogger):
    """Rests in the epochs that are not `measured`."""

    def __init__(self, clock, freq="epoch"):
        super().__init__(freq)
        self.clock = clock
        self.times = []
        self.start = None
        if freq != "epoch":
            self.on_train_batch_end = lambda batch, logs=None: self.measured and self._after_batch(batch, logs)

    def on_epoch_begin(self, epoch, logs=None):
        self.measured = epoch % 4 in (1, 2)  # without, with, with, without
        self.start = self.clock()
        if self.measured:
            super().on_epoch_begin(epoch, logs)

    def on_train_batch_begin(self, batch, logs=None):
        if self.measured:
            super().on_train_batch_begin(batch, logs)

    def on_epoch_end(self, epoch, logs=None):
        if self.measured:
            super().on_epoch_end(epoch, logs)
        self.times.append(self.clock() - self.start)


def measured(network, steps, pairs, freq, clock):
    """The cost of the logger: per pair of epochs the ratio of their times."""
    model = models.NETWORKS[network]()
    plan = every_five(model)
    model.compile(difflr.optimizers.AdamW(1e-4, multipliers=plan), loss=loss())
    x, y = models.data_for(model, 16 * steps)
    logger = InTurn(clock, freq)
    # The first four epochs compile: both steps, and whatever the backend makes on the way.
    model.fit(x, y, batch_size=16, epochs=4 + 2 * pairs, verbose=0, shuffle=False, callbacks=[logger])
    first, times = logger.times[:4], logger.times[4:]
    without, with_logger = [], []
    for number, (one, other) in enumerate(zip(times[::2], times[1::2], strict=True)):
        early, late = (one, other) if number % 2 == 0 else (other, one)
        without.append(early)
        with_logger.append(late)
    found = measure.compared(without, with_logger)
    return {
        "backend": keras.backend.backend(),
        "network": network,
        "groups": len(plan.groups),
        "steps_per_epoch": steps,
        "freq": freq,
        "clock": clock.__name__,
        "compile_seconds": first[1] - statistics.median(times),
        "extra_steps": (found["ratio"]["median"] - 1) * steps,  # what a measured epoch costs, in steps
        **found,
    }


def every_five(model):
    """A group for every five variables."""
    variables = model.trainable_variables
    return difflr.Plan(model, [(variable, 0.5 ** (number // 5)) for number, variable in enumerate(variables)])


def loss():
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--network", default="small transformer", choices=list(models.NETWORKS))
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--pairs", type=int, default=6)
    parser.add_argument("--freq", default="epoch")
    parser.add_argument("--wall", action="store_true")
    given = parser.parse_args()
    freq = given.freq if given.freq == "epoch" else int(given.freq)
    clock = time.perf_counter if given.wall else time.process_time
    print(json.dumps(measured(given.network, given.steps, given.pairs, freq, clock)))


if __name__ == "__main__":
    main()

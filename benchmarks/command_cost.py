"""What `difflr fine-tune` adds: `KERAS_BACKEND=... python -m benchmarks.command_cost` prints one line of JSON.

Seconds from the call to the first epoch on 1,000 JPEGs, Python's start included; and how much longer an epoch takes than one
whose batches are ready: epochs with and without the loader take turns in one run of the command. Processor time, of all
threads, and the clock on the wall, which needs a quiet machine.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks import measure

CLOCKS = {"processor": time.process_time, "wall": time.perf_counter}


def write_images(folder, number):
    """JPEGs of 224 x 224 in two classes, smooth as photographs are."""
    from PIL import Image

    random = np.random.default_rng(0)
    for index in range(number):
        file = folder / "ab"[index % 2] / f"{index}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        small = random.integers(0, 255, (14, 14, 3)).astype("uint8")
        Image.fromarray(small).resize((224, 224), Image.Resampling.BICUBIC).save(file, quality=90)


def words(folder, size, epochs):
    """The command line."""
    options = ["--size", size, "--epochs", epochs, "--freeze-epochs", 0, "--patience", 0, "--validation-split", 0]
    return ["difflr", "fine-tune", "squeezenet", str(folder), *map(str, options), "-o", f"{folder}.keras"]


def until_first_epoch(folder, size):
    """Seconds from the call of the command, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.command_cost", "--until-first-epoch", str(folder), "--size", str(size)]
    start = time.perf_counter()
    printed = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout
    return {"wall": time.perf_counter() - start, "processor": float(printed.splitlines()[-1])}


def stop_at_first_epoch(folder, size):
    """Runs the command, and prints the processor time when the first epoch begins."""
    from difflr_command import main, progress

    def stop(self, epoch, logs=None):
        print(f"\n{time.process_time()}", flush=True)
        os._exit(0)

    progress.ShowProgress.on_epoch_begin = stop
    sys.argv = words(folder, size, 3)
    main()


def epochs_in_turn(folder, size, pairs):
    """Clock -> the epochs with ready batches, and those with the loader."""
    from difflr.data import Batches
    from difflr_command import main, progress

    begin, end, get = progress.ShowProgress.on_epoch_begin, progress.ShowProgress.on_epoch_end, Batches.__getitem__
    is_ready, ready, starts, times = False, {}, {}, {name: [] for name in CLOCKS}

    def on_epoch_begin(self, epoch, logs=None):
        nonlocal is_ready
        begin(self, epoch, logs)
        is_ready = epoch % 4 in (1, 2)  # loader, ready, ready, loader
        starts.update({name: clock() for name, clock in CLOCKS.items()})

    def on_epoch_end(self, epoch, logs=None):
        for name, clock in CLOCKS.items():
            times[name].append(clock() - starts[name])
        end(self, epoch, logs)

    def batch(self, index):
        if not is_ready:
            ready[index] = get(self, index)
        return ready[index]

    progress.ShowProgress.on_epoch_begin, progress.ShowProgress.on_epoch_end = on_epoch_begin, on_epoch_end
    Batches.__getitem__ = batch
    sys.argv = words(folder, size, 4 + 2 * pairs)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            main()
    except SystemExit as left:
        if left.code:
            raise
    found = {}
    for name, seconds in times.items():
        rest, loader = [], []
        for number, one in enumerate(seconds[4:]):  # the first four compile
            (rest if number % 4 in (1, 2) else loader).append(one)
        found[name] = measure.compared(rest, loader)
    return found


def main():
    """Prints both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--in-an-epoch", type=int, default=256)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--pairs", type=int, default=6)
    parser.add_argument("--until-first-epoch", type=Path)
    asked = parser.parse_args()
    if asked.until_first_epoch:
        stop_at_first_epoch(asked.until_first_epoch, asked.size)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_images(folder / "many", asked.images)
        write_images(folder / "few", asked.in_an_epoch)
        first = until_first_epoch(folder / "many", asked.size)
        epochs = epochs_in_turn(folder / "few", asked.size, asked.pairs)
    print(json.dumps({"until_first_epoch": first, "epoch": epochs}))


if __name__ == "__main__":
    main()

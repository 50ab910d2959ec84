"""`make faults`: kills a training at random moments, takes it up again, and compares with the one that nobody killed.

python -m faults.kill [--kills 100] [--backup NAME] [--seed 0]

A child trains in phases, with a backup, and says on a pipe what it begins: a step, a save, a change of phase. The parent
picks one of these at random, waits for a random part of its length, and sends SIGKILL; then it starts another child with
the same backup, until one ends. Children are forked from a process that has imported Keras and used nothing of it.
"""

import argparse
import collections
import contextlib
import itertools
import json
import os
import random
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

import keras
import numpy as np

import difflr
from phases import phases_interrupted as interrupted

AIMS = {"fit": b"f", "save": b"s", "phase change": b"p"}
ENDS = {"save": b"S", "phase change": b"P"}
LONGEST = 300  # seconds for one child


class Marks(keras.callbacks.Callback):
    """Says on a pipe what begins and ends."""

    def __init__(self, pipe):
        super().__init__()
        self.pipe = pipe

    def around(self, thing, method, begin, end):
        function = getattr(thing, method)

        def marked(*arguments):
            os.write(self.pipe, begin)
            function(*arguments)
            os.write(self.pipe, end)

        setattr(thing, method, marked)

    def on_train_batch_begin(self, batch, logs=None):
        os.write(self.pipe, b"f")


def backups():
    keras_own = keras.callbacks.BackupAndRestore
    return {
        "difflr": lambda folder: difflr.BackupAndRestore(folder),
        "keras": lambda folder: keras_own(folder),
        "keras, two copies": lambda folder: keras_own(folder, double_checkpoint=True),
        "keras, every 2 batches": lambda folder: keras_own(folder, save_freq=2),
    }


def train(folder, pipe, backup):
    """What a child does: trains to the end, and writes down every number that came of it."""
    model = interrupted.new_model("with_statistics")
    phases = interrupted.phases_of("epochs", "with_statistics")
    scheduler = difflr.PhaseScheduler(phases)
    saver = backups()[backup](str(folder / "backup"))
    marks = Marks(pipe)
    marks.around(scheduler, "_enter", b"p", b"P")
    marks.around(saver, "on_epoch_end" if backup == "difflr" else "_save_model", b"s", b"S")
    arguments = {"epochs": interrupted.EPOCHS, "batch_size": interrupted.BATCH, "shuffle": False, "verbose": 0}
    model.fit(interrupted.X, interrupted.Y, callbacks=[marks, scheduler, saver], **arguments)
    np.savez(folder / "unfinished.npz", *interrupted.state(model))
    os.replace(folder / "unfinished.npz", folder / "state.npz")


def child(folder, pipe, backup):
    """Runs `train`, writes down what was said to the user, and leaves."""
    status = 3
    said = []
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            train(folder, pipe, backup)
        said = [str(each.message) for each in caught if issubclass(each.category, UserWarning)]
        status = 0
    except BaseException as error:
        said = [f"{type(error).__name__}: {error}"]
        (folder / "traceback.txt").write_text(traceback.format_exc())
    finally:
        with (folder / "said.txt").open("a") as file:
            file.write("".join(json.dumps(text) + "\n" for text in said))
        os._exit(status)


def start(folder, backup):
    """A child, and the end of the pipe on which it says what it does."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        child(folder, write, backup)
    os.close(write)
    return pid, read


def watch(pid, read, wanted, number, delay):
    """Reads what the child says, and kills it `delay` seconds after it has said `wanted` for the `number`th time.

    Returns:
        Its exit status (minus the signal), and what it said with the time of each.
    """
    said, kill_at, deadline = [], None, time.monotonic() + LONGEST
    while True:
        until = kill_at or deadline
        ready, _, _ = select.select([read], [], [], max(until - time.monotonic(), 0))
        if not ready:
            os.kill(pid, signal.SIGKILL)
            if kill_at is None:
                said.append((b"?", time.monotonic()))
            kill_at = deadline = time.monotonic() + 60
            continue
        data = os.read(read, 1)
        if not data:
            break
        said.append((data, time.monotonic()))
        if data == wanted:
            number -= 1
            if number == 0 and kill_at is None:
                kill_at = time.monotonic() + delay
    os.close(read)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), said


def doing(said):
    """In the middle of what a child was when it said nothing more."""
    for mark, _ in reversed(said):
        for what in ("save", "phase change"):
            if mark == AIMS[what]:
                return what
        if mark in (b"f", *ENDS.values()):
            return "fit"
    return "start"


def lengths(said):
    """How long each thing takes, the longest of each; and how often it comes."""
    times = collections.defaultdict(list)
    for (mark, begin), (_, end) in itertools.pairwise(said):
        times[mark].append(end - begin)
    return {aim: (max(times[mark]), len(times[mark])) for aim, mark in AIMS.items() if times[mark]}


def unbroken(backup):
    folder = Path(tempfile.mkdtemp())
    try:
        status, said = watch(*start(folder, backup), None, 0, 0)
        if status:
            raise RuntimeError((folder / "traceback.txt").read_text())
        return said, dict(np.load(folder / "state.npz"))
    finally:
        shutil.rmtree(folder)


def killed_and_taken_up(backup, numbers, takes, expected, most_kills):
    """One run with kills: how many hit what, how it ended, and what was said."""
    folder, hits = Path(tempfile.mkdtemp()), collections.Counter()
    try:
        while True:
            aim = numbers.choice(sorted(takes))
            longest, often = takes[aim]
            kills = sum(hits.values()) < most_kills
            wanted = AIMS[aim] if kills else None
            delay = numbers.uniform(0, 1.1 * longest)
            status, said = watch(*start(folder, backup), wanted, numbers.randint(1, often), delay)
            if status == -signal.SIGKILL:
                if (b"?", said[-1][1]) in said:
                    return hits, "hung", ""
                hits[doing(said)] += 1
                continue
            text = (folder / "said.txt").read_text()
            if status:
                return hits, "refused to go on", text
            same = equal(dict(np.load(folder / "state.npz")), expected)
            return hits, "equal" if same else ("different, and said so" if text else "DIFFERENT IN SILENCE"), text
    finally:
        shutil.rmtree(folder)


def equal(mine, theirs):
    return mine.keys() == theirs.keys() and all(np.array_equal(mine[name], theirs[name]) for name in mine)


def experiment(backup, kills, seed, verbose=True):
    """Runs until so many children were killed.

    Returns:
        How many were killed in the middle of what, how the runs ended, and examples of what was said.
    """
    quick_children()
    numbers = random.Random(seed)
    said, expected = unbroken(backup)
    takes = lengths(said)
    hits, ends, words = collections.Counter(), collections.Counter(), {}
    while sum(hits.values()) < kills:
        left = kills - sum(hits.values())
        mine, end, text = killed_and_taken_up(backup, numbers, takes, expected, min(left, numbers.randint(1, 4)))
        hits += mine
        ends[end] += 1
        if end != "equal":
            words.setdefault(end, collections.Counter())[text.strip().split("\n")[0][:300]] += 1
        if verbose:
            print(f"{sum(hits.values())} kills: {dict(hits)}; runs: {dict(ends)}", flush=True)
    return hits, ends, words


def quick_children():
    """Once for all children: imports, and on JAX what is compiled."""
    with contextlib.suppress(ImportError):
        import tensorflow  # noqa: F401 - Keras looks for it wherever it trains
    if keras.backend.backend() == "jax":
        import jax

        jax.config.update("jax_compilation_cache_dir", tempfile.mkdtemp())
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--backup", choices=list(backups()), default=next(iter(backups())))
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    hits, ends, words = experiment(arguments.backup, arguments.kills, arguments.seed)
    print(f"\n{keras.backend.backend()}, {arguments.backup}: {sum(hits.values())} kills, {dict(hits)}")
    for end, number in ends.items():
        print(f"  {number:3} runs: {end}")
        for text, count in words.get(end, {}).items():
            print(f"      {count} times: {text}")
    sys.exit("DIFFERENT IN SILENCE" in ends or "hung" in ends)


if __name__ == "__main__":
    main()

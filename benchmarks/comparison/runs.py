"""Runs the comparison; every run is a line of JSON, so that it can be interrupted and resumed.

For each pair and method the base rate is chosen by the mean accuracy on the validation data over the search's seeds. The
search begins with three rates, and goes on as long as the best is the lowest or the highest tried. Then the method is
trained with the chosen rate and five fresh seeds, and only these runs are ever tested.
"""

import json
import time
from pathlib import Path

import keras
import numpy as np

from benchmarks.comparison.methods import LADDER, METHODS, Method, Task
from benchmarks.comparison.pairs import PAIRS, Data, Pair

SEARCH_SEEDS = (101, 102)
SEEDS = (1, 2, 3, 4, 5)


class Results:
    """The lines of a file: what was run."""

    def __init__(self, file: Path):
        self.file = file
        self.lines = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def of(self, **wanted):
        return [line for line in self.lines if all(line.get(key) == value for key, value in wanted.items())]

    def add(self, line):
        self.lines.append(line)
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("a") as lines:
            lines.write(json.dumps(line) + "\n")

    def best_rate(self, pair, method):
        """The rate of the best mean validation accuracy so far, of equals the lowest; `None` before all seeds have run."""
        means = {}
        for line in self.of(pair=pair, method=method, stage="search"):
            means.setdefault(line["learning_rate"], []).append(line["validation"])
        return max(means, key=lambda rate: (np.mean(means[rate]), -rate)) if means else None

    def next_rates(self, pair, method):
        """The rates to try next: those to begin with, then the neighbour of the best while it is at the edge."""
        tried = {line["learning_rate"] for line in self.of(pair=pair, method=method, stage="search")}
        missing = [rate for rate in METHODS[method].learning_rates if rate not in tried]
        if missing or not tried:
            return missing
        place = LADDER.index(self.best_rate(pair, method))
        return [rate for rate in LADDER[max(place - 1, 0) : place + 2] if rate not in tried]


def run_all(results: Results, pairs, methods, on_run=print) -> None:
    """Runs what is not among the results yet."""
    for pair in pairs:
        for method in methods:
            if METHODS[method].pairs is None or pair in METHODS[method].pairs:
                run_method(results, pair, method, on_run)


def run_method(results: Results, pair: str, method: str, on_run=print) -> None:
    head_rate = None
    if METHODS[method].needs_head_rate:
        if results.next_rates(pair, "head only"):
            raise ValueError(f"'{method}' begins with the head alone: run the method 'head only' first.")
        head_rate = results.best_rate(pair, "head only")

    def run_once(stage, learning_rate, seed):
        key = {"pair": pair, "method": method, "stage": stage, "learning_rate": learning_rate, "seed": seed}
        if not results.of(**key):
            tested = stage == "test"
            line = {**key, **run(PAIRS[pair], METHODS[method], learning_rate, seed, head_rate, tested)}
            results.add(line)
            on_run(line)

    for learning_rate in sorted(
        {line["learning_rate"] for line in results.of(pair=pair, method=method, stage="search")}
    ):
        for seed in SEARCH_SEEDS:  # what was interrupted between two seeds
            run_once("search", learning_rate, seed)
    while rates := results.next_rates(pair, method):
        for learning_rate in rates:
            for seed in SEARCH_SEEDS:
                run_once("search", learning_rate, seed)
    for seed in SEEDS:
        run_once("test", results.best_rate(pair, method), seed)


def run(pair: Pair, method: Method, learning_rate, seed, head_rate=None, tested=False):
    """One training: the accuracies and what it took."""
    data: Data = pair.data(seed)
    keras.utils.set_random_seed(seed)
    task = Task(pair, data, pair.build(), learning_rate, head_rate)
    start, cpu = time.perf_counter(), time.process_time()
    method.train(task)
    seconds = {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu}
    found = {"validation": accuracy(task.model, data.validation)}
    if tested:
        found["test"] = accuracy(task.model, data.test)
    return {**found, **{name: round(value, 1) for name, value in seconds.items()}}


def accuracy(model, data) -> float:
    inputs, labels = data
    return float(np.mean(model.predict(inputs, batch_size=100, verbose=0).argmax(-1) == labels))

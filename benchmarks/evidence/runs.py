"""Runs the suite; every run is a line of JSON, so that it can be interrupted and resumed.

For each task and method the base rate is chosen by the accuracy on the validation data with the search's seed. The search
begins with three rates, and goes on as long as the best is the lowest or the highest tried. Then the method is trained
with the chosen rate and fresh seeds, and only these runs are ever tested.
"""

import json
import time
from pathlib import Path

import keras
import numpy as np

from benchmarks.evidence.methods import LADDER, METHODS, Job, Method
from benchmarks.evidence.tasks import TASKS, Data, Task

SEARCH_SEEDS = (101,)
SEEDS = (301, 302, 303, 304, 305)  # 1 to 3 and 201 to 203 had their turn with earlier constants of `fine_tune`


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

    def best_rate(self, task, method):
        """The rate of the best mean validation accuracy so far, of equals the lowest; `None` before all seeds have run."""
        means = {}
        for line in self.of(task=task, method=method, stage="search"):
            means.setdefault(line["learning_rate"], []).append(line["validation"])
        return max(means, key=lambda rate: (np.mean(means[rate]), -rate)) if means else None

    def next_rates(self, task, method):
        """The rates to try next: those to begin with, then the neighbor of the best while it is at the edge."""
        tried = {line["learning_rate"] for line in self.of(task=task, method=method, stage="search")}
        missing = [rate for rate in METHODS[method].learning_rates if rate not in tried]
        if missing or not tried:
            return missing
        place = LADDER.index(self.best_rate(task, method))
        return [rate for rate in LADDER[max(place - 1, 0) : place + 2] if rate not in tried]


def run_all(results: Results, tasks, methods, on_run=print) -> None:
    """Runs what is not among the results yet."""
    for task in tasks:
        for method in methods:
            if METHODS[method].tasks is None or task in METHODS[method].tasks:
                run_method(results, task, method, on_run)


def run_method(results: Results, task: str, method: str, on_run=print) -> None:
    head_rate = None
    if METHODS[method].needs_head_rate:
        if results.next_rates(task, "head only"):
            raise ValueError(f"'{method}' begins with the head alone: run the method 'head only' first.")
        head_rate = results.best_rate(task, "head only")

    def run_once(stage, learning_rate, seed):
        key = {"task": task, "method": method, "stage": stage, "learning_rate": learning_rate, "seed": seed}
        if not results.of(**key):
            tested = stage == "test"
            line = {**key, **run(TASKS[task], METHODS[method], learning_rate, seed, head_rate, tested)}
            results.add(line)
            on_run(line)

    for learning_rate in sorted(
        {line["learning_rate"] for line in results.of(task=task, method=method, stage="search")}
    ):
        for seed in SEARCH_SEEDS:  # what was interrupted between two seeds
            run_once("search", learning_rate, seed)
    while rates := results.next_rates(task, method):
        for learning_rate in rates:
            for seed in SEARCH_SEEDS:
                run_once("search", learning_rate, seed)
    for seed in SEEDS:
        run_once("test", results.best_rate(task, method), seed)


def run(task: Task, method: Method, learning_rate, seed, head_rate=None, tested=False):
    """One training: the accuracies and what it took."""
    data: Data = task.data(seed)
    task.build()  # trains the body and keeps it, the first time
    keras.utils.set_random_seed(seed)
    job = Job(task, data, task.build(), learning_rate, head_rate)
    start, cpu = time.perf_counter(), time.process_time()
    found = method.train(job) or {}
    seconds = {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu}
    found["validation"] = accuracy(job.model, data.validation)
    if tested:
        found["test"] = accuracy(job.model, data.test)
    return {**found, **{name: round(value, 1) for name, value in seconds.items()}}


def accuracy(model, data) -> float:
    inputs, labels = data
    return float(np.mean(model.predict(inputs, batch_size=100, verbose=0).argmax(-1) == labels))

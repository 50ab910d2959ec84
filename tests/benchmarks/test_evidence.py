"""The suite's bookkeeping: rates are chosen without the test, runs are resumed, intervals are Student's."""

import json
import re

import numpy as np
import pytest
from benchmarks.evidence import methods, report, runs
from benchmarks.evidence.tasks import Data, Task, drawn, split

pytestmark = pytest.mark.same_everywhere


@pytest.fixture
def results(tmp_path):
    return runs.Results(tmp_path / "measured" / "evidence.jsonl")


@pytest.fixture
def trained(monkeypatch):
    """Stands in for training: validation is best at the rate 3e-3, the test at another. What was run, in order."""
    done = []

    def run(task, method, learning_rate, seed, head_rate=None, tested=False):
        done.append((learning_rate, seed, head_rate, tested))
        chosen = (
            {"left_constants": seed == runs.SEEDS[0], "search_runs": 4.0} if method is methods.METHODS["choice"] else {}
        )
        validation = -abs(np.log10(learning_rate or 1) - np.log10(3e-3)) + seed * 1e-6
        found = {"validation": validation, "seconds": 1.0, "cpu_seconds": 5.0 if chosen else 1.0, **chosen}
        return {**found, "test": 0.5 + 0.01 * (seed - 300)} if tested else found

    monkeypatch.setattr(runs, "run", run)
    return done


def test_the_search_goes_on_until_the_best_rate_has_neighbors(results, trained):
    runs.run_method(results, "news, transformer", "one rate", on_run=lambda line: None)
    searched = sorted({rate for rate, _, _, tested in trained if not tested})
    assert searched == [3e-4, 1e-3, 3e-3, 1e-2]
    assert results.best_rate("news, transformer", "one rate") == 3e-3
    assert [seed for rate, seed, _, tested in trained if tested] == list(runs.SEEDS)
    assert {rate for rate, _, _, tested in trained if tested} == {3e-3}


def test_only_fresh_seeds_are_tested(results, trained):
    runs.run_method(results, "news, transformer", "one rate", on_run=lambda line: None)
    assert not set(runs.SEARCH_SEEDS) & set(runs.SEEDS)
    assert all("test" not in line for line in results.of(stage="search"))
    assert all("test" in line for line in results.of(stage="test"))


@pytest.mark.parametrize("until", [1, 3, 4, 6])
def test_an_interrupted_run_goes_on_where_it_was(results, trained, until):
    class Enough(Exception):
        pass

    def stop(line):
        if len(results.lines) == until:
            raise Enough

    with pytest.raises(Enough):
        runs.run_method(results, "news, transformer", "one rate", on_run=stop)
    runs.run_method(runs.Results(results.file), "news, transformer", "one rate", on_run=lambda line: None)
    resumed = [json.loads(line) for line in results.file.read_text().splitlines()]
    once = [(rate, seed, tested) for rate, seed, _, tested in trained]
    assert len(once) == len(set(once)) == len(resumed) == 4 + len(runs.SEEDS)


def test_a_method_that_begins_with_the_head_needs_its_rate(results, trained):
    with pytest.raises(ValueError, match="run the method 'head only' first"):
        runs.run_method(results, "news, transformer", "LP-FT", on_run=lambda line: None)
    runs.run_method(results, "news, transformer", "head only", on_run=lambda line: None)
    trained.clear()
    runs.run_method(results, "news, transformer", "LP-FT", on_run=lambda line: None)
    assert {head_rate for _, _, head_rate, _ in trained} == {3e-3}


def test_a_method_without_a_grid_is_only_tested(results, trained):
    runs.run_method(results, "news, transformer", "fine_tune", on_run=lambda line: None)
    assert [(rate, tested) for rate, _, _, tested in trained] == [(None, True)] * len(runs.SEEDS)


def test_intervals_are_students():
    """The first five sepal lengths of Iris: mean 4.86, standard deviation 0.2074, so 2.776 * 0.2074 / sqrt(5)."""
    assert report.half_width([5.1, 4.9, 4.7, 4.6, 5.0]) == pytest.approx(0.2575, abs=1e-3)
    stats = pytest.importorskip("scipy.stats")
    for freedom, value in enumerate(report.STUDENT, start=1):
        assert value == pytest.approx(stats.t.ppf(0.975, freedom), abs=1e-3)


def test_the_page_says_who_is_better_and_where_it_loses(results, trained, tmp_path):
    pytest.importorskip("matplotlib")
    for task in ("emoji", "label shift"):
        for method in ("one rate", "head only", "fine_tune", "choice"):
            runs.run_method(results, task, method, on_run=lambda line: None)
    for line in results.of(method="fine_tune"):
        line["test"] += 0.1 if line["task"] == "emoji" else -0.07
    page = report.write(results, tmp_path).read_text()
    assert "{{" not in page
    assert "- **label shift**: 7.0 ± 0.0 points below one rate." in page
    assert "| fine_tune | `difflr.fine_tune` with its defaults | -1.5 | 7.0 (label shift) |  |" in page
    assert "| one rate | everything at one rate | 0.0 | 0.0 (label shift) | +1.5 ± 108.0 |" in page
    assert 'Not measured on "input shift", "both shifts, BatchNorm", ' in page
    assert re.search(r"Not measured: [^.]*; LP-FT; ", page)
    assert (tmp_path / "images" / "comparison.png").exists()


def test_nothing_measured_is_an_error(results, tmp_path):
    with pytest.raises(ValueError, match="No task has run"):
        report.write(results, tmp_path)


def test_draws_do_not_overlap_and_are_equally_many_of_each_class():
    labels = np.arange(100) % 10
    first = drawn(labels, 0, 3)
    second = drawn(labels, 1, 3, without=first)
    assert not set(first) & set(second)
    assert np.bincount(labels[second]).tolist() == [3] * 10


def test_no_example_is_in_two_parts():
    labels = np.arange(100) % 5
    inputs = np.arange(100)
    first, second = (split(lambda: (inputs, labels), 4, 5, 6)(seed) for seed in (1, 2))
    for data in (first, second):
        parts = [set(part[0]) for part in (data.train, data.validation, data.test)]
        assert [len(part) for part in parts] == [20, 25, 30]
        assert len(set.union(*parts)) == 75
    assert set(first.test[0]) == set(second.test[0])
    assert set(first.train[0]) != set(second.train[0])


def only_on_torch(name):
    import keras

    if name in ("L-DoG", "Auto-RGN") and keras.backend.backend() != "torch":
        pytest.skip("written with torch")


@pytest.mark.parametrize("name", methods.METHODS)
def test_every_method_trains_what_it_should(name):
    import keras
    from keras import layers

    only_on_torch(name)

    def build():
        model_layers = [layers.Dense(4, activation="tanh", name=name) for name in ("low", "middle", "high")]
        if methods.METHODS[name].tasks:
            model_layers.insert(1, layers.BatchNormalization(name="norm"))
        return keras.Sequential([keras.Input((4,)), *model_layers, layers.Dense(3, name="head")])

    rng = np.random.default_rng(0)
    part = (rng.normal(size=(16, 4)).astype("float32"), np.arange(16) % 3)
    data = Data(part, part, part)
    task = Task("small", build, lambda seed: data, (("low",), ("middle",), ("high",)), epochs=4, batch_size=8)
    keras.utils.set_random_seed(0)
    model = build()
    for number, layer in enumerate(layer for layer in model.layers if hasattr(layer, "bias")):  # no body is fresh
        layer.bias.assign(np.full(layer.bias.shape, 0.01 * (number + 1)))
    before = {layer.name: layer.get_weights() for layer in model.layers}
    job = methods.Job(task, data, model, 1e-2 if methods.METHODS[name].by_hand else None, head_rate=1e-2)
    methods.METHODS[name].train(job)
    moved = {
        layer.name
        for layer in model.layers
        if not all(np.array_equal(a, b) for a, b in zip(before[layer.name], layer.get_weights(), strict=True))
    }
    assert moved == ({"head"} if name == "head only" else {"low", "middle", "high", "head"})
    if name != "L-DoG":  # which has no Keras optimizer
        assert int(keras.ops.convert_to_numpy(model.optimizer.iterations)) == 8  # the same number of steps for all

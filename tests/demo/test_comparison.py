"""The comparison: fair choices, honest headlines, legible tables, a real picture."""

import io
import json

import keras
import numpy as np
import pytest
from rich.console import Console

import difflr
from difflr.demo import compare, digits, draw, run_demo, squeezenet
from difflr.demo.compare import Method, Outcome, Run

ON_JAX = pytest.mark.skipif(keras.backend.backend() != "jax", reason="trains for long; the demo is on JAX by default")

pytestmark = pytest.mark.usefixtures("quick_compilation", "eager_steps")


def outcome(name, accuracies, rules=None):
    """An outcome with given test accuracies; of two rates the higher was chosen."""
    others = [Run(name, 1e-4, seed, 0.7, 0.5, 1.0) for seed in range(len(accuracies))]
    runs = [Run(name, 3e-4, seed, 0.8, accuracy, 1.0) for seed, accuracy in enumerate(accuracies)]
    return Outcome(Method(name, rules, (1e-4, 3e-4)), others + runs, difflr.Plan(tiny_model(), rules))


@pytest.fixture
def outcomes():
    return [
        outcome("one rate for all", [0.80, 0.81, 0.82]),
        outcome("head only", [0.70, 0.71, 0.72], {"squeezenet": difflr.FROZEN}),
        outcome("layer by layer", [0.90, 0.91, 0.92], compare.LAYER_BY_LAYER),
    ]


def chosen(*search):
    return Outcome(compare.METHODS[0], search, None).learning_rate


def test_the_rate_is_chosen_on_validation_not_on_test():
    search = [Run("m", 1e-4, 0, 0.8, 0.99, 1.0), Run("m", 3e-4, 0, 0.9, 0.1, 1.0), Run("m", 1e-3, 0, 0.9, 0.95, 1.0)]
    assert chosen(*search) == 3e-4


def test_the_rate_is_chosen_by_the_mean_over_the_seeds():
    validations = {1e-4: (0.9, 0.5), 3e-4: (0.8, 0.8), 1e-3: (0.7, 0.7)}
    search = [
        Run("m", rate, seed, value, 0.5, 1.0)
        for rate, values in validations.items()
        for seed, value in enumerate(values)
    ]
    assert chosen(*search) == 3e-4


def test_mean_and_spread(outcomes):
    assert outcomes[0].mean == pytest.approx(0.81)
    assert outcomes[0].spread == pytest.approx(0.01)
    assert outcome("m", [0.5]).spread == 0


def test_headline_of_a_win_a_loss_and_a_tie(outcomes):
    uniform, head, _ = outcomes
    assert draw.headline(outcomes) == "Rates layer by layer: 10.0 points more than one rate for all"
    losing = [uniform, head, outcome("layer by layer", [0.6, 0.61, 0.62])]
    assert draw.headline(losing) == "Rates layer by layer: 20.0 points fewer than one rate for all"
    even = [uniform, head, outcome("layer by layer", [0.80, 0.81, 0.83])]
    assert draw.headline(even).endswith("no clear difference")
    assert "points" in draw.headline([uniform, head, outcome("layer by layer", [0.86, 0.9, 0.95])])


def test_tables(outcomes):
    text = f"{run_demo.search_table(outcomes)}\n{run_demo.accuracy_table(outcomes)}"
    assert "0.0003: 80.0 % ←" in text
    assert "0.0001: 70.0 %" in text
    row = next(line for line in text.splitlines() if "layer by layer" in line and "±" in line)
    assert row.split()[3:] == ["0.0003", "90.0", "91.0", "92.0", "91.0", "±", "1.0"]


def test_the_picture_is_written(outcomes, tmp_path):
    samples = np.zeros((10, 28, 28, 1), "uint8")
    path = draw.draw(outcomes, tmp_path / "picture.png", samples, "a line")
    assert path.read_bytes().startswith(b"\x89PNG")
    assert path.stat().st_size > 20_000


def test_rates_by_part():
    rates = {"squeezenet/conv1/bias": 0.1, "squeezenet/fire2_a/kernel": 0.2, "squeezenet/fire2_b/kernel": 0.3}
    assert draw.part_rates({**rates, "head/kernel": 1.0}) == {"conv1": 0.1, "fire2": 0.3, "head": 1.0}


def test_every_number_is_in_the_json(outcomes):
    content = json.loads(json.dumps(compare.as_json(outcomes, 8)))
    plan = content["methods"][2]
    assert plan["mean"] == pytest.approx(0.91)
    assert [run["test"] for run in plan["runs"]] == [0.90, 0.91, 0.92]
    assert len(plan["search"]) == 6
    assert content["budget"]["epochs"] == 8


def test_the_plan_decays_towards_the_input():
    names = list(compare.LAYER_BY_LAYER)
    assert names[0] == "squeezenet/fire9_*"
    assert names[-1] == "squeezenet/conv1"
    values = list(compare.LAYER_BY_LAYER.values())
    assert values == sorted(values, reverse=True)
    assert values[0] == compare.TOP_OF_BODY


def test_methods_may_try_equally_many_rates():
    assert len({len(method.learning_rates) for method in compare.METHODS}) == 1


def noise():
    """Pictures of nothing, 32 for each label."""
    labels = np.repeat(np.arange(10), 32)
    return np.random.default_rng(0).integers(0, 255, (len(labels), 28, 28, 1)).astype("uint8"), labels


def tiny_model(weights=None):
    """As small as can be, with layer names that the plan's patterns match."""
    names = ["conv1", *(f"fire{number}_squeeze1x1" for number in squeezenet.FIRES)]
    dense = [keras.layers.Dense(4, name=name) for name in names]
    body = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Flatten(), *dense], name="squeezenet")
    pictures = keras.Input((28, 28, 1))
    return keras.Model(pictures, keras.layers.Dense(10, name="head")(body(pictures)))


def values(layer):
    return [np.array(keras.ops.convert_to_numpy(variable)) for variable in layer.variables]


@pytest.fixture
def small_split(monkeypatch):
    monkeypatch.setattr(compare, "split", lambda labels, seed: digits.split(labels, seed, 10, 2, 4))


@ON_JAX
def test_a_small_comparison(small_split, monkeypatch):
    monkeypatch.setattr(compare, "build_model", tiny_model)
    methods = [Method(method.name, method.rules, method.learning_rates[:2]) for method in compare.METHODS]
    started = []
    found = compare.run_comparison(*noise(), {}, 1, (0, 1), methods, started.append)
    assert [outcome.method.name for outcome in found] == [method.name for method in methods]
    assert len(started) == len(set(started)) == 12
    assert [[run.seed for run in outcome.runs] for outcome in found] == [[0, 1]] * 3
    assert all(0 <= accuracy <= 1 for outcome in found for accuracy in outcome.accuracies)
    uniform, head, plan = found
    assert set(uniform.rates.values()) == {uniform.learning_rate}
    assert {path for path, rate in head.rates.items() if rate} == {"head/kernel", "head/bias"}
    ratio = plan.rates["squeezenet/fire8_squeeze1x1/kernel"] / plan.learning_rate
    assert ratio == pytest.approx(compare.TOP_OF_BODY * compare.DECAY)


@pytest.mark.same_everywhere
@pytest.mark.parametrize("method", compare.METHODS, ids=[method.name for method in compare.METHODS])
def test_every_run_begins_anew(method, small_split):
    model = tiny_model()
    trainer = compare.Trainer(model, method, 2)
    body = model.get_layer("squeezenet")
    before = [np.array(value) for _, value in trainer._fresh[: len(body.variables)]]
    runs = [(trainer.run(*noise(), rate, seed), values(model)) for rate, seed in ((1e-3, 0), (1e-2, 1), (1e-3, 0))]
    assert runs[0][0].validation == runs[2][0].validation
    for one, other in zip(runs[0][1], runs[2][1], strict=True):
        np.testing.assert_array_equal(one, other)
    moved = {not np.array_equal(old, new) for old, new in zip(before, values(body), strict=True)}
    assert moved == ({False} if method.name == "head only" else {True})


@pytest.mark.parametrize("wrong", [{"seeds": 0}, {"epochs": 0}])
def test_the_demo_refuses_no_seeds_and_no_epochs(wrong, tmp_path):
    with pytest.raises(ValueError, match="must be 1 or more"):
        run_demo.run_demo(output=tmp_path, **wrong)


@ON_JAX
def test_the_whole_demo(small_split, monkeypatch, tmp_path):
    monkeypatch.setattr(compare, "build_model", tiny_model)
    monkeypatch.setattr(digits, "load", noise)
    monkeypatch.setattr(squeezenet, "read_weights", dict)
    console = Console(width=100, record=True, file=io.StringIO())
    run_demo.run_demo(seeds=2, epochs=1, output=tmp_path / "new", console=console)
    text = console.export_text()
    for part in ("MIT", "BSD 3-Clause", "Test accuracy in %", "seed 1", "The plan", "squeezenet/conv1", "Saved"):
        assert part in text
    assert (tmp_path / "new" / "difflr-demo.png").exists()
    numbers = json.loads((tmp_path / "new" / "difflr-demo.json").read_text())
    assert len(numbers["methods"][0]["search"]) == 6


@pytest.mark.same_everywhere
def test_the_plan_of_the_demo_fits_the_network():
    model = keras.Sequential(
        [
            keras.Input((64, 64, 3)),
            squeezenet.build((64, 64)),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(10, name="head"),
        ]
    )
    plan = difflr.Plan(model, compare.LAYER_BY_LAYER)
    assert {row.path for row in plan.rows if row.multiplier == 1} == {"head/kernel", "head/bias"}

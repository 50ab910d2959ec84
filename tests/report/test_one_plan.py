"""Tables, plots and reports have their plan from `difflr.plan_of`: before and after build, however it was given."""

import keras
import numpy as np
import pytest

import difflr
from difflr.report.summary_numbers import summary_numbers

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")

Adam = difflr.optimizers.Adam
WAYS = {
    "a plan": lambda model: Adam(1e-3, multipliers=difflr.Plan(model, {"body": 0.1})),
    "a mapping": lambda model: Adam(1e-3, multipliers={model.get_layer("body"): 0.1}),
    "a function": lambda model: Adam(1e-3, multipliers=lambda variable: 0.1 if "body" in variable.path else 1.0),
    "loss scaling": lambda model: keras.optimizers.LossScaleOptimizer(WAYS["a mapping"](model)),
    "a number": lambda model: Adam(1e-3, multipliers=0.1),
    "stock": lambda model: keras.optimizers.Adam(1e-3),
}
EXPECTED = {"a number": {"body": 0.1, "head": 0.1}, "stock": {"body": 1.0, "head": 1.0}}


def two_layers():
    layers = [keras.layers.Dense(3, name="body"), keras.layers.Dense(2, name="head")]
    return keras.Sequential([keras.Input((4,)), *layers], name="two")


def answers(model, folder):
    """The multiplier of each layer, as each table and picture has it."""
    (marks,) = [line for line in difflr.plot_plan(model).lines if line.get_linestyle() == "None"]
    rates = difflr.plot_rate_map(model, 1.0, 3).collections[0].get_array()
    lines = difflr.plot_schedule(model, 2).lines
    values = {line.get_ydata()[0] / 1e-3 for line in lines}
    report = difflr.read_report(difflr.write_report(folder / "run.html", model, {"loss": [1.0]}))["plan"]
    numbers = {layer.layer.name: layer.multipliers for layer in summary_numbers(model).layers}
    found = {
        "plot_plan": dict(zip(("body", "head"), map(float, marks.get_xdata()), strict=True)),
        "plot_rate_map": {name: float(np.ravel(row)[0]) for name, row in zip(("body", "head"), rates, strict=True)},
        "write_report": {name: report[f"{name}/kernel"] for name in ("body", "head")},
        "summary": {name: value for name, (value,) in numbers.items()},
    }
    return found, sorted(values)


@pytest.mark.same_everywhere
@pytest.mark.parametrize("way", WAYS)
def test_all_agree_before_and_after_build(way, tmp_path, pyplot):
    model = two_layers()
    model.compile(WAYS[way](model), loss="mse")
    expected = EXPECTED.get(way, {"body": 0.1, "head": 1.0})
    for built in (False, True):
        if built:
            model.optimizer.build(model.trainable_variables)
        found, lines = answers(model, tmp_path)
        assert lines == pytest.approx(sorted(set(expected.values())))
        for who, multipliers in found.items():
            assert multipliers == pytest.approx(expected), (who, built)


@pytest.mark.same_everywhere
def test_optimizers_side_by_side_are_one_plan(tmp_path, pyplot):
    model = two_layers()
    if not hasattr(keras.optimizers, "MultiOptimizer"):
        pytest.skip("this Keras has no MultiOptimizer")
    parts = {
        "body": difflr.optimizers.SGD(0.1, multipliers=difflr.Plan(model, {"body": 0.5})),
        "head": keras.optimizers.SGD(0.2),
    }
    model.compile(keras.optimizers.MultiOptimizer(lambda v: parts[v.path.split("/")[-2]]), loss="mse")
    model.optimizer.build(model.trainable_variables)
    by_name = {layer.layer.name: layer for layer in summary_numbers(model).layers}
    assert by_name["body"].multipliers == (0.5,)
    assert by_name["body"].rates == (pytest.approx(0.05),)
    assert by_name["head"].rates == (pytest.approx(0.2),)
    np.testing.assert_allclose(difflr.plot_plan(model).lines[0].get_xdata(), [0.5, 1.0])
    with pytest.raises(ValueError, match="2 optimizers, each with its own. Pass one of them"):
        difflr.plot_plan(model, model.optimizer)
    difflr.write_report(tmp_path / "run.html", model, {"loss": [1.0]})


@pytest.mark.same_everywhere
def test_in_a_phase_tables_show_the_plan_in_force_and_reports_the_whole_one(tmp_path, axes):
    model = two_layers()
    model.compile(Adam(1e-3, multipliers={"body": 0.1}), loss="mse")
    difflr.freeze_to(model, -1)
    difflr.plot_plan(model, axes=axes)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["whole layer", "frozen"]
    assert summary_numbers(model).layers[0].trainable == 0
    phases = difflr.Phases([difflr.Phase("head", epochs=1), difflr.Phase("*")])
    path = difflr.write_report(tmp_path / "run.html", model, {"loss": [1.0, 0.5]}, phases=phases)
    assert difflr.read_report(path)["plan"]["body/kernel"] == 0.1
    axes.clear()
    difflr.plot_phases(phases, model, axes=axes)  # chooses from the whole plan
    mesh = next(collection for collection in axes.collections if hasattr(collection, "get_coordinates"))
    np.testing.assert_allclose(mesh.get_array().filled(0), [[0, 0.1], [1, 1]])


@pytest.mark.same_everywhere
def test_after_phases_the_summary_and_the_table_are_those_of_the_plan():
    model = two_layers()
    plan = difflr.Plan(model, {"body": 0.1})
    x, y = np.ones((8, 4)), np.ones((8, 2))
    difflr.fine_tune(model, x, y, epochs=2, batch_size=4, plan=plan, loss="mse", verbose=0)
    assert difflr.plan_of(model) == plan
    assert "schedule" not in difflr.plan_of(model).table()
    numbers = summary_numbers(model, num_steps=8)
    for layer in numbers.layers:
        values = [value for rates in (layer.rates, *layer.rates_at) for value in rates]
        assert values
        assert np.isfinite(values).all()

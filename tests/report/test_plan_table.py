import keras
import pytest

import difflr


@pytest.fixture
def model():
    body = keras.Sequential(
        [keras.layers.Dense(3, name="stem"), keras.layers.BatchNormalization(name="bn")], name="body"
    )
    return keras.Sequential([keras.Input((4,)), body, keras.layers.Dense(2, name="head")])


def test_golden_without_rate(model):
    assert str(difflr.Plan(model, {"body": 0.1})) == (
        "variables  number  parameters  multiplier  decided by\n"
        "---------------------------------------------------------\n"
        "body            4          21         0.1  rule 1: 'body'\n"
        "head            2           8           1  default\n"
        "---------------------------------------------------------\n"
        "6 variables: 29 parameters are trained, 0 frozen."
    )


def test_golden_with_everything(model):
    schedule = keras.optimizers.schedules.CosineDecay(1.0, 10)
    plan = difflr.Plan(
        model, {"body": difflr.FROZEN, "head": schedule, "head/bias": {"multiplier": 2, "weight_decay_multiplier": 0}}
    )
    table = plan.table(learning_rate=0.001).splitlines()
    assert [line.split("  ")[0] for line in table if not line.startswith("-")] == [
        "variables",
        "body",
        "head/kernel",
        "head/bias",
        "6 variables: 8 parameters are trained, 21 frozen; base rate 0.001; "
        "moving statistics of 1 frozen BatchNormalization layers: kept.",
    ]
    assert table[0].split() == [
        *("variables", "number", "parameters", "multiplier", "effective", "rate"),
        *("weight", "decay", "schedule", "decided", "by"),
    ]
    assert table[4].split()[:8] == ["head/bias", "1", "2", "2", "0.002", "0", "CosineDecay", "rule"]
    assert table[2].split()[3:7] == ["frozen", "-", "-", "-"]


def test_columns_sum_to_the_model(model):
    from difflr.report.plan_table import table_rows

    plan = difflr.Plan(model, {"*/bias": 2.0, "body/bn": 0.5, "head/kernel": difflr.FROZEN})
    _, lines = table_rows(plan)
    assert sum(int(line[2].replace(",", "")) for line in lines) == sum(r.num_parameters for r in plan.rows) == 29
    assert sum(int(line[1]) for line in lines) == len(plan.rows)


def test_many_layers_are_folded():
    layers = [keras.layers.Dense(2, name=f"layer{number}") for number in range(20)]
    model = keras.Sequential([keras.Input((2,)), *layers])
    text = str(difflr.Plan(model, {"layer1?": 0.5}))
    assert "layer10, layer11, ... layer19" in text
    assert len(text.splitlines()) == 6


def test_html_is_escaped(model):
    plan = difflr.Plan(model, [(lambda variable: True, 0.5)])
    html = plan._repr_html_()
    assert "&lt;lambda&gt;" in html
    assert "<lambda>" not in html
    assert html.count("<tr>") == 2

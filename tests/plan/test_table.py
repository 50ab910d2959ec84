import keras
import pytest

import difflr

pytestmark = pytest.mark.same_everywhere


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
    from difflr.plan.table import table_rows

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


def test_golden_with_a_rate_and_frozen_rows(model):
    plan = difflr.Plan(model, {"body/stem": difflr.FROZEN, "*/bias": {"weight_decay_multiplier": 0}, "head": 2.5})
    assert plan.table(0.01) == (
        "variables    number  parameters  multiplier  effective rate  weight decay  decided by\n"
        "-----------------------------------------------------------------------------------------------------------\n"
        "body/stem         2          15      frozen               -             -  rule 1: 'body/stem'\n"
        "body/bn           2           6           1            0.01             1  default\n"
        "head/kernel       1           6         2.5           0.025             1  rule 3: 'head'\n"
        "head/bias         1           2         2.5           0.025             0  rule 2: '*/bias'; rule 3: 'head'\n"
        "-----------------------------------------------------------------------------------------------------------\n"
        "6 variables: 14 parameters are trained, 15 frozen; base rate 0.01."
    )


def test_golden_with_schedules(model):
    schedule = keras.optimizers.schedules.ExponentialDecay(1.0, 10, 0.5)
    assert str(difflr.Plan(model, {"head": schedule})) == (
        "variables  number  parameters  multiplier          schedule  decided by\n"
        "---------------------------------------------------------------------------\n"
        "body            4          21           1                 -  default\n"
        "head            2           8           1  ExponentialDecay  rule 1: 'head'\n"
        "---------------------------------------------------------------------------\n"
        "6 variables: 29 parameters are trained, 0 frozen."
    )


@pytest.mark.parametrize(("policy", "what"), [("keep", "kept"), ("update", "updated")])
def test_what_statistics_do(model, policy, what):
    text = str(difflr.Plan(model, {"body": difflr.FROZEN}, frozen_statistics=policy))
    assert text.endswith(f"; moving statistics of 1 frozen BatchNormalization layers: {what}.")
    assert "statistics" not in str(difflr.Plan(model, {"body/stem": difflr.FROZEN}, frozen_statistics=policy))


def test_what_the_user_froze(model):
    model.get_layer("body").trainable = False
    lines = str(difflr.Plan(model)).splitlines()
    assert lines[2].split("  ")[-1] == "layer.trainable = False"
    assert "8 parameters are trained, 21 frozen; moving statistics of 1 frozen" in lines[-1]


def test_parameters_sum_to_those_that_keras_counts(model):
    from difflr.plan.table import table_rows

    statistics = sum(variable.value.shape[0] for variable in model.non_trainable_variables)
    for rules in (None, {"*": 0.5}, {"*/bias": 2.0, "body/bn": 0.5}, {"body": difflr.FROZEN}):
        _, lines = table_rows(difflr.Plan(model, rules))
        assert sum(int(line[2].replace(",", "")) for line in lines) == model.count_params() - statistics


def test_long_paths_do_not_make_wide_tables():
    names = [letter * 30 for letter in "abc"]
    model = keras.Sequential([keras.Input((2,)), *(keras.layers.Dense(2, name=name) for name in names)])
    model.add(keras.layers.Dense(1, name="head"))
    text = str(difflr.Plan(model, {"head": 2.0}))
    assert f"{names[0]}, ... {names[2]}" in text
    assert names[1] not in text


def test_thousands_are_separated():
    model = keras.Sequential([keras.Input((50,)), keras.layers.Dense(60)])
    assert "3,060" in str(difflr.Plan(model))


def test_html_holds_the_same_as_the_text(model):
    plan = difflr.Plan(model, {"body/stem": difflr.FROZEN, "*/bias": 2.0})
    html = plan._repr_html_()
    for line in str(plan).splitlines()[2:5]:
        for cell in line.split("  "):
            assert cell.strip().replace("'", "&#x27;") in html
    assert html.count("<td") == 3 * 5
    assert "6 variables: 14 parameters are trained" in html


def test_html_escapes_names():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="<b>&a"), keras.layers.Dense(1, name="c")])
    html = difflr.Plan(model, {"c": 2.0})._repr_html_()
    assert "&lt;b&gt;&amp;a" in html
    assert "<b>" not in html


def test_rules_for_one_layer_after_another_are_one_row(model):
    layers = model.layers[0].layers
    table = str(difflr.Plan(model, [(layer, 0.5) for layer in layers])).splitlines()
    assert [line.split("  ")[0] for line in table[2:4]] == ["body", "head"]
    assert table[2].endswith("rules 1 to 2: layer stem, layer bn")
    assert len(table) == 6


def test_a_column_of_names_where_there_are_any(model):
    table = difflr.Plan(model, {"body": {"multiplier": 0.1, "name": "slow"}, "body/stem": difflr.FROZEN}).table()
    header, _, *lines = table.splitlines()
    column = header.index("name")
    assert [line[column : column + 4].strip() for line in lines[:3]] == ["-", "slow", "-"]

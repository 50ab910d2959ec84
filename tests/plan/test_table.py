import dataclasses
import re

import keras
import pytest

import difflr

pytestmark = pytest.mark.same_everywhere


@pytest.fixture(autouse=True)
def no_screen(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr("os.get_terminal_size", lambda *_: (_ for _ in ()).throw(OSError))


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
        "moving statistics of 1 frozen BatchNormalization layer: kept.",
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
    assert "layer10, ... layer19 (10 in all)" in text
    assert len(text.splitlines()) == 6
    short = str(difflr.Plan(model, {"layer*": 0.5, "layer19": 1.0}))
    assert len(short.splitlines()) == 6


def ten_blocks():
    """Ten blocks of norm, kernel and bias, and a head."""
    layers = []
    for number in range(10):
        layers += [keras.layers.LayerNormalization(name=f"block{number}_norm")]
        layers += [keras.layers.Dense(2, name=f"block{number}_dense")]
    return keras.Sequential([keras.Input((2,)), *layers, keras.layers.Dense(1, name="head")])


def test_what_differs_in_decay_alone_is_one_row():
    model = ten_blocks()
    plan = difflr.Plan(model, {"block*": 0.1}) * difflr.no_decay(model)
    table = str(plan).splitlines()
    assert [line.split()[0] for line in table[2:4]] == ["block*", "head"]
    assert table[5:] == [
        "42 variables: 103 parameters are trained, 0 frozen.",
        "Weight decay times 0: kind:no_decay (31 variables, by no_decay).",
    ]


def test_a_value_that_no_kind_has_names_its_variables():
    model = ten_blocks()
    values = {"block*": 0.1, "block3_dense/kernel": {"weight_decay_multiplier": 0.5}}
    assert "Weight decay times 0.5: block3_dense/kernel (1 variable, by rule 2: 'block3_dense/kernel')." in str(
        difflr.Plan(model, values)
    )
    many = difflr.Plan(
        model, [("**", 0.1), *((f"block{n}_dense/kernel", {"weight_decay_multiplier": n / 10}) for n in range(9))]
    )
    assert "Weight decay: 9 values; the full table has them." in str(many)


def test_one_depth_is_one_row_and_the_reason_stands_once():
    model = ten_blocks()
    for variable in model.trainable_variables:
        variable.assign(variable + 0.01)
    table = str(difflr.layerwise_decay(model, 0.8) * difflr.no_decay(model)).splitlines()
    names = [line.split()[0] for line in table[2:13]]
    assert names == [*(f"block{number}_*" for number in range(10)), "head"]
    assert table[15] == "Decided by layerwise_decay."
    assert "decided by" not in table[0]


def test_the_full_table_has_a_line_for_every_variable_and_all_reasons():
    model = ten_blocks()
    plan = difflr.Plan(model, {"block*": 0.123456}) * difflr.no_decay(model)
    header, _, *lines = plan.table(full=True).splitlines()
    assert header.split() == [*("variable", "shape", "parameters", "multiplier", "weight", "decay", "decided", "by")]
    assert [line.split()[0] for line in lines[:-2]] == [row.path for row in plan.rows]
    assert lines[3].split(maxsplit=5) == ["block0_dense/bias", "2", "2", "0.123456", "0", "rule 1: 'block*'; no_decay"]
    assert lines[-1] == "42 variables: 103 parameters are trained, 0 frozen."


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("full", [False, True])
def test_it_fits_the_width_and_cuts_no_word(width, full):
    model = ten_blocks()
    rules = {"block?_dense": 0.1, "block4_norm": difflr.FROZEN, "head": {"multiplier": 2.0, "name": "the new head"}}
    plan = difflr.Plan(model, rules) * difflr.no_decay(model)
    table = plan.table(1e-3, full=full, width=width)
    assert max(map(len, table.splitlines())) <= width
    words = set(re.sub(r"[,.]( |\n|$)", " ", table).split())
    assert (words >= {row.path for row in plan.rows}) == full
    left_out = ["Left", "out", "at", "this", "width:", "number", "parameters", "shape", "decided", "by"]
    whole = re.sub(r"[,.]( |\n|$)", " ", plan.table(1e-3, full=full, width=10_000))
    assert {word for word in words if word.strip("-")} <= {*whole.split(), *left_out}


def test_the_screen_decides_the_width(monkeypatch):
    model = ten_blocks()
    plan = difflr.Plan(model, {"block*": 0.1, "head": {"name": "a name of many words that is long indeed"}})
    wide = str(plan)
    assert max(map(len, wide.splitlines())) > 80
    monkeypatch.setenv("COLUMNS", "60")
    assert max(map(len, str(plan).splitlines())) <= 60
    assert plan.table(width=1000) == wide


def test_a_schedule_counts_from_its_start(model):
    from difflr.plan.rows import Row

    schedule = keras.optimizers.schedules.ExponentialDecay(1.0, 10, 0.5)
    plan = difflr.Plan(model, {"body": schedule, "head": 0.1})
    late = plan.changed(lambda row: dataclasses.replace(row, schedule_start=10 if row.schedule else 0))
    assert all(isinstance(row, Row) for row in late.rows)
    assert "0.0005" in plan.table(1e-3, step=10)
    assert "0.0005" in late.table(1e-3, step=20)
    assert "ExponentialDecay from step 10" in late.table()


def test_html_is_escaped(model):
    plan = difflr.Plan(model, [(lambda variable: True, 0.5)])
    html = plan._repr_html_()
    assert "&lt;lambda&gt;" in html
    assert "<lambda>" not in html
    assert html.count("<tr>") == 2


def test_golden_with_a_rate_and_frozen_rows(model):
    plan = difflr.Plan(model, {"body/stem": difflr.FROZEN, "*/bias": {"weight_decay_multiplier": 0}, "head": 2.5})
    assert plan.table(0.01) == (
        "variables  number  parameters  multiplier  effective rate  decided by\n"
        "------------------------------------------------------------------------------\n"
        "body/stem       2          15      frozen               -  rule 1: 'body/stem'\n"
        "body/bn         2           6           1            0.01  default\n"
        "head            2           8         2.5           0.025  rule 3: 'head'\n"
        "------------------------------------------------------------------------------\n"
        "6 variables: 14 parameters are trained, 15 frozen; base rate 0.01.\n"
        "Weight decay times 0: kind:bias (1 variable, by rule 2: '*/bias')."
    )


def test_golden_with_schedules(model):
    schedule = keras.optimizers.schedules.ExponentialDecay(1.0, 10, 0.5)
    assert str(difflr.Plan(model, {"head": schedule})) == (
        "variables  number  parameters  multiplier  schedule          decided by\n"
        "---------------------------------------------------------------------------\n"
        "body            4          21           1  -                 default\n"
        "head            2           8           1  ExponentialDecay  rule 1: 'head'\n"
        "---------------------------------------------------------------------------\n"
        "6 variables: 29 parameters are trained, 0 frozen."
    )


@pytest.mark.parametrize(("policy", "what"), [("keep", "kept"), ("update", "updated")])
def test_what_statistics_do(model, policy, what):
    text = str(difflr.Plan(model, {"body": difflr.FROZEN}, frozen_statistics=policy))
    assert text.endswith(f"; moving statistics of 1 frozen BatchNormalization layer: {what}.")
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
    names = [letter * 40 for letter in "abc"]
    model = keras.Sequential([keras.Input((2,)), *(keras.layers.Dense(2, name=name) for name in names)])
    model.add(keras.layers.Dense(1, name="head"))
    text = str(difflr.Plan(model, {"head": 2.0}))
    assert f"{names[0]}, ... {names[2]} (3 in all)" in text
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

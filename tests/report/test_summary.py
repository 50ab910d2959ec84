"""`difflr.summary`. The golden files are made anew with `UPDATE_GOLDEN=1 python -m pytest tests/report/test_summary.py`."""

import math
import os
import pathlib

import keras
import pytest

import difflr
from difflr.optimizers.unwrap import effective_rates
from difflr.report.flops import forward_flops, step_flops
from difflr.report.summary_numbers import summary_numbers
from optimizers.steps import BACKEND

COUNTER = 8 if BACKEND == "tensorflow" else 4  # bytes of the step
GOLDEN = pathlib.Path(__file__).parent / "golden"


def nested():
    body = keras.Sequential(
        [keras.layers.Dense(16, name="stem"), keras.layers.BatchNormalization(name="bn")], name="body"
    )
    return keras.Sequential([keras.Input((8,)), body, keras.layers.Dense(2, name="head")], name="nested")


def attention():
    inputs = keras.Input((5, 8), name="words")
    x = keras.layers.MultiHeadAttention(2, 4, name="attention")(inputs, inputs)
    return keras.Model(inputs, keras.layers.Dense(3, name="head")(x), name="attentive")


def pictures():
    layers = [
        keras.layers.Conv2D(4, 3, padding="same", name="conv"),
        keras.layers.DepthwiseConv2D(3, padding="same", name="depthwise"),
        keras.layers.Flatten(name="flatten"),
        keras.layers.Dense(2, name="head"),
    ]
    return keras.Sequential([keras.Input((6, 6, 3)), *layers], name="pictures")


def trained(model, rules, rate=0.001, build=True, **settings):
    plan = difflr.Plan(model, rules)
    model.compile(difflr.optimizers.AdamW(rate, weight_decay=0.01, multipliers=plan, **settings), loss="mse")
    if build:
        model.optimizer.build(model.trainable_variables)
    return model


def text(model, **arguments):
    lines = []
    difflr.summary(model, print_fn=lines.append, **{"line_length": 120, **arguments})
    return "".join(lines)


FREEZING = {"body/stem": difflr.FROZEN, "head": 2.0, "*/bias": {"weight_decay_multiplier": 0}}
CASES = {
    "frozen": lambda: text(trained(nested(), FREEZING), expand_nested=True, show_trainable=True),
    "what_if": lambda: text(
        trained(
            attention(),
            {"attention": 0.1, "head/bias": difflr.FROZEN},
            difflr.schedules.WarmupCosine(0.001, warmup_steps=10, num_steps=100),
            build=False,
        ),
        num_steps=100,
        line_length=150,
    ),
    "not_compiled": lambda: text(pictures(), layer_range=("depthwise", "head"), line_length=100),
}


@pytest.mark.same_everywhere
@pytest.mark.parametrize("name", CASES)
def test_golden(name):
    file = GOLDEN / f"summary_{name}.txt"
    found = "\n".join(line.rstrip() for line in CASES[name]().splitlines()) + "\n"
    found = found.replace(f"Optimizer state: {544 + COUNTER} B", "Optimizer state: 548 B")
    if "UPDATE_GOLDEN" in os.environ:
        file.write_text(found, encoding="utf-8")
    assert found == file.read_text(encoding="utf-8")


@pytest.mark.same_everywhere
@pytest.mark.parametrize("make", [nested, attention, pictures])
@pytest.mark.parametrize("rules", [None, {"head": 2.0}, {"head": difflr.FROZEN}, {"*/bias": 0.5}])
def test_columns_sum_to_the_totals(make, rules):
    model = trained(make(), rules, use_ema=True)
    numbers = summary_numbers(model)
    outer = [each for each in numbers.layers if each.level == 0]
    assert sum(each.parameters for each in outer) == numbers.total.parameters == model.count_params()
    trainable = sum(math.prod(variable.shape) for variable in model.trainable_variables)
    assert sum(each.trainable for each in outer) == numbers.total.trainable == trainable
    assert sum(each.flops for each in outer) == pytest.approx(1) == numbers.total.flops
    assert sum(each.state for each in outer) == numbers.total.state
    own = numbers.optimizer_state - numbers.total.state  # the step, the rate, a multiplier for each group
    assert own == COUNTER + 4 * (1 + len(numbers.total.groups))
    for each in numbers.layers:
        inside = numbers.layers[numbers.layers.index(each) + 1 :] if each.layer.name == "body" else []
        assert not inside or each.parameters == sum(e.parameters for e in inside if e.level == 1)


def test_rates_are_those_of_the_optimizer():
    model = trained(nested(), {"body": 0.1})
    model.optimizer.multipliers[model.get_layer("head")] = 0.3
    rates = effective_rates(model.optimizer)
    by_name = {each.layer.name: each for each in summary_numbers(model).layers}
    assert by_name["head"].rates == (pytest.approx(0.0003),)
    assert by_name["body"].rates == (pytest.approx(rates[id(model.layers[0].layers[0].kernel)]),)


def test_rates_at_moments_are_those_of_the_schedule():
    rate = difflr.schedules.WarmupCosine(0.001, warmup_steps=10, num_steps=100)
    numbers = summary_numbers(trained(nested(), {"body": 0.1}, rate), num_steps=100)
    assert numbers.moments == {0: "start", 10: "end of warm-up", 50: "middle", 99: "end"}
    head = next(each for each in numbers.layers if each.layer.name == "head")
    expected = [float(keras.ops.convert_to_numpy(rate(step))) for step in (0, 10, 50, 99)]
    assert [rates[0] for rates in head.rates_at] == pytest.approx(expected)


@pytest.mark.same_everywhere
def test_operations_by_hand():
    model = attention()
    found = forward_flops(model)
    by_name = {layer.name: layer for layer in [model.get_layer("head"), model.get_layer("attention")]}
    assert found[id(by_name["head"].kernel)] == 2 * 5 * 8 * 3
    kernels = [v for v in by_name["attention"].trainable_variables if v.name == "kernel"]
    assert [found[id(kernel)] for kernel in kernels] == [2 * 5 * 8 * 8] * 4
    model = pictures()
    found = forward_flops(model)
    assert found[id(model.get_layer("conv").kernel)] == 2 * 36 * 9 * 3 * 4
    assert found[id(model.get_layer("depthwise").kernel)] == 2 * 36 * 9 * 4
    assert "call" not in vars(model.get_layer("conv"))
    # Forward twice over; the gradient of every weight; that of the input of all but the first layer.
    kernels = {key: value for key, value in found.items() if value}
    total = sum(kernels.values())
    assert step_flops(kernels, set(kernels)) == 3 * total - found[id(model.get_layer("conv").kernel)]
    assert step_flops(kernels, set()) == total


@pytest.mark.skipif(BACKEND != "jax", reason="about XLA")
def test_what_freezing_saves_is_what_xla_counts():
    import jax

    def counted(trainable):
        layers = [keras.layers.Dense(64, activation="relu", name=f"layer{number}") for number in range(12)]
        model = keras.Sequential([keras.Input((64,)), *layers])
        frozen = {f"layer{number}": difflr.FROZEN for number in range(12 - trainable)}
        plan = difflr.Plan(model, frozen)
        model.compile(difflr.optimizers.SGD(0.1, multipliers=plan), loss="mse")
        model.optimizer.build(model.trainable_variables)
        state = tuple(
            [v.value for v in variables]
            for variables in (
                model.trainable_variables,
                model.non_trainable_variables,
                model.optimizer.variables,
                model.metrics_variables,
            )
        )
        x = keras.ops.zeros((128, 64))
        model._symbolic_build(data_batch=(x, x, None))
        cost = jax.jit(model.train_step).lower(state, (x, x, None)).compile().cost_analysis()
        return cost["flops"], summary_numbers(model).saved

    everything, saved = counted(12)
    assert saved == pytest.approx(0)
    some, saved = counted(3)
    assert some / everything == pytest.approx(0.48, abs=0.02)
    assert 1 - saved == pytest.approx(some / everything, abs=0.02)


def test_what_it_refuses():
    model = nested()
    with pytest.raises(ValueError, match="no layer's name matches 'neck'. The layers are body, head"):
        text(model, layer_range=("neck", "head"))
    with pytest.raises(ValueError, match="`positions` must be 8 ascending numbers"):
        text(model, positions=[0.5, 1.0])
    with pytest.raises(ValueError, match="`num_steps` counts optimizer steps"):
        text(model, num_steps=0)
    with pytest.raises(ValueError, match="not built"):
        text(keras.Sequential([keras.layers.Dense(2)]))


def test_it_prints_and_returns_nothing(capsys):
    assert difflr.summary(nested()) is None
    assert 'Model: "nested"' in capsys.readouterr().out
    wide = text(nested(), positions=[0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0])
    assert {len(line) for line in wide.splitlines() if line.startswith("│")} == {120}


@pytest.mark.same_everywhere
@pytest.mark.parametrize("width", [40, 80, 130])
def test_no_word_is_broken(width):
    """In a terminal that is too narrow columns are left out, and then the table is wider."""
    layers = [keras.layers.Dense(2, name=name) for name in ("backbone_stem_conv_block1_expand", "body", "head")]
    model = keras.Sequential([keras.Input((4,)), *layers])
    rate = difflr.schedules.WarmupCosine(1e-3, warmup_steps=100, num_steps=1000)
    model.compile(difflr.optimizers.Adam(rate, multipliers=difflr.no_decay(model)), loss="mse")
    shown = text(model, line_length=width, num_steps=1000)
    assert {"backbone_stem_conv_block1_expand", "(Dense)", "Multiplier", "warm-up"} <= set(shown.split())
    assert max(map(len, shown.splitlines())) <= max(width, 110)

"""The schedules against their papers' formulas, torch and optax, and in real steps."""

import json
import math

import keras
import numpy as np
import pytest

import difflr
from difflr.schedules import Constant, Delayed, Joined, OneCycle, SlantedTriangular, WarmupCosine

ALL = [
    SlantedTriangular(0.5, 40),
    OneCycle(0.5, 40, 0.25, 10, 100, "linear"),
    WarmupCosine(0.5, 40, 10, 0.1, 0.2),
    Delayed(WarmupCosine(1.0, 30), 10),
    Delayed(0.3, 10),
    Constant(0.25),
    Joined([0.1, OneCycle(0.5, 20), SlantedTriangular(0.1, 10)], [5, 25]),
]
each = pytest.mark.parametrize("schedule", ALL, ids=lambda schedule: type(schedule).__name__)


def values(schedule, steps):
    return np.array([float(keras.ops.convert_to_numpy(schedule(keras.ops.convert_to_tensor(s)))) for s in steps])


# -- against others


@pytest.mark.parametrize(("num_steps", "cut_fraction", "ratio"), [(100, 0.1, 32), (40, 0.25, 8), (10, 0.5, 1)])
def test_slanted_triangular_is_the_papers_formula(num_steps, cut_fraction, ratio):
    cut = math.floor(num_steps * cut_fraction)
    t = np.arange(num_steps + 1)
    p = np.where(t < cut, t / cut, 1 - (t - cut) / (cut * (1 / cut_fraction - 1)))
    expected = 0.01 * (1 + p * (ratio - 1)) / ratio
    schedule = SlantedTriangular(0.01, num_steps, cut_fraction, ratio)
    np.testing.assert_allclose(values(schedule, t), expected, rtol=2e-5)


@pytest.mark.parametrize("num_steps", [1, 2, 9, 25, 99])
def test_slanted_triangular_stays_between_its_rates_where_the_papers_formula_does_not(num_steps):
    rates = values(SlantedTriangular(1.0, num_steps), range(num_steps + 5))
    assert rates.min() >= 1 / 32 * 0.9999
    assert rates[num_steps] == pytest.approx(1 / 32)
    assert rates.max() == pytest.approx(1.0)
    assert rates.argmax() == int(num_steps * 0.1)


@pytest.mark.parametrize("annealing", ["cosine", "linear"])
@pytest.mark.parametrize(
    ("num_steps", "warmup", "division", "final"), [(100, 0.3, 25, 1e4), (37, 0.99, 5, 2e4), (20, 0.1, 2, 1)]
)
def test_one_cycle_is_torchs(annealing, num_steps, warmup, division, final):
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=0.02,
        total_steps=num_steps,
        pct_start=warmup,
        anneal_strategy=annealing[:3] if annealing == "cosine" else annealing,
        cycle_momentum=False,
        div_factor=division,
        final_div_factor=final,
    )
    expected = []
    for _ in range(num_steps):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if len(expected) < num_steps:
            theirs.step()
    schedule = OneCycle(0.02, num_steps, warmup, division, final, annealing)
    np.testing.assert_allclose(values(schedule, range(num_steps)), expected, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("num_steps", [1, 2, 3])
def test_one_cycle_of_a_few_steps_reaches_its_peak(num_steps):
    assert values(OneCycle(0.5, num_steps), range(num_steps)).max() == pytest.approx(0.5)


@pytest.mark.parametrize(("warmup", "start", "floor"), [(10, 0.0, 0.0), (25, 0.1, 0.05)])
def test_warmup_cosine_is_optaxs(warmup, start, floor):
    optax = pytest.importorskip("optax")
    theirs = optax.warmup_cosine_decay_schedule(0.02 * start, 0.02, warmup, 100, 0.02 * floor)
    expected = [float(theirs(step)) for step in range(120)]
    schedule = WarmupCosine(0.02, 100, warmup, start, floor)
    np.testing.assert_allclose(values(schedule, range(120)), expected, rtol=1e-4, atol=1e-8)


@pytest.mark.same_everywhere
def test_warmup_cosine_is_kerass_own_counted_from_the_beginning():
    theirs = keras.optimizers.schedules.CosineDecay(0.0, 90, alpha=0.1, warmup_target=0.02, warmup_steps=10)
    ours = WarmupCosine(0.02, 100, 10, floor=0.1)
    np.testing.assert_allclose(values(ours, range(110)), values(theirs, range(110)), rtol=1e-4, atol=1e-8)


def test_joined_are_optaxs_joined():
    optax = pytest.importorskip("optax")
    theirs = optax.join_schedules(
        [optax.constant_schedule(0.1), optax.cosine_decay_schedule(0.5, 20), optax.constant_schedule(0.2)], [5, 25]
    )
    ours = Joined([0.1, WarmupCosine(0.5, 20), 0.2], [5, 25])
    expected = [float(theirs(step)) for step in range(30)]
    np.testing.assert_allclose(values(ours, range(30)), expected, rtol=1e-4, atol=1e-8)


def test_delayed_is_nothing_and_then_the_schedule():
    inner = OneCycle(0.5, 20)
    rates = values(Delayed(inner, 7), range(27))
    np.testing.assert_array_equal(rates[:7], 0)
    np.testing.assert_allclose(rates[7:], values(inner, range(20)), rtol=1e-6)


# -- as Keras's own


@pytest.mark.same_everywhere
@each
def test_config_makes_the_same_schedule_again(schedule):
    serialized = json.loads(json.dumps(keras.optimizers.schedules.serialize(schedule)))
    again = keras.optimizers.schedules.deserialize(serialized)
    np.testing.assert_array_equal(values(again, range(50)), values(schedule, range(50)))


def weights_after(optimizer, num_steps):
    """A single weight of gradient 1, so that it moves by the sum of the rates."""
    weight = keras.Variable(np.zeros(2, "float32"), name="weight")
    optimizer.build([weight])
    for _ in range(num_steps):
        optimizer.apply([keras.ops.ones(2)], [weight])
    return keras.ops.convert_to_numpy(weight)[0]


@each
def test_a_stock_optimizer_moves_by_the_sum_of_the_rates(schedule):
    moved = weights_after(keras.optimizers.SGD(schedule), 12)
    assert moved == pytest.approx(-values(schedule, range(12)).sum(), rel=1e-4)


@each
def test_a_groups_own_schedule_multiplies_the_base_rate(schedule):
    body = keras.Variable(np.zeros(2, "float32"), name="body")
    head = keras.Variable(np.zeros(2, "float32"), name="head")
    plan = difflr.Plan([body, head], [(body, {"multiplier": 0.5, "schedule": schedule})])
    optimizer = difflr.optimizers.SGD(WarmupCosine(0.1, 20), multipliers=plan)
    for _ in range(15):
        optimizer.apply([keras.ops.ones(2)] * 2, [body, head])
    base, own = values(WarmupCosine(0.1, 20), range(15)), values(schedule, range(15))
    assert keras.ops.convert_to_numpy(head)[0] == pytest.approx(-base.sum(), rel=1e-4)
    assert keras.ops.convert_to_numpy(body)[0] == pytest.approx(-(0.5 * base * own).sum(), rel=1e-4)


def test_inside_fit_saved_and_loaded(tmp_path):
    body = keras.layers.Dense(4, name="body")
    model = keras.Sequential([keras.Input((3,)), body, keras.layers.Dense(1, name="head")])
    plan = difflr.Plan(model, {"body": Delayed(SlantedTriangular(1.0, 6), 2)})
    model.compile(difflr.optimizers.Adam(OneCycle(0.01, 8), multipliers=plan), loss="mse")
    x, y = np.ones((8, 3), "float32"), np.ones((8, 1), "float32")
    before = keras.ops.convert_to_numpy(body.kernel).copy()
    model.fit(x, y, batch_size=4, epochs=1, verbose=0)  # 2 steps: the body is still delayed
    np.testing.assert_array_equal(before, keras.ops.convert_to_numpy(body.kernel))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for each_model in (model, loaded):
        each_model.fit(x, y, batch_size=4, epochs=2, verbose=0, shuffle=False)
    for ours, theirs in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert difflr.Plan.from_json(model, plan.to_json()) == plan


# -- errors


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SlantedTriangular(0, 10), "`peak_learning_rate` must be above 0"),
        (lambda: SlantedTriangular(0.1, 10.5), "`num_steps` counts optimizer steps"),
        (lambda: SlantedTriangular(0.1, 0), "an integer >= 1. Received: 0"),
        (lambda: SlantedTriangular(0.1, 10, cut_fraction=1.5), "`cut_fraction` must be a number from 0 to 1"),
        (lambda: SlantedTriangular(0.1, 10, ratio=0.5), "`ratio` must be a number >= 1"),
        (lambda: OneCycle(float("nan"), 10), "finite"),
        (lambda: OneCycle(0.1, 10, annealing="cos"), "'cosine' or 'linear'. Received: 'cos'"),
        (lambda: OneCycle(0.1, 10, division_factor=0), "`division_factor` must be a number >= 1"),
        (lambda: WarmupCosine(0.1, 10, warmup_steps=10), "less than `num_steps`"),
        (lambda: WarmupCosine(0.1, 10, floor=2), "`floor` must be a number from 0 to 1"),
        (lambda: Delayed(lambda step: 1.0, 10), "must be a keras.optimizers.schedules"),
        (lambda: Delayed(1.0, 0), "an integer >= 1. Received: 0"),
        (lambda: Joined([0.1, 0.2], []), "2 schedules, boundaries="),
        (lambda: Joined([0.1, 0.2, 0.3], [5, 5]), "one increasing step"),
    ],
)
def test_errors_say_what_was_received(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_nothing_but_schedules_is_restored():
    config = {"schedule": {"module": "keras.layers", "class_name": "Dense", "config": {"units": 1}}, "delay_steps": 1}
    with pytest.raises(ValueError, match="must be a LearningRateSchedule"):
        Delayed.from_config(config)


# -- constants


def test_constant_takes_the_schedule_of_an_earlier_rule_away():
    layers = [keras.layers.Dense(2, name="body"), keras.layers.Dense(1, name="head")]
    model = keras.Sequential([keras.Input((2,)), *layers])
    cosine = WarmupCosine(1.0, 10)
    plan = difflr.Plan(model, {"*": {"multiplier": 0.5, "schedule": cosine}, "head": Constant()})
    assert [row.schedule for row in plan.rows] == [cosine, cosine, None, None]
    assert plan.rows[2].decided["schedule"] == "rule 2: 'head'"
    assert difflr.Plan(model, {"*": Constant()}) == difflr.Plan(model)
    assert len(difflr.Plan(model, {"*": Constant(1.0), "head": Constant(0.5)}).groups) == 2


def test_constant_is_the_same_at_every_step():
    assert list(values(Constant(), [0, 1, 10**6])) == [1, 1, 1]
    assert list(values(Constant(0), [0, 7])) == [0, 0]
    for wrong in (-1, float("nan"), "1", None):
        with pytest.raises(ValueError, match="`learning_rate` must be"):
            Constant(wrong)

"""The picture of rates: what is drawn is what a step would do."""

import keras
import numpy as np
import pytest

import difflr
from difflr import plot_schedule
from difflr.schedules import OneCycle, SlantedTriangular

pytest.importorskip("matplotlib")

pytestmark = pytest.mark.same_everywhere


@pytest.fixture
def axes():
    from matplotlib.figure import Figure

    return Figure().subplots()


@pytest.fixture
def model():
    layers = [keras.layers.Dense(4, name=name) for name in ("stem", "body", "head")]
    return keras.Sequential([keras.Input((3,)), *layers])


def drawn(axes):
    return [np.asarray(line.get_ydata()) for line in axes.lines]


def test_a_schedule_is_one_line_on_the_axes_given(axes):
    schedule = SlantedTriangular(0.5, 50)
    assert plot_schedule(schedule, 50, axes=axes) is axes
    (line,) = drawn(axes)
    expected = [float(keras.ops.convert_to_numpy(schedule(step))) for step in range(50)]
    np.testing.assert_allclose(line, expected, rtol=1e-6)
    assert axes.get_legend() is None


def test_an_optimizer_is_one_line_a_group_with_its_own_schedule_and_without_the_frozen(axes, model):
    own = SlantedTriangular(1.0, 50)
    plan = difflr.Plan(model, {"stem": difflr.FROZEN, "body": {"multiplier": 0.2, "schedule": own}})
    optimizer = difflr.optimizers.AdamW(OneCycle(0.01, 50), multipliers=plan)
    plot_schedule(optimizer, 50, axes=axes)
    body, head = drawn(axes)
    base = np.array([float(keras.ops.convert_to_numpy(OneCycle(0.01, 50)(step))) for step in range(50)])
    factor = np.array([float(keras.ops.convert_to_numpy(own(step))) for step in range(50)])
    np.testing.assert_allclose(head, base, rtol=1e-5)
    np.testing.assert_allclose(body, 0.2 * base * factor, rtol=1e-5)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["body (× 0.2)", "head (× 1)"]
    assert axes.get_yscale() == "linear"


def test_rates_far_apart_get_a_logarithmic_axis(axes, model):
    plan = difflr.Plan(model, {"stem": 0.001})
    plot_schedule(difflr.optimizers.SGD(0.1, multipliers=plan), 10, axes=axes)
    assert axes.get_yscale() == "log"
    assert [line[0] for line in drawn(axes)] == pytest.approx([1e-4, 0.1])


def test_a_line_that_spans_decades_gets_a_logarithmic_axis(axes):
    plot_schedule(keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.3), 100, axes=axes)
    assert axes.get_yscale() == "log"
    axes.clear()
    plot_schedule(difflr.schedules.WarmupCosine(0.1, 100, warmup_steps=5), 100, axes=axes)  # ends at 0
    assert axes.get_yscale() == "linear"


def test_a_stock_optimizer_and_a_long_run(axes):
    plot_schedule(keras.optimizers.SGD(OneCycle(0.1, 10**6)), 10**6, axes=axes)
    assert len(axes.lines[0].get_xdata()) <= 600
    assert axes.lines[0].get_xdata()[-1] == 10**6 - 1


def test_what_is_no_schedule_is_refused_before_anything_is_drawn(axes):
    with pytest.raises(TypeError, match="`schedule` must be a .*, a compiled model or an optimizer"):
        plot_schedule(0.1, 10, axes=axes)
    with pytest.raises(ValueError, match="not built yet"):
        plot_schedule(difflr.optimizers.SGD(0.1, multipliers={"body": 0.1}), 10, axes=axes)
    assert not axes.lines

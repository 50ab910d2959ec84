"""`find_learning_rate`: fastai's suggestions on curves made by hand; what the sweep trains, and that it leaves nothing."""

import keras
import numpy as np
import pytest

import difflr
from choosing.networks import LOSS, assert_unchanged, clusters, network, state_of

pytestmark = pytest.mark.usefixtures("quick_compilation")
X, Y = clusters()
RATES = np.geomspace(1e-7, 10, 100)


def smooth(losses):
    average, found = 0.0, []
    for count, loss in enumerate(losses, 1):
        average += (1 - 0.98) * (loss - average)
        found.append(average / (1 - 0.98**count))
    return found


def fastai_valley(rates, losses):
    """fastai's loops: the longest chain of ever lower losses."""
    best_end = best_start = 0
    chain = [1] * len(losses)
    for i in range(1, len(losses)):
        for j in range(i):
            if losses[i] < losses[j] and chain[i] < chain[j] + 1:
                chain[i] = chain[j] + 1
            if chain[best_end] < chain[i]:
                best_end, best_start = i, i - chain[i]
    section = (best_end - best_start) / 3
    return rates[best_start + int(section) + int(section / 2)]


def fastai_slide(rates, losses):
    gradient = np.gradient(losses)
    right, left = -1, -16
    found = rates[left]
    while left >= -len(losses) and abs(gradient[right] - gradient[left]) > 0.005:
        found, right, left = rates[left], right - 1, left - 1
    return found


def curve(losses, rates=RATES):
    return difflr.LearningRateCurve(list(rates[: len(losses)]), list(losses), len(rates))


CURVES = {
    "a valley": 2.3 - 1.8 * np.exp(-((np.log10(RATES) + 1.5) ** 2)) + 50 * RATES**2,
    "noisy": 2.3 - 1.5 / (1 + np.exp(-3 * (np.log10(RATES) + 3))) + np.random.default_rng(0).normal(size=100) / 10,
    "steep late": np.where(RATES < 1e-2, 2.3, 2.3 - 2 * (np.log10(RATES) + 2)),
    "cut short": (2.3 - 1.8 * np.exp(-((np.log10(RATES) + 1.5) ** 2)) + 50 * RATES**2)[:80],
}


@pytest.mark.same_everywhere
@pytest.mark.parametrize("losses", CURVES.values(), ids=CURVES)
def test_suggestions_are_fastais(losses):
    rates, smoothed = RATES[: len(losses)][10:-5], np.array(smooth(losses))[10:-5]
    found = curve(losses)
    np.testing.assert_allclose(found.smoothed, smooth(losses))
    assert found.valley == pytest.approx(fastai_valley(rates, smoothed))
    assert found.slide == pytest.approx(fastai_slide(rates, smoothed))
    assert found.minimum == pytest.approx(rates[smoothed.argmin()] / 10)
    assert found.steep == pytest.approx(rates[(np.diff(smoothed) / np.diff(np.log(rates))).argmin()])


@pytest.mark.same_everywhere
def test_the_valley_of_a_straight_descent_is_its_middle():
    losses = np.linspace(3, 1, 45)
    found = difflr.LearningRateCurve(list(RATES[:45]), list(losses), 45)
    rates = RATES[4:40]
    assert found.valley == pytest.approx(rates[17])
    assert found.minimum == pytest.approx(rates[-1] / 10)


@pytest.mark.same_everywhere
def test_five_points():
    found = difflr.LearningRateCurve([1e-4, 1e-3, 1e-2, 1e-1, 1.0], [2.0, 1.9, 1.0, 0.5, 40.0], 5)
    assert found.minimum == pytest.approx(1e-2)
    assert 1e-4 <= found.valley <= 1e-1
    assert found.steep == pytest.approx(1e-3)
    assert found.slide in found.rates
    assert "5 of 5 steps" in str(found)


@pytest.mark.same_everywhere
@pytest.mark.parametrize("losses", [[np.nan], [np.nan] * 5, [np.nan] * 100, [1.0], [1.0, np.nan], [2.0] * 30])
def test_a_curve_that_says_nothing(losses):
    found = curve(losses)
    assert found.valley is None
    assert found.steep is None
    assert set(found.suggestions.values()) == {None}
    assert "this curve suggests no rate" in str(found)


@pytest.mark.same_everywhere
@pytest.mark.parametrize("losses", [CURVES["a valley"], [np.nan] * 5, [2.0, 1.0, np.nan]])
def test_it_is_drawn(losses):
    pytest.importorskip("matplotlib")
    axes = curve(losses).plot()
    assert axes.get_xscale() == "log"
    assert len(axes.lines) == 1 + sum(rate is not None for rate in curve(losses).suggestions.values())


# -- the sweep


def found(model, **arguments):
    return difflr.find_learning_rate(model, X, Y, **{"loss": LOSS, "num_steps": 12, "lowest": 1e-4, **arguments})


@pytest.mark.same_everywhere
def test_nothing_is_left_and_two_calls_agree(eager_steps):
    model = network()
    before = state_of(model)
    first = found(model)
    assert_unchanged(before, model)
    assert found(model) == first
    assert first.rates[0] == pytest.approx(1e-4)
    assert first.rates[1] / first.rates[0] == pytest.approx(1e5 ** (1 / 11))


def test_the_losses_are_those_of_steps_at_these_rates(eager_steps):
    """By hand: the same steps of a stock optimizer."""
    model = network(norm=False, dropout=0)
    curve = found(model, optimizer=keras.optimizers.SGD(123.0), batch_size=96, highest=1.0)
    model.compile(keras.optimizers.SGD(0.0), LOSS)
    expected = []
    for rate in curve.rates:
        model.optimizer.learning_rate = rate
        expected.append(float(model.train_on_batch(X, Y)))
    np.testing.assert_allclose(curve.losses, expected, rtol=1e-4)


class Spy(keras.optimizers.SGD):
    """Notes who is updated."""

    seen = []

    def update_step(self, gradient, variable, learning_rate):
        Spy.seen.append(variable.path if hasattr(variable, "path") else variable.name)
        super().update_step(gradient, variable, learning_rate)


@pytest.mark.same_everywhere
def test_one_group_at_a_time(eager_steps):
    model = network()
    Spy.seen.clear()
    found(model, target="block", optimizer=Spy(), num_steps=2)
    assert Spy.seen
    assert all("block" in path for path in Spy.seen)
    with pytest.raises(ValueError, match="block"):
        found(model, target="blokc")
    with pytest.raises(ValueError, match="all of it is frozen"):
        found(model, target="block", plan=difflr.Plan(model, {"block": difflr.FROZEN}))


@pytest.mark.same_everywhere
def test_it_stops_where_the_loss_explodes(eager_steps):
    model = network(norm=False)
    curve = found(model, highest=1e6, num_steps=30, optimizer="sgd")
    assert len(curve.losses) < 30
    before = state_of(model)
    assert len(difflr.find_learning_rate(model, X * np.nan, Y, loss=LOSS).losses) == 1
    assert_unchanged(before, model)


@pytest.mark.same_everywhere
def test_under_mixed_float16_with_accumulated_gradients(eager_steps):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = network()
    finally:
        keras.config.set_dtype_policy("float32")
    before = state_of(model)
    optimizer = keras.optimizers.Adam(gradient_accumulation_steps=2)
    curve = found(model, optimizer=optimizer, num_steps=4, highest=1e-2)
    assert len(curve.losses) == 4
    assert_unchanged(before, model)


@pytest.mark.same_everywhere
def test_what_it_is_not_given():
    model = network()
    with pytest.raises(ValueError, match="a `loss` is needed"):
        difflr.find_learning_rate(model, X, Y)
    with pytest.raises(ValueError, match="`highest` must be above `lowest`"):
        found(model, lowest=1.0, highest=0.1)
    with pytest.raises(ValueError, match="the same length"):
        difflr.find_learning_rate(model, X, Y[:3], loss=LOSS)
    with pytest.raises(TypeError, match="must be a difflr.Plan"):
        found(model, plan={"head": 1})

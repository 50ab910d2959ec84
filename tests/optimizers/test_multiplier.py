"""A multiplier m: the variable moves exactly as with a stock optimizer of rate m × base, the others as before."""

import numpy as np
import pytest

from optimizers.steps import (
    BASE,
    NAMES,
    ONE_SETTING,
    SETTINGS,
    SLOW,
    assert_all_differ,
    assert_same,
    knows,
    new_variables,
    ours,
    product,
    slow_half,
    stock,
    stock_values,
    train,
    values,
)


def references(name, **settings):
    """The values after training with the stock optimizer at the base rate, and at the slow one."""
    return [stock_values(name, rate, **settings) for rate in (product(BASE, 1.0), product(BASE, SLOW))]


@pytest.mark.same_everywhere(but=ONE_SETTING)
@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("name", NAMES)
def test_slow_half_moves_as_with_a_slow_optimizer(name, setting):
    variables = new_variables()
    got = train(ours(name, slow_half(variables), **SETTINGS[setting]), variables)
    at_base, at_slow = references(name, **SETTINGS[setting])
    assert_all_differ(at_base, at_slow)
    assert_same(got[:2], at_base[:2])
    assert_same(got[2:], at_slow[2:])


@pytest.mark.same_everywhere
@pytest.mark.parametrize("name", NAMES)
def test_every_variable_its_own(name):
    multipliers = [0.3, 1.0, 2.5, 0.01]
    variables = new_variables()
    got = train(ours(name, list(zip(variables, multipliers, strict=True))), variables)
    for position, multiplier in enumerate(multipliers):
        alone = stock_values(name, product(BASE, multiplier))
        assert_same([got[position]], [alone[position]])


def numbers_of_the_whole(optimizer):
    """The positions of what is one number for all variables: the step, the rate, Nadam's product of momenta."""
    return [number for number, variable in enumerate(optimizer.variables) if variable.shape == ()]


def with_more_than_step_and_rate():
    found = []
    for name in NAMES:
        optimizer = stock(name)
        optimizer.build(new_variables())
        found += [name] if len(numbers_of_the_whole(optimizer)) > 2 else []
    return found


@pytest.mark.parametrize("name", with_more_than_step_and_rate())
def test_state_of_the_optimizer_as_a_whole_advances_once_a_step(name):
    """However many groups there are."""
    variables = new_variables()
    optimizer, reference = ours(name, list(zip(variables, [1.0, 0.5, 0.1, 2.0], strict=True))), stock(name)
    train(optimizer, variables)
    train(reference, new_variables())
    whole = numbers_of_the_whole(reference)
    got, expected = values(optimizer.variables), values(reference.variables)
    assert_same([got[number] for number in whole], [expected[number] for number in whole])


def test_nadam_has_such_a_state():
    assert "Nadam" in with_more_than_step_and_rate()


@pytest.mark.skipif(not knows("Muon", "adam_weight_decay"), reason="an older Keras")
def test_muon_scales_both_its_updates():
    """Matrices are orthogonalised, vectors go to Adam at `adam_lr_ratio` times the rate."""
    settings = {"adam_lr_ratio": 0.3, "weight_decay": 0.2, "adam_weight_decay": 0.1}
    variables = new_variables()
    optimizer = ours("Muon", slow_half(variables), **settings)
    got = train(optimizer, variables)
    at_base, at_slow = references("Muon", **settings)
    assert_same(got, at_base[:2] + at_slow[2:])
    assert [velocity is None for velocity in optimizer.adam_velocities] == [True, False, True, False]


@pytest.mark.skipif(not knows("ScheduleFreeAdamW"), reason="an older Keras")
@pytest.mark.parametrize("warmup_steps", [0, 3])
def test_schedule_free_scales_the_rate_behind_its_averages(warmup_steps):
    variables = new_variables()
    got = train(ours("ScheduleFreeAdamW", slow_half(variables), warmup_steps=warmup_steps), variables)
    at_base, at_slow = references("ScheduleFreeAdamW", warmup_steps=warmup_steps)
    assert_same(got, at_base[:2] + at_slow[2:])


@pytest.mark.parametrize("relative_step", [True, False])
def test_adafactor_is_not_linear_and_as_documented(relative_step):
    """At a base rate above 1 / sqrt(step) the multiplier shows only once the product is the smaller one."""
    moved = {}
    for multiplier in (1.0, 0.9, 0.1):
        variables = new_variables()
        start = values(variables)
        optimizer = ours(
            "Adafactor", list(zip(variables, [multiplier] * 4, strict=True)), 2.0, relative_step=relative_step
        )
        moved[multiplier] = np.abs(train(optimizer, variables, steps=1)[0] - start[0]).mean()
    assert moved[1.0] == moved[0.9]
    np.testing.assert_allclose(moved[0.1] / moved[1.0], 0.2, rtol=1e-4)


@pytest.mark.parametrize("multiplier", [1e-6, 1e-3, 3.0, 1000.0])
def test_adam_steps_are_in_the_ratio(multiplier):
    """The multiplier multiplies the rate, never the gradient, which Adam would divide by itself again."""
    variables = new_variables()
    for variable in variables:
        variable.assign(variable * 0.0)
    got = train(ours("Adam", slow_half(variables, multiplier)), variables, steps=1)
    for value, factor in zip(got, [1, 1, multiplier, multiplier], strict=True):
        np.testing.assert_allclose(np.abs(value), BASE * factor, rtol=1e-4)

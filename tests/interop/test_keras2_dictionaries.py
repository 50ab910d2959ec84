"""keras-lr-multiplier and keras-adamw: dictionaries of weights' names, each with its own precedence."""

import keras
import numpy as np
import pytest

import difflr
from difflr.interop import from_keras_adamw, from_lr_multiplier


def model_of_three():
    inputs = keras.Input((4,))
    inner = keras.Sequential([keras.layers.Dense(4, name="dense_1")], name="inner")
    features = keras.layers.Dense(4, name="dense_10")(inner(inputs))
    return keras.Model(inputs, keras.layers.Dense(2, name="output")(features))


def multipliers(translation):
    return {row.path: row.multiplier for row in translation.plan.rows}


@pytest.mark.same_everywhere
def test_lr_multiplier_takes_the_longest_beginning_of_a_name():
    """By Keras 2's names, `dense_1/kernel:0`, of which the layers around a layer are no part."""
    keys = {"dense_10": 0.1, "dense_1": 0.3, "output/bias:0": 4.0}
    assert multipliers(from_lr_multiplier(keys, model_of_three())) == {
        "inner/dense_1/kernel": 0.3,
        "inner/dense_1/bias": 0.3,
        "dense_10/kernel": 0.1,
        "dense_10/bias": 0.1,
        "output/kernel": 1.0,
        "output/bias": 4.0,
    }
    assert multipliers(from_lr_multiplier({"inner": 0.5}, model_of_three()))["inner/dense_1/bias"] == 0.5


@pytest.mark.same_everywhere
def test_lr_multiplier_hides_a_key_that_is_never_the_longest():
    with pytest.warns(
        UserWarning, match="1 of 3 settings from keras-lr-multiplier have no effect on the model: 'dense_'"
    ):
        translation = from_lr_multiplier({"dense_1": 0.1, "dense_": 0.2, "dense_10": 0.3}, model_of_three())
    assert translation.unmatched == ("dense_",)


@pytest.mark.same_everywhere
def test_lr_multiplier_over_time():
    schedule = keras.optimizers.schedules.ExponentialDecay(1.0, 10, 0.5)
    plan = from_lr_multiplier({"output": schedule}, model_of_three()).plan
    assert [row.schedule for row in plan.rows] == [None] * 4 + [schedule] * 2
    with pytest.raises(ValueError, match="multiplier of 'output' is a function of the step"):
        from_lr_multiplier({"output": lambda step: 1.0}, model_of_three())


@pytest.mark.same_everywhere
@pytest.mark.filterwarnings("ignore:__array__ implementation")  # `pytest.warns` lets Keras's through as the test's own
def test_adamw_takes_the_first_part_of_a_name():
    with pytest.warns(UserWarning, match="'lr dense_10'"):
        translation = from_keras_adamw(model_of_three(), lr_multipliers={"dense_1": 0.1, "dense_10": 0.2, "bias": 0.3})
    assert list(multipliers(translation).values()) == [0.1, 0.1, 0.1, 0.1, 1.0, 0.3]


def test_adamw_decay_is_a_part_of_the_weight_whatever_the_rates():
    """From zero gradients: Adam then moves nothing."""
    model = model_of_three()
    decays = {"dense_1/kernel:0": (0, 0.04), "output/kernel:0": 0.02}
    translation = from_keras_adamw(
        model, learning_rate=0.01, lr_multipliers={"output": 0.1}, weight_decays=decays, total_iterations=16
    )
    before = [keras.ops.convert_to_numpy(v) for v in model.trainable_variables]
    zeros = [keras.ops.zeros(v.shape) for v in model.trainable_variables]
    translation.optimizer.apply(zeros, model.trainable_variables)
    kept = [1 - 0.04 / 4, 1, 1, 1, 1 - 0.02 / 4, 1]
    for variable, start, factor in zip(model.trainable_variables, before, kept, strict=True):
        np.testing.assert_allclose(keras.ops.convert_to_numpy(variable), start * factor, rtol=1e-6)


@pytest.mark.same_everywhere
def test_adamw_without_decay_and_with_l1():
    model = model_of_three()
    translation = from_keras_adamw(model, lr_multipliers={"output": 0.1}, weight_decays={"output/kernel:0": 0.1})
    assert translation.optimizer.weight_decay == 0
    assert {row.weight_decay_multiplier for row in translation.plan.rows} == {1.0}
    with pytest.raises(ValueError, match="no L1 decay"):
        from_keras_adamw(model, weight_decays={"output/kernel:0": (0.1, 0)}, total_iterations=9)
    assert isinstance(translation.optimizer, difflr.optimizers.AdamW)

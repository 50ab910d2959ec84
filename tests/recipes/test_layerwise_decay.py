"""`layerwise_decay`: its range, its warnings, how it composes, and how far weights move under it."""

import keras
import numpy as np
import pytest

import difflr
from recipes.trained import as_if_trained

# `pytest.warns` hands on what it does not expect as if it came from pytest; pyproject.toml says what this one is.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")


def network(num_blocks=3, width=4, **arguments):
    layers = [keras.layers.Dense(width, name=f"block_{number}", **arguments) for number in range(num_blocks)]
    return keras.Sequential([keras.Input((width,)), *layers, keras.layers.Dense(2, name="head")])


def multipliers(plan):
    return {row.path.split("/")[0]: row.multiplier for row in plan.rows}


def test_the_deeper_the_slower():
    plan = difflr.layerwise_decay(as_if_trained(network()), 0.5)
    assert multipliers(plan) == {"block_0": 0.125, "block_1": 0.25, "block_2": 0.5, "head": 1.0}
    assert plan.rows[0].decided == {"multiplier": "layerwise_decay: height 3"}


def test_the_weights_move_by_their_multipliers():
    """Under SGD with equal gradients; a frozen block does not move at all."""
    model = as_if_trained(network())
    plan = difflr.layerwise_decay(model, 0.5, freeze_below=0.2)
    optimizer = difflr.optimizers.SGD(1.0, multipliers=plan)
    trainable = model.trainable_variables
    optimizer.build(trainable)
    before = {row.path: keras.ops.convert_to_numpy(row.variable) for row in plan.rows}
    optimizer.apply([keras.ops.ones(variable.shape) for variable in trainable], trainable)
    for row in plan.rows:
        moved = before[row.path] - keras.ops.convert_to_numpy(row.variable)
        expected = {"block_0": 0, "block_1": 0.25, "block_2": 0.5, "head": 1}[row.path.split("/")[0]]
        np.testing.assert_allclose(moved, expected, rtol=1e-6)


def test_it_never_undoes_a_rule_about_decay_and_the_order_does_not_matter():
    model = as_if_trained(network())
    rates, decay = difflr.layerwise_decay(model, 0.5), difflr.no_decay(model)
    both = rates * decay
    assert both == decay * rates
    assert multipliers(both) == multipliers(rates)
    assert [row.weight_decay_multiplier for row in both.rows] == [1, 0] * 4


def test_a_depth_function():
    depths = {"block_0": 0, "block_1": 0, "block_2": 5, "head": None}
    plan = difflr.layerwise_decay(as_if_trained(network()), 0.5, depth=lambda path: depths[path.split("/")[0]])
    assert multipliers(plan) == {"block_0": 0.25, "block_1": 0.25, "block_2": 0.5, "head": 1.0}
    with pytest.raises(ValueError, match=r"integer.*Received: 'x' for 'block_0/kernel'"):
        difflr.layerwise_decay(network(), 0.5, depth=lambda path: "x")


def test_what_the_user_froze_stays_frozen():
    model = as_if_trained(network())
    model.layers[1].trainable = False
    plan = difflr.layerwise_decay(model, 0.5)
    assert multipliers(plan) == {"block_0": 0.125, "block_1": 0, "block_2": 0.5, "head": 1.0}


def test_what_a_layer_declares_counts_only_where_no_rule_speaks():
    inputs = keras.Input((4,))
    x = difflr.layers.Dense(4, learning_rate_multiplier=0.1, name="body")(inputs)
    model = as_if_trained(keras.Model(inputs, keras.layers.Dense(2, name="head")(x)))
    rates, decay = difflr.layerwise_decay(model, 0.5), difflr.no_decay(model)
    assert multipliers(rates * decay) == multipliers(decay * rates) == {"body": 0.5, "head": 1.0}
    assert multipliers(decay * decay) == {"body": 0.1, "head": 1.0}


@pytest.mark.parametrize("rate", [0, -0.5, 1.5, float("nan"), "0.75"])
def test_a_rate_out_of_range(rate):
    with pytest.raises(ValueError, match="`decay_rate` must be"):
        difflr.layerwise_decay(network(), rate)


def test_a_floor_above_the_head():
    with pytest.raises(ValueError, match=r"`minimum_multiplier` must be in \[0, 1\]"):
        difflr.layerwise_decay(network(), 0.5, minimum_multiplier=2)


def test_a_model_that_is_not_built():
    with pytest.raises(ValueError, match="is not built"):
        difflr.layerwise_decay(keras.Sequential([keras.layers.Dense(3)]), 0.5)


def test_a_fresh_model_is_warned_about():
    with pytest.warns(UserWarning, match=r"looks freshly initialized: all 3 biases"):
        difflr.layerwise_decay(network(), 0.5)


def test_fresh_norms_are_warned_about():
    inputs = keras.Input((4,))
    x = keras.layers.BatchNormalization()(keras.layers.Dense(4, use_bias=False)(inputs))
    model = keras.Model(inputs, keras.layers.Dense(2)(x))
    with pytest.warns(UserWarning, match="freshly initialized"):
        difflr.layerwise_decay(model, 0.5)


def test_one_step_of_training_is_enough_not_to_be_fresh():
    model = network()
    model.compile("sgd", loss="mse")
    model.train_on_batch(np.ones((2, 4)), np.ones((2, 2)))
    difflr.layerwise_decay(model, 0.5)


def test_without_biases_and_norms_nothing_is_said():
    difflr.layerwise_decay(network(use_bias=False), 0.5)


class Opaque(keras.layers.Layer):
    """Twenty layers, of which neither graph nor names tell anything."""

    def __init__(self):
        super().__init__()
        self.parts = [keras.layers.Dense(4, name=f"{chr(97 + number)}_part") for number in range(20)]

    def build(self, shape):
        for part in self.parts:
            part.build(shape)

    def call(self, inputs):
        for part in self.parts:
            inputs = part(inputs)
        return inputs


def test_degenerate_depth_is_warned_about():
    inputs = keras.Input((4,))
    x = Opaque()(keras.layers.Dense(4)(inputs))
    model = as_if_trained(keras.Model(inputs, keras.layers.Dense(2)(x)))
    with pytest.warns(UserWarning, match=r"Most of .* is in one depth group, 'opaque'"):
        difflr.layerwise_decay(model, 0.5)


def test_one_group_is_warned_about():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    with pytest.warns(UserWarning, match="has no effect"):
        difflr.layerwise_decay(model, 0.5)

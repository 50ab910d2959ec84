"""`head_and_backbone`, `surgical`, `bias_double` and `no_decay`."""

import keras
import pytest

import difflr
from difflr.plan.freezing import freeze


@pytest.fixture
def model():
    inputs = keras.Input((4,))
    x = inputs
    for number in range(3):
        x = keras.layers.Dense(4, name=f"block_{number}")(x)
        x = keras.layers.LayerNormalization(name=f"norm_{number}")(x)
    return keras.Model(inputs, keras.layers.Dense(2, name="head")(x))


def trainable(plan):
    return {row.path for row in plan.rows if not row.frozen}


def test_head_and_backbone(model):
    plan = difflr.head_and_backbone(model, 0.1)
    assert {row.path.startswith("head"): row.multiplier for row in plan.rows} == {True: 1, False: 0.1}
    assert plan == difflr.Plan(model, {"*": 0.1, "kind:head": 1.0})


def test_head_only(model):
    plan = difflr.head_and_backbone(model, 0)
    assert plan == difflr.Plan(model, {"*": difflr.FROZEN, "kind:head": {"frozen": False}})
    freeze(plan)
    assert [variable.path for variable in model.trainable_variables] == ["head/kernel", "head/bias"]


def test_a_head_named_by_hand(model):
    plan = difflr.head_and_backbone(model, 0.1, head="norm_2")
    assert {row.path.split("/")[0] for row in plan.rows if row.multiplier == 1} == {"norm_2", "head"}
    with pytest.raises(ValueError, match="'head/bias', which covers only part of a layer"):
        difflr.head_and_backbone(model, 0.1, head="head/bias")
    with pytest.raises(ValueError, match="Did you mean 'head'"):
        difflr.head_and_backbone(model, 0.1, head="heads")


def test_a_head_that_is_all_there_is():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    with pytest.raises(ValueError, match="no head separate from its backbone"):
        difflr.head_and_backbone(model, 0.1)


def test_statistics_of_frozen_layers_are_kept():
    inputs = keras.Input((4,))
    x = keras.layers.BatchNormalization(scale=False, center=False, name="norm")(keras.layers.Dense(4)(inputs))
    model = keras.Model(inputs, keras.layers.Dense(2)(x))
    norm = model.get_layer("norm")
    assert difflr.head_and_backbone(model, 0).kept_statistics() == [norm]
    assert difflr.head_and_backbone(model, 0.1).kept_statistics() == []
    assert difflr.surgical(model, -1).kept_statistics() == [norm]


def test_surgical(model):
    first = {"block_0/kernel", "block_0/bias", "norm_0/gamma", "norm_0/beta"}
    head = {"head/kernel", "head/bias"}
    assert trainable(difflr.surgical(model, 0)) == first
    assert trainable(difflr.surgical(model, "block_0 to norm_0")) == first
    assert trainable(difflr.surgical(model, 0, with_head=True)) == first | head
    assert trainable(difflr.surgical(model, -1)) == head
    assert trainable(difflr.surgical(model, model.get_layer("block_1"))) == {"block_1/kernel", "block_1/bias"}


def test_a_block_that_is_not_there(model):
    with pytest.raises(ValueError, match=r"No block matches 'block_7'\. Did you mean .*'block_"):
        difflr.surgical(model, "block_7")
    with pytest.raises(ValueError, match=r"must be in -4 \.\.\. 3: the model has 4 groups"):
        difflr.surgical(model, 4)


def test_bias_double(model):
    plan = difflr.bias_double(model)
    assert plan == difflr.Plan(model, {"kind:bias": {"multiplier": 2.0, "weight_decay_multiplier": 0.0}})


def test_no_decay(model):
    plan = difflr.no_decay(model)
    assert [row.path for row in plan.rows if row.weight_decay_multiplier] == [
        "block_0/kernel", "block_1/kernel", "block_2/kernel", "head/kernel",
    ]  # fmt: skip
    assert {row.multiplier for row in plan.rows} == {1}
    also = difflr.no_decay(model, also="block_0")
    assert next(row.path for row in also.rows if row.weight_decay_multiplier) == "block_1/kernel"


def test_no_decay_leaves_rank_two_biases_out_too():
    inputs = keras.Input((3, 4))
    model = keras.Model(inputs, keras.layers.MultiHeadAttention(2, 2)(inputs, inputs))
    kept = {row.path.split("/")[-1] for row in difflr.no_decay(model).rows if row.weight_decay_multiplier}
    assert kept == {"kernel"}


def test_nothing_to_exclude():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, use_bias=False)])
    with pytest.raises(ValueError, match=r"'kind:no_decay' matches .* Kinds in this model: kind:kernel\. "):
        difflr.no_decay(model)
    with pytest.raises(ValueError, match="'kind:bias' matches no trainable variable"):
        difflr.bias_double(model)


def test_products_do_not_depend_on_the_order(model):
    plans = [difflr.head_and_backbone(model, 0.1), difflr.bias_double(model), difflr.no_decay(model)]
    product = plans[0] * plans[1] * plans[2]
    assert product == plans[2] * plans[1] * plans[0]
    assert product.row(model.get_layer("block_0").bias).multiplier == pytest.approx(0.2)
    assert product.row(model.get_layer("block_0").bias).weight_decay_multiplier == 0

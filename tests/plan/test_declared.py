import gc
import weakref

import keras
import pytest

import difflr
from difflr.plan.declared import declared_multipliers
from difflr.plan.freezing import freeze


def built(**declared):
    layer = difflr.layers.Dense(2, name="d", **declared)
    layer.build((None, 3))
    return layer


def test_positions_multipliers_and_layers():
    layer, other = built(b_learning_rate_multiplier=0.5), built(learning_rate_multiplier=0.25)
    assert declared_multipliers([None, layer.kernel, layer.bias]) == {2: (0.5, "d")}
    assert declared_multipliers([other.bias, layer.bias]) == {0: (0.25, "d"), 1: (0.5, "d")}
    assert declared_multipliers([]) == {}


def test_layers_are_not_kept_alive():
    layer = built(learning_rate_multiplier=0.5)
    there = weakref.ref(layer)
    del layer
    gc.collect()
    assert there() is None


def test_layers_that_agree_about_a_shared_weight():
    inner = difflr.layers.Dense(2, name="inner", learning_rate_multiplier=0.5)
    outer = difflr.layers.TimeDistributed(inner, name="outer", learning_rate_multiplier=0.5)
    model = keras.Sequential([keras.Input((3, 4)), outer])
    assert [row.multiplier for row in difflr.Plan(model).rows] == [0.5, 0.5]


def test_layers_that_disagree_are_named_with_the_variable():
    inner = difflr.layers.Dense(2, name="inner", W_learning_rate_multiplier=0.5)
    outer = difflr.layers.TimeDistributed(inner, name="outer", learning_rate_multiplier=0.1)
    model = keras.Sequential([keras.Input((3, 4)), outer])
    with pytest.raises(ValueError, match=r"the variable .*kernel: 'inner' declares 0\.5, 'outer' declares 0\.1"):
        difflr.Plan(model)


def test_rules_come_after_declarations_and_need_not_cover_them():
    model = keras.Sequential([keras.Input((3,)), difflr.layers.Dense(2, name="d", learning_rate_multiplier=0.0)])
    plan = difflr.Plan(model, {"d/kernel": 0.5})
    assert [(row.multiplier, row.frozen) for row in plan.rows] == [(0.5, False), (0.0, True)]
    assert plan.rows[1].decided["frozen"] == "declared by layer 'd'"
    freeze(plan)
    assert [variable.name for variable in model.trainable_variables] == ["kernel"]


def test_products_keep_numbers_where_a_declaration_gives_way():
    layer = built(learning_rate_multiplier=0.5)
    declared, ruled = difflr.Plan(layer), difflr.Plan(layer, {"kernel": 0.25})
    product = (4 * declared) * ruled
    assert [row.multiplier for row in product.rows] == [4 * 0.25, 4 * 0.5]
    assert product == 4 * (declared * ruled) == ruled * (declared * 4)
    assert product.rows[0].decided["multiplier"] == "* 4 * rule 1: 'kernel'"

"""Depth, read off the graph of a model."""

import keras
import pytest

from difflr.recipes import depth_groups


def names(model, **arguments):
    return [group.name for group in depth_groups(model, **arguments)]


def test_every_variable_is_in_one_group_and_the_head_is_the_last():
    model = keras.applications.ResNet50(weights=None, input_shape=(32, 32, 3), classes=3)
    groups = depth_groups(model)
    assert [group.height for group in groups] == list(range(17, -1, -1))
    assert groups[-1].name == "head"
    assert groups[-1].paths == ("predictions/kernel", "predictions/bias")
    inside = [id(variable) for group in groups for variable in group.variables]
    assert sorted(inside) == sorted(map(id, model.trainable_variables))
    assert sum(group.num_parameters for group in groups) == sum(v.numpy().size for v in model.trainable_variables)


def test_without_a_head():
    model = keras.applications.ResNet50(weights=None, input_shape=(32, 32, 3), include_top=False)
    with pytest.raises(ValueError, match=r"seems to have no head: .*BatchNormalization.*head=None"):
        depth_groups(model)
    assert names(model, head=None)[-1] == "conv5_block3"

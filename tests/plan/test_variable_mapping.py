import keras
import pytest

import difflr


@pytest.fixture
def layer():
    layer = keras.layers.Dense(2, name="d")
    layer.build((None, 3))
    return layer


def test_variables_are_told_apart_by_identity(layer):
    mapping = difflr.VariableMapping([(layer.kernel, 0.1), (layer.bias, 0.2)])
    assert mapping[layer.kernel] == 0.1
    assert len(mapping) == 2
    assert layer.bias in mapping
    assert [variable is layer.kernel for variable in mapping] == [True, False]
    assert list(mapping.values()) == [0.1, 0.2]
    assert repr(mapping) == "{d/kernel: 0.1, d/bias: 0.2}"
    assert mapping == difflr.VariableMapping(mapping)
    assert mapping != difflr.VariableMapping([(layer.kernel, 0.1)])


def test_errors(layer):
    with pytest.raises(TypeError, match=r"keys of a VariableMapping are Keras variables"):
        difflr.VariableMapping({"kernel": 0.1})
    with pytest.raises(KeyError, match=r"d/bias is not in this mapping, which contains: d/kernel"):
        difflr.VariableMapping([(layer.kernel, 0.1)])[layer.bias]

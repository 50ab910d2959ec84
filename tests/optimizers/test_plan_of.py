"""The plan of models with optimizers of their own."""

import keras
import pytest

import difflr
from difflr.optimizers import SGD, Adam

pytestmark = pytest.mark.same_everywhere


class Pair(keras.Model):
    """Two networks, as in a GAN."""

    def __init__(self):
        super().__init__()
        self.generator, self.judge = keras.layers.Dense(3, name="generator"), keras.layers.Dense(1, name="judge")
        self(keras.ops.ones((1, 4)))

    def call(self, x):
        return self.judge(self.generator(x))


@pytest.mark.parametrize("own", [lambda a, b: [a, b], lambda a, b: {"one": a, "two": b}, lambda a, b: a])
@pytest.mark.parametrize("arguments", [{}, {"optimizer": None}])
def test_it_is_asked_which(own, arguments):
    model = Pair()
    model.own = own(Adam(), SGD())
    model.compile(**arguments)
    with pytest.raises(ValueError, match="is trained by the optimizers in own. Name the one"):
        difflr.plan_of(model)


def test_each_trains_its_part():
    model = Pair()
    optimizer = Adam(multipliers=0.3)
    assert [row.multiplier for row in difflr.plan_of(model, optimizer).rows] == [0.3] * 4
    optimizer.build(model.generator.trainable_variables)
    found = difflr.plan_of(model, optimizer)
    assert [(row.variable.path, row.multiplier) for row in found.rows] == [
        (variable.path, 0.3) for variable in model.generator.variables
    ]


@pytest.mark.parametrize("optimizer", ["adam", 0.1, Adam])
def test_what_is_no_optimizer(optimizer):
    with pytest.raises(TypeError, match="`optimizer` must be a Keras optimizer"):
        difflr.plan_of(Pair(), optimizer)


@pytest.mark.parametrize("model", [None, "model", 3])
def test_what_is_no_model(model):
    with pytest.raises(TypeError, match="Received"):
        difflr.plan_of(model)

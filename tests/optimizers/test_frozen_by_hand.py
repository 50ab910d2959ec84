"""`trainable = False` and `True` by hand, before, between and after plans: what moves is what the plan says, or an error."""

import keras
import numpy as np
import pytest

import difflr
from difflr.optimizers import SGD
from difflr.plan.freezing import freeze as freeze_as_planned
from optimizers.steps import chain, fit

X, Y = np.random.default_rng(0).normal(size=(8, 4)).astype("float32"), np.ones((8, 2), "float32")
BODY = "body"


def network():
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(5, name=name) for name in (BODY, "mid")]
    return keras.Sequential([keras.Input((4,)), *layers, keras.layers.Dense(2, name="head")])


def compiled(model, optimizer):
    model.compile(optimizer, loss="mse")
    return model


def moved(model, callbacks=(), epochs=1):
    """How far the weights of each layer move."""
    before = {layer.name: layer.get_weights() for layer in model.layers}
    model.fit(X, Y, epochs=epochs, verbose=0, callbacks=list(callbacks))
    return {
        layer.name: max(np.abs(a - b).max() for a, b in zip(before[layer.name], layer.get_weights(), strict=True))
        for layer in model.layers
    }


def freeze(model, value=False):
    model.get_layer(BODY).trainable = value


@pytest.mark.parametrize("compile_first", [False, True])
def test_frozen_after_the_plan_gave_it_a_rate(compile_first):
    model = network()
    optimizer = SGD(0.1, multipliers=difflr.Plan(model, {BODY: 0.1}))
    steps = [lambda: freeze(model), lambda: compiled(model, optimizer)]
    for step in reversed(steps) if compile_first else steps:
        step()
    with pytest.raises(
        ValueError, match=r"assigns a rate to body/kernel, body/bias, which was set to `trainable = False` after"
    ):
        moved(model)
    compiled(model, SGD(0.1, multipliers=difflr.Plan(model, {"mid": 0.1})))
    assert moved(model)[BODY] == 0


@pytest.mark.same_everywhere
def test_phases_leave_alone_what_was_frozen_since():
    model = compiled(network(), difflr.optimizers.Adam(0.1))
    moved(model)
    freeze(model)
    compiled(model, model.optimizer)
    phases = difflr.PhaseScheduler([difflr.Phase("head", epochs=1), difflr.Phase("*")])
    after = moved(model, [phases], epochs=3)
    assert after[BODY] == 0
    assert min(after["mid"], after["head"]) > 0.01
    assert model.optimizer.plan.rows[0].decided["frozen"] == "layer.trainable = False"


@pytest.mark.same_everywhere
def test_phases_leave_alone_what_a_callback_freezes():
    model = compiled(network(), difflr.optimizers.Adam(0.1))
    phases = difflr.PhaseScheduler([difflr.Phase("head", epochs=1), difflr.Phase("*")])
    hand = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: freeze(model))
    after = moved(model, [hand, phases], epochs=3)
    assert after[BODY] == 0
    assert after["mid"] > 0.01


def test_what_the_user_froze_after_a_plan_did_is_the_users():
    model = network()
    compiled(model, SGD(0.1, multipliers=difflr.Plan(model, {BODY: difflr.FROZEN})))
    freeze(model)
    plan = difflr.Plan(model, {"head": 0.5})
    assert plan.rows[0].decided["frozen"] == "layer.trainable = False"
    assert moved(compiled(model, SGD(0.1, multipliers=plan)))[BODY] == 0


@pytest.mark.parametrize("layer", [keras.layers.Dense(4, name="adapted"), keras.layers.Embedding(5, 4, name="adapted")])
def test_lora_keeps_what_an_earlier_plan_froze(layer):
    layer.build((None, 4))
    base = layer.trainable_variables[0]
    freeze_as_planned(difflr.Plan(layer, {layer: difflr.FROZEN}))
    layer.enable_lora(2)
    plan = difflr.Plan(layer, {"*lora*": 2.0})
    freeze_as_planned(plan)
    assert plan.row(base).frozen
    assert not base.trainable
    assert [row.multiplier for row in plan.rows if "lora" in row.path] == [2, 2]


@pytest.mark.same_everywhere
def test_thawed_after_the_plan_was_made():
    model = network()
    freeze(model)
    compiled(model, SGD(0.1, multipliers=difflr.Plan(model, {"mid": 0.5})))
    moved(model)
    freeze(model, True)
    compiled(model, model.optimizer)
    with pytest.raises(ValueError, match=r"`trainable = True` was set on body|4 variables are trainable"):
        moved(model)
    model = network()  # after an error in `fit` Keras has lost the weights on JAX
    freeze(model)
    freeze(model, True)
    assert moved(compiled(model, SGD(0.1, multipliers=difflr.Plan(model))))[BODY] > 0


@pytest.mark.same_everywhere
def test_another_one_is_frozen_than_when_the_optimizer_was_built():
    """JAX's `fit` gives the optimizer arrays, which say nothing of whose they are."""
    model = network()
    freeze(model)
    compiled(model, SGD(0.1, multipliers=difflr.Plan(model, {"mid": 0.001})))
    moved(model)
    freeze(model, True)
    model.get_layer("mid").trainable = False
    compiled(model, model.optimizer)
    with pytest.raises(ValueError, match="`trainable = True` was set on body|built for other variables: mid/kernel"):
        moved(model)


def test_nothing_is_frozen_by_a_plan_that_is_refused():
    model = compiled(network(), SGD(0.1, multipliers=0.0))
    with pytest.raises(ValueError, match="freezes all 6 variables"):
        moved(model)
    assert len(model.trainable_variables) == 6
    compiled(model, SGD(0.1, multipliers=difflr.Plan(model, {"*": difflr.FROZEN})))
    # TensorFlow's `fit` warns by itself, and warnings are errors here.
    with pytest.raises((ValueError, UserWarning), match="The plan freezes everything|does not have any trainable"):
        moved(model)


@pytest.mark.same_everywhere
def test_a_refused_model_is_not_bound():
    model, other = network(), keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="other")])
    optimizer = SGD(0.1, multipliers={model.get_layer(BODY): 0.1})
    with pytest.raises(ValueError, match="body"):
        optimizer.bind(other)
    after = moved(compiled(model, optimizer))
    assert 0 < after[BODY] < after["head"]


@pytest.mark.same_everywhere
def test_asking_for_the_plan_changes_nothing():
    """Neither before the optimizer is built nor after, nor for a layer that was unfrozen by hand since."""
    model = chain()
    plan = difflr.Plan(model, {"body": difflr.FROZEN})
    model.compile(difflr.optimizers.SGD(0.1, multipliers=plan), loss="mse")
    fit(model)
    model.get_layer("body").trainable = True
    model.get_layer("head").bias.trainable = False

    def flags():
        return [variable.trainable for variable in model.weights]

    before = flags()
    difflr.plan_of(model)
    assert flags() == before

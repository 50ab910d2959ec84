"""`freeze_to` and `unfreeze`: who moves in the next `fit`, and what the optimizer remembers."""

import keras
import numpy as np
import pytest

import difflr

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(16, 4)).astype("float32"), RNG.normal(size=(16, 2)).astype("float32")


def make_model(optimizer=None, **more):
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(6, activation="tanh", name=name) for name in ("stem", "block")]
    model = keras.Sequential([keras.Input((4,)), *layers, keras.layers.Dense(2, name="head")])
    model.compile(optimizer or difflr.optimizers.Adam(1e-2, **more), loss="mse")
    return model


def who_moves(model):
    """The layers that one epoch changes."""
    before = {layer.name: layer.get_weights() for layer in model.layers}
    model.fit(X, Y, batch_size=8, shuffle=False, verbose=0)
    return [
        layer.name
        for layer in model.layers
        if any(not np.array_equal(a, b) for a, b in zip(before[layer.name], layer.get_weights(), strict=True))
    ]


@pytest.mark.same_everywhere(but=["block-trainable1"])
@pytest.mark.parametrize(
    ("group", "trainable"),
    [
        (-1, ["head"]),
        ("block", ["block", "head"]),
        (1, ["block", "head"]),
        (-3, ["stem", "block", "head"]),
        (0, ["stem", "block", "head"]),
    ],
)
def test_only_what_is_live_moves(group, trainable):
    model = make_model()
    assert difflr.freeze_to(model, group) == trainable
    assert who_moves(model) == trainable
    difflr.unfreeze(model)
    assert who_moves(model) == ["stem", "block", "head"]


def test_the_state_is_kept_over_freezing_and_unfreezing():
    """With momentum, a step after a pause begins with the momentum from before it."""
    optimizer = difflr.optimizers.SGD(0.1, momentum=0.9)
    model = make_model(optimizer)
    model.fit(X, Y, verbose=0, batch_size=16)
    before = momenta(model)
    difflr.freeze_to(model, "head")
    model.fit(X, Y, verbose=0, batch_size=16)
    difflr.unfreeze(model)
    after = momenta(model)
    assert set(after) == set(before)
    for path in before:
        if "head" in path:
            assert not np.allclose(before[path], after[path], atol=1e-6)
        else:
            np.testing.assert_array_equal(before[path], after[path])


def momenta(model):
    """Path of the variable -> its momentum."""
    optimizer = model.optimizer
    variables = [row.variable.path for row in optimizer.plan.rows if not row.frozen]
    return dict(zip(variables, map(np.array, map(keras.ops.convert_to_numpy, optimizer.momentums)), strict=True))


@pytest.mark.same_everywhere
def test_it_costs_nothing_where_nothing_was_frozen():
    plain, unfrozen = make_model(), make_model()
    difflr.unfreeze(unfrozen)
    for model in (plain, unfrozen):
        model.fit(X, Y, epochs=2, verbose=0, shuffle=False)
    for ours, theirs in zip(plain.get_weights(), unfrozen.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.same_everywhere
def test_what_the_plan_freezes_stays_frozen():
    model = make_model()
    plan = difflr.Plan(model, {"stem": difflr.FROZEN})
    model.compile(difflr.optimizers.Adam(1e-2, multipliers=plan), loss="mse")
    difflr.freeze_to(model, -1)
    assert who_moves(model) == ["head"]
    difflr.unfreeze(model)
    assert who_moves(model) == ["block", "head"]


@pytest.mark.same_everywhere
def test_under_mixed_precision_with_a_wrapper_around_the_optimizer():
    model = make_model(keras.optimizers.LossScaleOptimizer(difflr.optimizers.Adam(1e-2), initial_scale=4.0))
    difflr.freeze_to(model, -1)
    assert who_moves(model) == ["head"]
    difflr.unfreeze(model)
    assert who_moves(model) == ["stem", "block", "head"]


@pytest.mark.parametrize(
    ("group", "message"),
    [
        ("blok", "no depth group 'blok'. Did you mean 'block'.* 0 'stem', 1 'block', 2 'head'"),
        (3, "from -3 to 2. Received: 3"),
        (True, "Received: True"),
        (1.0, "Received: 1.0"),
    ],
)
def test_unknown_groups(group, message):
    model = make_model()
    with pytest.raises(ValueError, match=message):
        difflr.freeze_to(model, group)
    assert len(model.trainable_variables) == 6


def test_nothing_left_to_train():
    model = make_model()
    plan = difflr.Plan(model, {"head": difflr.FROZEN})
    model.compile(difflr.optimizers.Adam(1e-2, multipliers=plan), loss="mse")
    with pytest.raises(ValueError, match="Nothing would be trainable"):
        difflr.freeze_to(model, -1)


@pytest.mark.parametrize("function", [lambda model: difflr.freeze_to(model, -1), difflr.unfreeze])
def test_a_model_that_is_not_ready(function):
    model = make_model(keras.optimizers.Adam())
    with pytest.raises(TypeError, match=r"Received: Adam. Compile with difflr.optimizers.Adam\(...\)"):
        function(model)
    with pytest.raises(ValueError, match="is for a compiled model"):
        function(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]))

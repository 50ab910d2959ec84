"""`get_state_tree` and `set_state_tree`, which `OrbaxCheckpoint` uses: a run continues in a phase as if never cut."""

import keras
import numpy as np
import pytest

import difflr
from saving import kinds
from saving.conftest import saying
from saving.test_resume import assert_equal

RULES = {"one": 0.1, "two/bias": 3.0}
X, Y = kinds.VECTORS, kinds.TARGETS


def model(rules=RULES, scaled=False):
    with kinds.quick_initializers():
        net = kinds.mlp(one="one", two="two", head="head")
    optimizer = difflr.optimizers.AdamW(0.05, name="adam", multipliers=difflr.Plan(net, rules), weight_decay=0.1)
    if scaled:
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, name="scale", dynamic_growth_steps=3)
    net.compile(optimizer, loss="mse", run_eagerly=keras.backend.backend() == "tensorflow")
    return net


def fit(net, *callbacks, **arguments):
    """The first layer is frozen in the second phase, with state that no variable of the optimizer has then."""
    phases = [
        difflr.Phase(trainable=["one", "head"], epochs=2),
        difflr.Phase(trainable=["two", "head"], epochs=3, warmup_steps=4),
        difflr.Phase(trainable="*"),
    ]
    scheduler = difflr.PhaseScheduler(phases)
    net.fit(X, Y, epochs=6, batch_size=4, shuffle=False, verbose=0, callbacks=[scheduler, *callbacks], **arguments)
    return net


def tree_of(net):
    """As `OrbaxCheckpoint` takes it and gives it back, with numbers for scalars."""
    tree = net.get_state_tree(value_format="numpy_array")
    return keras.tree.map_structure(lambda value: value.item() if value.ndim == 0 else value, tree)


def trees(net):
    """The state trees after each epoch."""
    found = []
    fit(net, keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: found.append(tree_of(net))))
    return found


@pytest.mark.same_everywhere(but=["True"])
@pytest.mark.parametrize("scaled", [False, True])
def test_a_tree_from_within_a_phase_is_resumed(scaled):
    expected = model(scaled=scaled)
    saved = trees(expected)
    resumed = model(scaled=scaled)
    resumed.set_state_tree(saved[2])
    fit(resumed, initial_epoch=3)
    assert_equal(kinds.state(expected), kinds.state(resumed))


@pytest.mark.same_everywhere
def test_the_loss_scale_is_loaded_with_weights_from_within_a_phase(tmp_path):
    """Its optimizer trains other variables then than the new one, which Keras compares by number."""
    expected = model(scaled=True)
    fit(expected, keras.callbacks.ModelCheckpoint(tmp_path / "{epoch}.weights.h5", save_weights_only=True))
    resumed = model(scaled=True)
    resumed.optimizer.build(resumed.trainable_variables)
    resumed.load_weights(tmp_path / "3.weights.h5")
    assert int(resumed.optimizer.dynamic_scale) == 2**17  # 6 steps, doubled each 3
    fit(resumed, initial_epoch=3)
    assert_equal(kinds.state(expected), kinds.state(resumed))


@pytest.mark.same_everywhere
def test_weights_that_were_frozen_are_loaded_too():
    """Keras would look for them among the frozen weights of the model only."""
    trained = model()
    saved = trees(trained)[3]
    weights = {key: value for key, value in saved.items() if "optimizer" not in key}  # save_weights_only=True
    other = model()
    other.set_state_tree(weights)
    one = saved["non_trainable_variables"]["one"]["kernel"]
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(other.get_layer("one").kernel), one)
    assert int(other.optimizer.iterations) == 0


@pytest.mark.same_everywhere
def test_a_tree_is_loaded_with_another_plan():
    saved = trees(model())[2]
    other = model({"one": 0.5, "two": 0.5})
    with saying("The plan differs from the saved one: one/kernel 0.5 instead of 0.1"):
        other.set_state_tree(saved)
    assert other.optimizer.plan.whole.row(other.get_layer("one").kernel).multiplier == 0.5
    assert int(other.optimizer.iterations) == 6


@pytest.mark.same_everywhere
def test_variables_that_a_training_loop_changed_in_the_tree_hold():
    net = model()
    net.optimizer.build(net.trainable_variables)
    tree = net.get_state_tree(value_format="numpy_array")
    tree["optimizer_variables"]["adam"]["iteration"] = np.asarray(7)
    net.set_state_tree(tree)
    assert int(net.optimizer.iterations) == 7


@pytest.mark.same_everywhere
def test_the_tree_of_a_stock_optimizer_is_keras_s():
    net = model()
    net.compile(keras.optimizers.Adam(0.1, name="adam"), loss="mse")
    assert set(net.get_state_tree()["optimizer_variables"]) == {"adam"}

"""`model.save`, `load_model` in another process, train on: equal to training on without the break, bit for bit."""

import keras
import numpy as np
import pytest

import difflr
from saving import kinds

ON_ALL = [
    "averaging_accumulation_clipping",
    "frozen_statistics_in_difflr_model",
    "group_schedules",
    "mixed_float16",
    "subclassed_difflr",
]
# Keras saves that layers are not trainable with functional and Sequential models, and with no subclassed ones.
LOST_STATISTICS = "subclassed_keras_with_frozen_statistics"


def assert_equal(mine, other):
    assert len(mine) == len(other)
    pairs = list(zip(mine.items(), other.values(), strict=True))  # names in brackets differ, the order does not
    different = [name for (name, a), b in pairs if a.dtype != b.dtype or a.tobytes() != b.tobytes()]
    assert not different


@pytest.mark.same_everywhere(but=ON_ALL)
@pytest.mark.parametrize("name", kinds.KINDS)
def test_training_goes_on_as_without_the_break(runs, name):
    here, there = runs.here[name], runs.there[name]
    assert "error" not in here, here["error"]
    assert "error" not in there, there["error"]
    assert_equal(here["state"], there["state"])


@pytest.mark.same_everywhere(but=ON_ALL)
@pytest.mark.parametrize("name", kinds.KINDS)
def test_loaded_optimizer_has_the_plan(runs, name):
    assert runs.there[name]["told"] == runs.here[name]["told"]


@pytest.mark.same_everywhere(but=ON_ALL)
@pytest.mark.parametrize("name", kinds.KINDS)
def test_loading_is_quiet_unless_something_is_lost(runs, name):
    said = runs.there[name]["warnings"]
    if name == LOST_STATISTICS:
        assert len(said) == 1
        assert "model.optimizer.bind(model)" in said[0]
        assert "normalization" in said[0]
    else:
        assert not said


@pytest.mark.same_everywhere(but=ON_ALL)
@pytest.mark.parametrize("name", kinds.KINDS)
def test_there_was_something_to_go_on_from(runs, name):
    """The comparison would find a state that is lost: what was saved is neither new nor final."""
    here = runs.here[name]
    moved = [not np.array_equal(a, b) for a, b in zip(here["at_break"].values(), here["state"].values(), strict=False)]
    assert sum(moved) > 2


def test_state_has_the_same_paths_before_and_after_loading(tmp_path):
    """`OrbaxCheckpoint` and `set_state_tree` find the optimizer's state by path."""
    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Dense(2, name="head")(inputs))
    model.compile(difflr.optimizers.Adam(0.1, name="adam"), loss="mse", run_eagerly=True)
    model.fit(np.ones((2, 3)), np.ones((2, 2)), verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    paths = [variable.path for variable in model.optimizer.variables]
    assert paths == [variable.path for variable in loaded.optimizer.variables]
    assert set(paths) > {"adam/head_kernel_momentum", "adam/head_bias_velocity"}

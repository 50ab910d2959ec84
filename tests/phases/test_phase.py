"""Phases as data, ready phases, and what is refused before the first step."""

import itertools
import sys

import keras
import numpy as np
import pytest

import difflr
from difflr import Phase, Phases
from phases.in_phases import compiled, fit, new_model, number
from saving.conftest import saying

SCHEDULE = Phases(
    [
        Phase("kind:head", epochs=1, frozen_statistics="update"),
        Phase(["kind:head", "mid"], monitor="val_loss", patience=2, min_delta=0.1, epochs=5, warmup_steps=20),
        Phase("*", own_bias_correction=False),
    ]
)

YAML = """\
phases:
- trainable:
  - kind:head
  epochs: 1
  frozen_statistics: update
- trainable:
  - kind:head
  - mid
  epochs: 5
  monitor: val_loss
  patience: 2
  min_delta: 0.1
  mode: min
  warmup_steps: 20
- trainable:
  - '*'
  own_bias_correction: false
"""

TABLE = """\
phase  trainable  until                             parameters trainable  joining  freezing  warm-up  frozen statistics
-----------------------------------------------------------------------------------------------------------------------
    1  head       1 epoch                                             10       10         0  -        update
    2  head, mid  loss stops improving, patience 2                    30       20         0  9 steps  keep
    3  *          the end                                             50       20         0  -        keep"""


def test_yaml_can_be_read_edited_and_read_again():
    assert SCHEDULE.to_yaml() == YAML
    assert Phases.from_yaml(YAML) == SCHEDULE
    edited = Phases.from_yaml(YAML.replace("epochs: 1", "epochs: 3"))
    assert edited[0].epochs == 3
    assert Phases.from_dict(edited.to_dict()) == edited


def test_table_tells_who_is_live_joins_and_freezes():
    first = Phase("head", epochs=1, frozen_statistics="update")
    second = Phase(["head", "mid"], monitor="loss", patience=2, warmup_steps=9)
    table = Phases([first, second, Phase("*")]).table(new_model())
    assert [line.rstrip() for line in table.splitlines()] == TABLE.splitlines()


def test_yaml_without_pyyaml_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(ImportError, match=r'pip install "difflr\[yaml\]"'):
        SCHEDULE.to_yaml()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("phases:\n- trainable: *\n", "begins with \\* needs quotes"),
        ("- trainable: head\n", "one key, 'phases'"),
        ("phases:\n- alive: head\n", "Phase 1: .*at least 'trainable'"),
        (
            "phases:\n- trainable: head\n  epoch: 2\n",
            "Phase 1: A phase has no 'epoch'. Did you mean 'epochs'\\? Expected some of: trainable, epochs",
        ),
        ("phases:\n- trainable: head\n  epochs: two\n", "Phase 1: `epochs` of a phase must be an integer >= 1"),
        ("phases:\n- trainable: [1]\n", "Phase 1: 'trainable' of a saved phase is text"),
        ("!!python/object/apply:os.getcwd []", "no YAML that can be read"),
    ],
)
def test_bad_yaml_is_told(text, said):
    with pytest.raises(ValueError, match=said):
        Phases.from_yaml(text)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"trainable": []}, "needs something to train"),
        ({"trainable": "*", "epochs": 0}, "`epochs` .* >= 1"),
        ({"trainable": "*", "steps": True}, "`steps` .* >= 1"),
        ({"trainable": "*", "steps": 3, "epochs": 1}, "A phase ends after `steps`; or by"),
        ({"trainable": "*", "patience": 2}, "give it `monitor` too"),
        ({"trainable": "*", "monitor": "val_loss", "mode": "down"}, "'auto', 'min' or 'max'"),
        ({"trainable": "*", "monitor": "val_margin"}, "mode='min' or mode='max'"),
        ({"trainable": "*", "min_delta": -1, "monitor": "loss"}, "`min_delta` .* >= 0"),
        ({"trainable": "*", "warmup_steps": 1.5}, "`warmup_steps` .* >= 0"),
        ({"trainable": "*", "frozen_statistics": "kept"}, "'keep', 'update' or None"),
        ({"trainable": "*", "own_bias_correction": "yes"}, "True, False or None"),
    ],
)
def test_a_bad_phase_is_told(arguments, said):
    with pytest.raises(ValueError, match=said):
        Phase(**arguments)


def test_the_direction_is_told_by_the_name():
    assert Phase("*", monitor="val_loss").mode == "min"
    assert Phase("*", monitor="val_sparse_categorical_accuracy").mode == "max"


def test_a_phase_after_an_endless_one_is_refused():
    with pytest.raises(ValueError, match="Phase 1 has no end, so that phase 2 never begins"):
        Phases([Phase("head"), Phase("*")])


def test_objects_as_targets_cannot_be_saved():
    with pytest.raises(ValueError, match="Received: layer head. Use the layer-tree path"):
        Phases([Phase(new_model().get_layer("head"))]).to_dict()


def test_objects_as_targets_train():
    model = new_model()
    model.compile(difflr.optimizers.SGD(0.1), loss="mse")
    head = model.get_layer("head")
    fit(model, [Phase([head.kernel, lambda v: v.path.endswith("bias")], epochs=1), Phase("*", epochs=1)], epochs=2)


# -- ready phases -----------------------------------------------------------------------------------------------------


def test_ready_phases():
    model = new_model()

    def trainable(phases):
        return [phase.who for phase in phases]

    assert trainable(difflr.phases.all_at_once(model)) == ["*"]
    assert trainable(difflr.phases.head_first(model, epochs=3)) == ["kind:head", "*"]
    assert trainable(difflr.phases.top_down(model)) == ["head", "head, mid", "*"]
    assert trainable(difflr.phases.chain_thaw(model)) == ["head", "low", "mid", "*"]
    assert trainable(difflr.phases.top_down(model, groups=["low", ["mid", "head"]])) == ["mid, head", "*"]


@pytest.mark.same_everywhere
def test_ready_phases_leave_out_what_the_plan_freezes():
    model = new_model()
    model.compile(difflr.optimizers.SGD(0.1, multipliers=difflr.Plan(model, {"low": difflr.FROZEN})), loss="mse")
    phases = difflr.phases.chain_thaw(model)
    assert [phase.who for phase in phases] == ["head", "mid", "*"]
    fit(model, phases, epochs=3)


@pytest.mark.same_everywhere
def test_ready_phases_are_by_block():
    model = keras.applications.MobileNetV2((32, 32, 3), weights=None, classes=3)
    phases = difflr.phases.top_down(model)
    assert phases[2].trainable == ("predictions", "Conv_1*", "block_16_*")
    assert phases.table(model)


# -- refused before the first step ------------------------------------------------------------------------------------

REFUSED = {
    "unknown": ([Phase("heed", epochs=1), Phase("*")], "Phase 1: the target 'heed' matches no .* Did you mean 'head'"),
    "never trainable": (
        [Phase("head", epochs=1), Phase(["head", "mid"])],
        "No phase trains low/kernel, low/bias",
    ),
    "covered": ([Phase(["*", "head"])], "target 'head' has no effect"),
    "frozen": ([Phase("low/bias", epochs=1), Phase("*")], "matches only what the plan or `trainable = False` freezes"),
    "no change": (
        [Phase("*", epochs=1), Phase(["low", "mid", "head"])],
        "Phase 2 trains the same variables as phase 1",
    ),
    "too long": ([Phase("head", epochs=4), Phase("*")], "Phase 2 of 2 begins in epoch 5 at the earliest"),
    "cut short": ([Phase("head", epochs=2), Phase("*", epochs=3)], "from epoch 1 to 5, and `fit` has epochs=4"),
    "too short": ([Phase("head", epochs=1), Phase("*", epochs=1)], "from epoch 1 to 2, and `fit` has epochs=4"),
    "too patient": ([Phase("head", monitor="loss", patience=3), Phase("*")], "begins in epoch 5 at the earliest"),
    "too many steps": ([Phase("head", steps=12), Phase("*")], "begins in epoch 5 at the earliest"),
    "no clock": ([Phase("head", epochs=1), Phase("*", own_bias_correction=True)], "defined for Adam, AdamW and Adamax"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_before_the_first_step(name):
    phases, said = REFUSED[name]
    model = new_model()
    plan = difflr.Plan(model, {"low/bias": difflr.FROZEN} if name == "frozen" else None)
    model.compile(difflr.optimizers.SGD(0.1, multipliers=plan), loss="mse")
    before = model.get_weights()
    with pytest.raises(ValueError, match=said):
        fit(model, phases, epochs=4)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


def test_a_stock_optimizer_is_refused():
    with pytest.raises(TypeError, match=r"Received: Adam. Compile with difflr.optimizers.Adam\(...\)"):
        fit(compiled(keras.optimizers.Adam(0.1)), [Phase("*")])


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="Keras refuses it on torch")
@pytest.mark.parametrize("steps", [1, 4])
def test_steps_between_two_executions_are_refused(steps):
    """An epoch has three batches here, so that four are two executions of one epoch and a half of the next."""
    said = (
        "after batch 1 of an epoch of 3, .*steps_per_execution=2: it can end after multiples of 2 batches of an epoch"
    )
    with pytest.raises(ValueError, match=said):
        fit(compiled(steps_per_execution=2), [Phase("head", steps=steps), Phase("*")])


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="Keras refuses it on torch")
def test_steps_can_end_with_the_last_execution_of_an_epoch():
    model, other = compiled(steps_per_execution=2), compiled()
    for each in (model, other):
        fit(each, [Phase("head", steps=3), Phase("*", steps=2, warmup_steps=2), Phase("mid")])
    for a, b in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


def test_a_missing_metric_is_told_after_the_first_epoch():
    with pytest.raises(ValueError, match=r"monitors 'val_loss', which epoch 1 did not report. .* `validation_data`"):
        fit(compiled(), [Phase("head", monitor="val_loss"), Phase("*")])


# -- BatchNormalization -----------------------------------------------------------------------------------------------


def normalized(**plan_arguments):
    """A model with two BatchNormalization layers, one of them without variables to train."""
    inputs = keras.Input((4,))
    x = keras.layers.BatchNormalization(name="norm", momentum=0.5)(inputs)
    x = keras.layers.Activation("tanh")(x)  # without it the second one takes out what the offset of the first adds
    x = keras.layers.BatchNormalization(name="bare", momentum=0.5, scale=False, center=False)(x)
    model = keras.Model(inputs, keras.layers.Dense(2, name="head")(x))
    model.compile(difflr.optimizers.SGD(0.1, multipliers=difflr.Plan(model, **plan_arguments)), loss="mse")
    return model


def moved(model, phases):
    """For each epoch which of the two layers moved its statistics, and whether the offset moved."""
    seen = []

    def note(epoch=None, logs=None):
        norm, bare = model.get_layer("norm"), model.get_layer("bare")
        seen.append([number(norm.moving_mean), number(bare.moving_mean), number(norm.beta)])

    fit(model, phases, [keras.callbacks.LambdaCallback(on_train_begin=note, on_epoch_end=note)], epochs=2)
    return [[not np.array_equal(a, b) for a, b in zip(*two, strict=True)] for two in itertools.pairwise(seen)]


@pytest.mark.same_everywhere(but=["keep-None-False", "keep-update-True"])
@pytest.mark.parametrize(
    ("planned", "in_phase", "moves"),
    [("keep", None, False), ("update", None, True), ("keep", "update", True), ("update", "keep", False)],
)
def test_statistics_of_frozen_layers_are_an_explicit_choice(planned, in_phase, moves):
    phases = [Phase("head", epochs=1, frozen_statistics=in_phase), Phase("*")]
    first, second = moved(normalized(frozen_statistics=planned), phases)
    assert first == [moves, moves, False]
    assert second == [True, True, True]


@pytest.mark.same_everywhere
def test_scale_and_offset_train_while_the_rest_is_frozen():
    first, second = moved(normalized(), [Phase(["head", "kind:norm"], epochs=1), Phase("*", frozen_statistics="keep")])
    assert first[0] is first[2] is True
    assert second == [True, True, True]


def test_no_list_of_phases():
    with pytest.raises(TypeError, match=r"`phases` must be a list of difflr.Phase. Received: None"):
        difflr.Phases(None)


def test_numbers_of_numpy():
    phase = Phase("head", epochs=np.int64(2), warmup_steps=np.int32(3))
    assert phase == Phase("head", epochs=2, warmup_steps=3)
    assert Phase.from_dict(phase.to_dict()) == phase


@pytest.mark.same_everywhere
def test_a_warmup_longer_than_the_training_is_pointed_out():
    with saying(r"ends 3 steps after the begin of phase 2, .*warmup_steps=30: .* ends at 0\.1 of its rate"):
        fit(compiled(), [Phase("head", epochs=1), Phase("*", warmup_steps=30)], epochs=2)
    fit(compiled(), [Phase("head", epochs=1), Phase("*", warmup_steps=3)], epochs=2)
    fit(compiled(), [Phase("*", epochs=1), Phase("head", warmup_steps=30)], epochs=2)  # which unfreezes nothing

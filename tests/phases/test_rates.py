"""What a phase says beside who trains: rules, a base rate, schedules; and from when schedules count."""

import keras
import numpy as np
import pytest

import difflr
from difflr import Phase, Phases
from difflr.schedules import OneCycle
from phases.in_phases import NAMES, Weights, X, Y, compiled, fit, new_model, number
from saving.conftest import saying

STEP_DECAY = keras.optimizers.schedules.PiecewiseConstantDecay([0], [1.0, 0.0])  # one step, then nothing


def sgd(rules=None, rate=0.125):
    model = new_model()
    model.compile(difflr.optimizers.SGD(rate, multipliers=difflr.Plan(model, rules)), loss="mse")
    return model


class Rates(keras.callbacks.Callback):
    """The effective rate of each kernel at the beginning of each epoch, `None` where it is frozen."""

    def __init__(self):
        super().__init__()
        self.rates = []

    def on_epoch_begin(self, epoch, logs=None):
        rates = self.model.optimizer.effective_rates()
        found = [rates.get(id(self.model.get_layer(name).kernel)) for name in NAMES]
        self.rates.append([None if rate is None else round(rate, 6) for rate in found])


def rates_of(model, phases, **arguments):
    rates = Rates()
    fit(model, phases, [rates], **arguments)
    return rates.rates


def test_rules_of_a_phase_hold_in_it_alone_and_win_axis_by_axis():
    phases = [
        Phase("head", epochs=1),
        Phase(["head", "mid"], epochs=1, multipliers={"head": 0.25}),
        Phase("*"),
    ]
    expected = [[None, None, 0.125], [None, 0.0625, 0.03125], [0.0125, 0.0625, 0.125]]
    assert rates_of(sgd({"low": 0.1, "mid": 0.5}), phases, epochs=3) == expected


def test_weights_move_as_far_as_the_rule_of_the_phase_says():
    moved = []
    for multiplier in (1, 0.25):
        model = sgd()
        before = number(model.get_layer("head").kernel)
        fit(model, [Phase("*", multipliers={"head": multiplier, "low": 1})], epochs=1, batch_size=12)
        moved.append(number(model.get_layer("head").kernel) - before)
    np.testing.assert_allclose(moved[1], 0.25 * moved[0], rtol=1e-4, atol=1e-7)


@pytest.mark.same_everywhere
def test_a_plan_holds_in_the_place_of_the_models_own():
    model = sgd({"low": 0.1, "mid": {"multiplier": 0.5, "schedule": STEP_DECAY}})
    whole = difflr.Plan(model, {"head": 0.5})
    phases = [Phase("*", epochs=1, multipliers=whole), Phase("*", epochs=1)]
    assert rates_of(model, phases, epochs=2) == [[0.125, 0.125, 0.0625], [0.0125, 0.0625, 0.125]]


def test_the_base_rate_of_a_phase_stays_until_another_says_so():
    phases = [Phase("head", epochs=1), Phase("head", epochs=1, learning_rate=0.5), Phase("*", epochs=2)]
    last = Phase("*", learning_rate=0.25)
    expected = [[None, None, 0.125], [None, None, 0.5], [0.5] * 3, [0.5] * 3, [0.25] * 3]
    assert rates_of(sgd(), [*phases, last], epochs=5) == expected


def test_a_callback_changes_the_base_rate_from_there():
    halve = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2 if epoch else rate)
    rates = Rates()
    fit(sgd(), [Phase("head", epochs=2, learning_rate=0.5), Phase("*")], [halve, rates], epochs=3)
    assert [rate[2] for rate in rates.rates] == [0.5, 0.25, 0.125]


@pytest.mark.same_everywhere
def test_a_learning_rate_in_a_rule_is_of_the_base_rate_of_its_phase():
    rule = {"head": {"learning_rate": 0.1}}
    phases = [Phase("head", epochs=1, multipliers=rule), Phase("*", learning_rate=0.5, multipliers=rule)]
    assert [rate[2] for rate in rates_of(sgd(), phases, epochs=2)] == [0.1, 0.1]


def test_a_schedule_of_a_phase_counts_from_its_beginning():
    cycle = keras.optimizers.schedules.PiecewiseConstantDecay([2], [1.0, 0.5])
    phases = [Phase("head", epochs=2, schedule=cycle), Phase("*", schedule=cycle)]
    head = [rate[2] for rate in rates_of(sgd(), phases, epochs=4)]
    assert head == [0.125, 0.0625, 0.125, 0.0625]


@pytest.mark.same_everywhere
def test_a_schedule_in_a_rule_of_a_phase_counts_from_its_beginning():
    rule = {"head": keras.optimizers.schedules.PiecewiseConstantDecay([2], [1.0, 0.5])}
    phases = [Phase("*", epochs=1), Phase("*", multipliers=rule)]
    assert [rate[2] for rate in rates_of(sgd(), phases, epochs=3)] == [0.125, 0.125, 0.0625]


def unfrozen_by(how):
    """How far the body moves that is unfrozen in this way, with a schedule of its own that is over after a step."""
    model = sgd({"low": STEP_DECAY})
    before = number(model.get_layer("low").kernel)
    if how == "phases":
        fit(model, [Phase(["head", "mid"], epochs=2), Phase("*")], epochs=3)
    elif how == "freeze_to":
        difflr.freeze_to(model, -1)
        fit(model, epochs=2)
        difflr.unfreeze(model)
        fit(model, epochs=1)
    else:
        difflr.replan(model, difflr.Plan(model, {"low": difflr.FROZEN}))
        fit(model, epochs=2)
        difflr.replan(model, difflr.Plan(model, {"low": STEP_DECAY}))
        fit(model, epochs=1)
    return np.abs(number(model.get_layer("low").kernel) - before).max()


@pytest.mark.same_everywhere(but=["phases"])
@pytest.mark.parametrize("how", ["phases", "freeze_to", "replan"])
def test_a_schedule_of_a_group_counts_from_its_unfreezing(how):
    assert unfrozen_by(how) > 1e-4


@pytest.mark.same_everywhere
def test_a_schedule_that_a_new_plan_brings_counts_from_then():
    model, rates = sgd(), Rates()
    fit(model, epochs=2)
    decay = keras.optimizers.schedules.PiecewiseConstantDecay([2], [1.0, 0.5])
    difflr.replan(model, difflr.Plan(model, {"low": decay}))
    fit(model, callbacks=[rates], epochs=1)
    difflr.replan(model, difflr.Plan(model, {"low": decay, "mid": 0.5}))  # the same: it goes on
    fit(model, callbacks=[rates], epochs=1)
    assert [rate[0] for rate in rates.rates] == [0.125, 0.0625]


@pytest.mark.same_everywhere
def test_a_rate_that_is_over_when_a_phase_begins_is_not_silent():
    model = new_model()
    model.compile(difflr.optimizers.SGD(OneCycle(0.1, num_steps=6)), loss="mse")
    with saying(r"In phase 2 low/kernel.* train at a rate close to 0.*base rate is over"):
        fit(model, [Phase("head", epochs=2), Phase("*")], epochs=4)


@pytest.mark.same_everywhere
def test_a_multiplier_that_was_changed_while_training_is_kept_over_phases():
    model, rates = sgd({"low": 0.5}), Rates()

    def change(epoch, logs):
        if epoch == 0:
            model.optimizer.multipliers[model.get_layer("head")] = 0.25

    callbacks = [keras.callbacks.LambdaCallback(on_epoch_begin=change), rates]
    phases = [Phase("head", epochs=2), Phase("mid", epochs=1), Phase(["mid", "head"], epochs=1), Phase("*")]
    fit(model, phases, callbacks, epochs=5)
    assert [rate[2] for rate in rates.rates] == [0.03125, 0.03125, None, 0.03125, 0.03125]
    assert [rate[1] for rate in rates.rates] == [None, None, 0.125, 0.125, 0.125]


def with_momentum(value):
    model = new_model()
    rules = [difflr.Rule("low", hyperparameters={"momentum": value})]
    model.compile(difflr.optimizers.SGD(0.05, momentum=0.9, multipliers=difflr.Plan(model, rules)), loss="mse")
    return model


def test_a_number_that_was_changed_while_training_survives_the_freezing_of_its_variables(tmp_path):
    model, found = with_momentum(0.8), []

    def change(epoch, logs):
        if epoch == 0:
            model.optimizer.hyperparameters["momentum"]["low"] = 0.5
        numbers = model.optimizer.hyperparameters
        found.append(numbers["momentum"]["low/kernel"] if numbers else None)
        if epoch == 1:
            model.save_weights(tmp_path / "frozen.weights.h5")

    phases = [Phase("*", epochs=1), Phase("head", epochs=1), Phase("*")]
    fit(model, phases, [keras.callbacks.LambdaCallback(on_epoch_begin=change)], epochs=3)
    assert found == [pytest.approx(0.5), None, pytest.approx(0.5)]

    other = with_momentum(0.8)
    other.optimizer.build(other.trainable_variables)
    other.load_weights(tmp_path / "frozen.weights.h5")
    difflr.unfreeze(other)
    assert other.optimizer.hyperparameters["momentum"]["low"] == pytest.approx(0.5)


@pytest.mark.same_everywhere
@pytest.mark.parametrize("kind", ["a rule", "a plan"])
def test_a_phase_gives_a_part_the_optimizers_own_number_again(kind):
    model, found = with_momentum(0.8), []
    own = {"low": {"hyperparameters": {"momentum": None}}}
    own = own if kind == "a rule" else difflr.Plan(model, {"low": 0.5})
    watch = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: found.append(dict(model.optimizer.plan.rows[0].hyperparameters))
    )
    fit(model, [Phase("*", epochs=1), Phase("*", epochs=1, multipliers=own), Phase("*")], [watch], epochs=3)
    assert found == [{"momentum": 0.8}, {}, {"momentum": 0.8}]


def test_a_schedule_that_is_0_in_all_of_a_phase_is_not_silent():
    model = sgd({"low": difflr.schedules.Delayed(1.0, 100)})
    with saying(r"In phase 1 low/kernel, low/bias train at a rate close to 0"):
        fit(model, [Phase("*")], epochs=1)


REFUSED = {
    "nothing of it trains": (
        [Phase("head", epochs=1, multipliers={"mid": 0.1}), Phase("*")],
        "Phase 1: the rule for 'mid' has no effect: nothing of it trains in this phase",
    ),
    "unknown": ([Phase("*", multipliers={"heat": 0.1})], "Phase 1: .*'heat' matches no.*Did you mean 'head'"),
    "two schedules": (
        [Phase("*", schedule=STEP_DECAY, multipliers={"head": STEP_DECAY})],
        "Phase 1 has a schedule, and so have head/kernel, head/bias",
    ),
    "all frozen": ([Phase("head", epochs=1, multipliers={"head": 0}), Phase("*")], "Phase 1: its `multipliers` freeze"),
    "alike": (
        [Phase("*", epochs=1, multipliers={"head": 0.5}), Phase("*", multipliers={"head": 0.5})],
        "Phase 2 trains the same variables as phase 1",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_before_the_first_step(name):
    phases, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        fit(sgd(), phases)


def test_a_base_rate_beside_a_schedule_is_refused():
    model = new_model()
    model.compile(difflr.optimizers.SGD(OneCycle(0.1, 20)), loss="mse")
    with pytest.raises(
        ValueError, match="Phase 1 sets learning_rate=0.1, but the base rate of the optimizer is a sched"
    ):
        fit(model, [Phase("*", learning_rate=0.1)])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"learning_rate": 0}, "`learning_rate` must be above 0"),
        ({"learning_rate": OneCycle(0.1, 5)}, "learning_rate=1e-3, schedule="),
        ({"multipliers": {}}, "`multipliers` of a phase have no rule"),
        ({"multipliers": {"head": difflr.TRAINABLE}}, "cannot unfreeze"),
        ({"multipliers": {"head": -1}}, "finite number >= 0"),
        ({"schedule": 0.5}, "must be a keras.optimizers.schedules.LearningRateSchedule"),
        ({"threshold": 1.0}, "give it `monitor` too"),
        ({"restore_best": True}, "give it `monitor` too"),
        ({"threshold": "low", "monitor": "loss"}, "`threshold` of a phase must be a number"),
        ({"until": 3}, "`until` of a phase must be a function"),
        ({"until": "next"}, "or 'next_phase' for a phase that ends"),
        ({"until": "next_phase", "steps": 3}, "steps=3 with until='next_phase'"),
        ({"restore_best": "yes", "monitor": "loss"}, "`restore_best` must be True or False"),
    ],
)
def test_a_bad_phase_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Phase("*", **arguments)


def test_a_number_as_multipliers_is_refused():
    with pytest.raises(TypeError, match="use `learning_rate`"):
        Phase("*", multipliers=0.1)


# -- as data ----------------------------------------------------------------------------------------------------------


@keras.saving.register_keras_serializable(package="phases_test")
def at_the_fifth_epoch(epoch, logs):
    return epoch >= 4


FULL = [
    Phase("head", monitor="val_loss", threshold=0.5, restore_best=True, learning_rate=1e-3),
    Phase(
        ["head", difflr.everything_but("low", "head")],
        until=at_the_fifth_epoch,
        multipliers={"head": 0.1, "*/bias": {"weight_decay_multiplier": 0.0, "schedule": OneCycle(1.0, 9)}},
    ),
    Phase("*", until="next_phase", multipliers=[("head", 0.5), (["low", "mid"], 0.25)]),
    Phase("*", schedule=OneCycle(1.0, 20)),
]


def test_phases_are_data_with_all_that_they_say():
    phases = Phases(FULL)
    again = Phases.from_yaml(phases.to_yaml())
    assert again == phases
    assert again[1].is_reached(4, {})
    assert again[0].learning_rate == 1e-3
    assert [rule.multiplier for rule in again[2].multipliers] == [0.5, 0.25]
    assert "head: 0.1" in phases.to_yaml()


@pytest.mark.same_everywhere
def test_a_plan_in_a_phase_is_data_too():
    model = new_model()
    phases = Phases([Phase("*", multipliers=difflr.Plan(model, {"head": 0.5, "low": {"schedule": STEP_DECAY}}))])
    again = Phases.from_yaml(phases.to_yaml())
    assert again == phases
    assert rates_of(sgd({"mid": 0.5}), again, epochs=1) == [[0.125, 0.125, 0.0625]]


def test_a_function_without_a_name_cannot_be_saved():
    with pytest.raises(ValueError, match="register_keras_serializable"):
        Phase("*", until=lambda epoch, logs: True).to_dict()
    with pytest.raises(ValueError, match="Keras knows no function 'phases_test>unknown'"):
        Phase.from_dict({"trainable": "*", "until": "phases_test>unknown"})


@pytest.mark.parametrize(
    ("multipliers", "message"),
    [
        ({"head": {"rate": 1}}, "unknown field 'rate'"),
        ("head", "'multipliers' of a saved phase is a mapping"),
        ([{"multiplier": 1}], "a 'target'"),
        ({"head": "fast"}, "finite number"),
    ],
)
def test_bad_rules_in_a_saved_phase_are_refused(multipliers, message):
    with pytest.raises(ValueError, match=message):
        Phases.from_dict({"phases": [{"trainable": "*", "multipliers": multipliers}]})


# -- seen before, and judged -------------------------------------------------------------------------------------------


def test_the_table_has_what_the_phases_say():
    table = Phases(FULL).table(new_model())
    assert "learning rate" in table
    assert "head: 0.1" in table
    assert "best weights" in table
    assert "val_loss reaches 0.5" in table


@pytest.mark.same_everywhere
def test_the_rate_map_is_what_training_does():
    from difflr.report.plot_rate_map import rate_map

    model = sgd({"low": 0.1})
    phases = Phases(
        [
            Phase("head", epochs=1),
            Phase(["mid", "head"], epochs=1, learning_rate=0.5, multipliers={"head": 0.25}),
            Phase(
                "*", epochs=1, multipliers={"low": keras.optimizers.schedules.PiecewiseConstantDecay([1], [1.0, 0.5])}
            ),
        ]
    )
    trained = rates_of(model, phases, epochs=3)
    plan = sgd({"low": 0.1}).optimizer.plan
    numbers = rate_map(plan, lambda steps: np.full(len(steps), 0.125), 9, phases, steps_per_epoch=3)
    at_begin = [list(np.round(numbers.rates[:, list(numbers.steps).index(step)], 6)) for step in (0, 3, 6)]
    drawn = [[None if np.isnan(rate) else rate for rate in rates] for rates in at_begin]
    assert drawn == trained
    assert numbers.rates[0, -1] == pytest.approx(0.5 * 0.1 * 0.5)


@pytest.mark.same_everywhere
def test_verify_judges_by_the_phase():
    model = compiled(difflr.optimizers.SGD(0.125))
    phases = [Phase("head", epochs=1), Phase("*", multipliers={"head": 0.25, "low": 0.5})]
    with pytest.raises(KeyboardInterrupt):
        fit(model, phases, [Stop(2)], epochs=4)
    rows = {row.path: row for row in difflr.verify(model, (X, Y)).rows}
    assert rows["head/kernel"].verdict == rows["low/kernel"].verdict == "kept"
    wrong = difflr.Plan(model, {"mid": 0.125})
    with pytest.raises(difflr.PlanNotKept, match="mid/kernel"):
        difflr.verify(model, (X, Y), plan=wrong)


class Stop(keras.callbacks.Callback):
    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            raise KeyboardInterrupt


@pytest.mark.same_everywhere
def test_weights_of_a_frozen_layer_stay():
    weights = Weights()
    fit(sgd(), [Phase("*", epochs=1, multipliers={"mid": difflr.FROZEN}), Phase("*")], [weights], epochs=2)
    assert weights.moved == [{"low", "head"}, {"low", "mid", "head"}]

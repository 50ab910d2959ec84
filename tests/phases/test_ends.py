"""When a phase ends, what is restored then, who is called, and what is changed on resuming."""

import csv

import keras
import numpy as np
import pytest

import difflr
from difflr import Phase, PhaseScheduler
from phases.in_phases import NAMES, X, Y, assert_same, compiled, fit, number, state
from saving.conftest import saying


class Decided(keras.metrics.Metric):
    """A metric whose values are decided by the test, one for each epoch."""

    def __init__(self, values, name="decided_loss"):
        super().__init__(name=name)
        self.values, self.now = list(values), self.add_variable((), "zeros", name="now")

    def update_state(self, *args, **kwargs):
        pass

    def reset_state(self):
        pass

    def result(self):
        return keras.ops.convert_to_tensor(self.now)


class Sets(keras.callbacks.Callback):
    def __init__(self, metric):
        super().__init__()
        self.metric = metric

    def on_epoch_begin(self, epoch, logs=None):
        self.metric.now.assign(self.metric.values[epoch])


class Weights(keras.callbacks.Callback):
    """Weights and phase after each epoch."""

    def __init__(self):
        super().__init__()
        self.weights, self.phases = [], []

    def on_epoch_end(self, epoch, logs=None):
        self.weights.append(self.model.get_weights())
        self.phases.append(logs["phase"])


def run(phases, values=(9, 8, 7, 6, 5, 4), epochs=None, callbacks=(), optimizer=None, **arguments):
    metric, seen = Decided(values), Weights()
    model = compiled(optimizer or difflr.optimizers.Adam(0.01), metrics=[metric])
    fit(model, phases, [Sets(metric), seen, *callbacks], epochs=epochs or len(values), **arguments)
    return model, seen


def phases_of(*arguments, **more):
    return run(*arguments, **more)[1].phases


def test_a_threshold_ends_a_phase():
    phase = Phase("head", monitor="decided_loss", threshold=7)
    assert phases_of([phase, Phase("*")], (9, 9, 7, 8)) == [1, 1, 1, 2]  # no improvement does not end it
    assert phases_of([Phase("head", monitor="val_decided_loss", threshold=8), Phase("*")], validation_data=(X, Y)) == [
        *[1, 1],
        *[2] * 4,
    ]


@pytest.mark.same_everywhere
def test_a_threshold_with_patience_ends_by_what_comes_first():
    phase = Phase("head", monitor="decided_loss", threshold=1, patience=2)
    assert phases_of([phase, Phase("*")], (9, 9, 9, 9)) == [1, 1, 1, 2]


@pytest.mark.same_everywhere
def test_a_threshold_from_below():
    phase = Phase("head", monitor="decided_loss", mode="max", threshold=3, epochs=4)
    assert phases_of([phase, Phase("*")], (1, 2, 3, 1)) == [1, 1, 1, 2]


@pytest.mark.same_everywhere
def test_a_function_ends_a_phase():
    seen = []

    def until(epoch, logs):
        seen.append((epoch, logs["decided_loss"], sorted(logs)))
        return logs["decided_loss"] < 8

    assert phases_of([Phase("head", until=until), Phase("*")], (9, 8, 7, 6)) == [1, 1, 1, 2]
    assert seen == [(epoch, value, ["decided_loss", "loss"]) for epoch, value in enumerate((9, 8, 7))]


@pytest.mark.same_everywhere
def test_training_ends_with_the_last_phase_however_that_ends():
    lasts = [
        Phase("*", until=lambda epoch, logs: epoch == 2),
        Phase("*", monitor="decided_loss", threshold=7),
        Phase("*", epochs=1),
    ]
    for last in lasts:
        first = Phase("head", monitor="decided_loss", threshold=8)
        assert phases_of([first, last], (9, 8, 7, 6, 5)) == [1, 1, 2]


def test_an_early_stop_in_a_phase_says_so():
    stop = keras.callbacks.EarlyStopping("loss", min_delta=100, patience=1)
    with saying("EarlyStopping ended `fit` in phase 1 of 3 after epoch 2: phases 2 to 3 did not begin.*one phase"):
        fit(compiled(), [Phase("head", epochs=2), Phase("mid", epochs=1), Phase("*")], [stop], epochs=4)


def test_a_fit_that_ends_before_the_last_phase_says_so():
    with saying("`fit` ended in phase 1 of 2 after epoch 3: phase 2 did not begin.*initial_epoch=3"):
        run([Phase("head", monitor="decided_loss", threshold=0), Phase("*")], (9, 8, 7))


# -- by hand ----------------------------------------------------------------------------------------------------------


def by_hand(call):
    scheduler = PhaseScheduler([Phase("head", epochs=4), Phase(["head", "mid"], until="next_phase"), Phase("*")])
    trainable = []

    class Calls(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.epoch = epoch

        def on_epoch_end(self, epoch, logs=None):
            call(scheduler, epoch, None)

        def on_train_batch_begin(self, batch, logs=None):
            trainable.append(len(self.model.trainable_variables))

        def on_train_batch_end(self, batch, logs=None):
            call(scheduler, self.epoch, batch)

    fit(compiled(), scheduler, [Calls()], epochs=5)
    return trainable


@pytest.mark.same_everywhere
def test_the_next_phase_begins_by_hand_with_the_next_epoch():
    trainable = by_hand(lambda s, epoch, batch: s.next_phase() if batch is None and epoch in (0, 2) else None)
    assert trainable == [*[2] * 3, *[4] * 6, *[6] * 6]


def test_the_next_phase_begins_by_hand_before_the_next_batch():
    trainable = by_hand(lambda s, epoch, batch: s.next_phase() if (epoch, batch) in ((0, 0), (1, 1)) else None)
    assert trainable == [2, *[4] * 4, *[6] * 10]


@pytest.mark.same_everywhere
def test_the_next_phase_begins_by_hand_between_two_calls_of_fit():
    scheduler, model, seen = PhaseScheduler([Phase("head", until="next_phase"), Phase("*")]), compiled(), Weights()
    assert scheduler.phase == 0
    with pytest.raises(ValueError, match="No phase has begun"):
        scheduler.next_phase()
    fit(model, scheduler, [seen], epochs=1)
    fit(model, scheduler, [seen], epochs=1)
    assert scheduler.phase == 1
    scheduler.next_phase()
    fit(model, scheduler, [seen], epochs=2)
    fit(model, scheduler, [seen], epochs=1)  # and stays there
    assert seen.phases == [1, 1, 2, 2, 2]
    with pytest.raises(ValueError, match="Phase 2 is the last"):
        scheduler.next_phase()


@pytest.mark.same_everywhere
def test_by_hand_is_as_by_plan():
    by_plan, other = compiled(), compiled()
    fit(by_plan, [Phase("head", steps=4), Phase("*")], epochs=3)
    scheduler = PhaseScheduler([Phase("head", epochs=2), Phase("*")])

    class Calls(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if number(self.model.optimizer.iterations) == 4:
                scheduler.next_phase()

    fit(other, scheduler, [Calls()], epochs=3)
    assert_same(state(other), state(by_plan))


# -- the best weights -------------------------------------------------------------------------------------------------


def head_kernel(model):
    return number(model.get_layer("head").kernel)


@pytest.mark.same_everywhere
def test_the_next_phase_starts_from_the_best_weights():
    first = Phase("head", monitor="decided_loss", patience=2, restore_best=True)
    begun = []

    class Notes(keras.callbacks.Callback):
        def on_phase_begin(self, phase, logs=None):
            slots = {
                name: v for (place, name), v in self.model.optimizer.state_entries().items() if place == "head/kernel"
            }
            begun.append((self.model.get_weights(), {name: number(v) for name, v in slots.items()}))

        def on_epoch_end(self, epoch, logs=None):
            entries = self.model.optimizer.state_entries().items()
            self.slots = [*getattr(self, "slots", []), {k[1]: number(v) for k, v in entries if k[0] == "head/kernel"}]

    notes = Notes()
    _, seen = run([first, Phase("*")], (9, 3, 8, 7, 1), callbacks=[notes])
    assert seen.phases == [1, 1, 1, 1, 2]
    assert_same(begun[1][0], seen.weights[1])
    assert not np.array_equal(seen.weights[1][-2], seen.weights[3][-2])
    for name, value in begun[1][1].items():  # the moments too are those of the best epoch
        np.testing.assert_array_equal(value, notes.slots[1][name])


@pytest.mark.same_everywhere
def test_training_ends_with_the_best_weights_of_the_last_phase():
    last = Phase("*", monitor="decided_loss", patience=2, restore_best=True)
    model, seen = run([Phase("head", epochs=1), last], (1, 5, 3, 4, 4, 4))
    assert len(seen.weights) == 5
    assert_same(model.get_weights(), seen.weights[2])


@pytest.mark.same_everywhere
def test_the_best_weights_are_those_of_the_phase():
    phases = [Phase("head", epochs=2), Phase("*", monitor="decided_loss", epochs=2, patience=5, restore_best=True)]
    model, seen = run(phases, (1, 2, 8, 9))
    assert_same(model.get_weights(), seen.weights[2])


def test_with_averages_the_best_epoch_ends_as_if_training_had_stopped_there():
    def trained(epochs):
        optimizer = difflr.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5)
        phase = Phase("*", monitor="decided_loss", epochs=epochs, patience=5, restore_best=True)
        return run([phase], values=(9, 1, 8, 7)[:epochs], optimizer=optimizer)[0].get_weights()

    assert_same(trained(4), trained(2))
    assert not np.allclose(trained(4)[0], trained(1)[0])


# -- events and logs --------------------------------------------------------------------------------------------------


class Events(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.events = []

    def on_phase_begin(self, phase, logs=None):
        self.events.append(("begin", phase, len(self.model.trainable_variables), sorted(logs)))

    def on_phase_end(self, phase, logs=None):
        self.events.append(("end", phase, len(self.model.trainable_variables), sorted(logs)))

    def on_epoch_begin(self, epoch, logs=None):
        self.events.append(("epoch", epoch))


@pytest.mark.same_everywhere
@pytest.mark.parametrize("first", [True, False])
def test_callbacks_are_called_when_a_phase_begins_and_ends(first):
    events, scheduler = Events(), PhaseScheduler([Phase("head", epochs=1), Phase("*")])
    callbacks = [events, scheduler] if first else [scheduler, events]
    compiled_model = compiled()
    fit(compiled_model, None, callbacks, epochs=2)
    found = [event for event in events.events if event[0] != "epoch"]
    expected = [("begin", 1, 2), ("end", 1, 2), ("begin", 2, 6), ("end", 2, 6)]
    assert [event[:3] for event in found] == expected
    assert scheduler.phase == 2


@pytest.mark.same_everywhere
def test_the_phase_is_in_all_logs(tmp_path):
    """Also in those of callbacks that stand before the scheduler."""
    log = keras.callbacks.CSVLogger(tmp_path / "log.csv")
    model = compiled()
    history = model.fit(
        X, Y, epochs=3, verbose=0, callbacks=[log, PhaseScheduler([Phase("head", epochs=1), Phase("*")])]
    )
    assert history.history["phase"] == [1, 2, 2]
    with open(tmp_path / "log.csv") as file:
        assert [row["phase"] for row in csv.DictReader(file)] == ["1", "2", "2"]


@pytest.mark.same_everywhere
def test_the_base_rate_is_in_the_logs_where_phases_set_it():
    history = fit(compiled(), [Phase("head", epochs=1, learning_rate=0.5), Phase("*", learning_rate=0.25)], epochs=3)
    assert history.history["learning_rate"] == [0.5, 0.25, 0.25]


# -- changed on resuming ----------------------------------------------------------------------------------------------


class Stop(keras.callbacks.Callback):
    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            raise KeyboardInterrupt


def resumed(before, after, epoch=2, epochs=5):
    model, seen = compiled(difflr.optimizers.SGD(0.125)), Weights()
    with pytest.raises(KeyboardInterrupt):
        fit(model, before, [seen, Stop(epoch)], epochs=epochs)
    fit(model, after, [seen], epochs=epochs, initial_epoch=epoch)
    return model, seen.phases


@pytest.mark.same_everywhere
def test_a_running_phase_is_shortened_and_made_longer():
    long, short = [Phase("head", epochs=4), Phase("*")], [Phase("head", epochs=1), Phase("*")]
    assert resumed(long, short)[1] == [1, 1, 2, 2, 2]
    assert resumed(long, [Phase("head", epochs=3), Phase("*")])[1] == [1, 1, 1, 2, 2]
    assert resumed([Phase("head", epochs=3), Phase("*")], long)[1] == [1, 1, 1, 1, 2]
    assert resumed(long, [Phase("head", monitor="loss", threshold=100), Phase("*")])[1] == [1, 1, 1, 2, 2]


@pytest.mark.same_everywhere
def test_a_running_phase_is_changed():
    rates = []

    class Notes(Stop):
        def on_epoch_begin(self, epoch, logs=None):
            now = self.model.optimizer.effective_rates()
            rates.append([now.get(id(self.model.get_layer(name).kernel)) for name in NAMES])
            super().on_epoch_begin(epoch, logs)

    model = compiled(difflr.optimizers.SGD(0.125))
    with pytest.raises(KeyboardInterrupt):
        fit(model, [Phase(["head", "low"], epochs=4, learning_rate=0.5), Phase("*")], [Notes(2)], epochs=5)
    changed = Phase(["head", "mid"], epochs=4, learning_rate=0.25, multipliers={"mid": 0.5})
    fit(model, [changed, Phase("*")], [Notes(9)], epochs=5, initial_epoch=2)
    assert rates == [[0.5, None, 0.5]] * 3 + [[None, 0.125, 0.25]] * 2 + [[0.25] * 3]


def test_ended_phases_are_not_edited():
    with pytest.raises(ValueError, match="is in phase 2, after .*Only the running phase and later ones"):
        resumed([Phase("head", epochs=1), Phase("*")], [Phase("mid", epochs=1), Phase("*")])


def test_a_function_that_cannot_be_asked_says_so():
    with pytest.raises(ValueError, match=r"two arguments, \(epoch, logs\) -> bool. Received: function <lambda>"):
        Phase("head", until=lambda epoch: True)
    with pytest.raises(ValueError, match=r"asks for 'accuracy', which the logs of epoch 1 do not have. Received: loss"):
        fit(compiled(), [Phase("head", until=lambda epoch, logs: logs["accuracy"] > 0.9), Phase("*")])

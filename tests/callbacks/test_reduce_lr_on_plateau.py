"""`difflr.ReduceLROnPlateau`: Keras's callback for one part of a model, without compiling again, resumed with the model."""

import keras
import numpy as np
import pytest

import difflr
from optimizers.steps import BACKEND, X, Y, chain

RULES = {"body": 0.1, "head": 1.0}


def compiled(rules=RULES, rate=1e-3):
    model = chain()
    model.compile(difflr.optimizers.Adam(rate, multipliers=difflr.Plan(model, rules)), loss="mse")
    return model


def plateau(target="body", **settings):
    """A loss that falls by less than 10 is no improvement: a reduction every second epoch."""
    return difflr.ReduceLROnPlateau(
        target, **{"monitor": "loss", "factor": 0.5, "patience": 2, "min_delta": 10, **settings}
    )


def rates(model, epochs, *callbacks, initial_epoch=0):
    """The multipliers of both layers at the end of each epoch."""
    found = []

    def note(epoch, logs):
        found.append([round(model.optimizer.multipliers[name], 6) for name in ("body", "head")])

    callbacks = [*callbacks, keras.callbacks.LambdaCallback(on_epoch_end=note)]
    model.fit(X, Y, epochs=epochs, initial_epoch=initial_epoch, batch_size=8, verbose=0, callbacks=callbacks)
    return found


def test_one_part_is_reduced_as_keras_reduces_all():
    model = compiled()
    assert rates(model, 6, plateau()) == [[0.1, 1], [0.1, 1], [0.05, 1], [0.05, 1], [0.025, 1], [0.025, 1]]
    assert float(keras.ops.convert_to_numpy(model.optimizer.learning_rate)) == pytest.approx(1e-3)


def test_the_next_steps_are_slower_and_nothing_is_compiled_again():
    class Counted(difflr.Sequential):
        traces = 0

        def train_step(self, *arguments):
            self.traces += 1
            return super().train_step(*arguments)

    model = Counted(chain().layers)
    model.build((None, 3))
    optimizer = difflr.optimizers.SGD(schedules_of_1(), multipliers=difflr.Plan(model, RULES))
    model.compile(optimizer, loss=lambda y_true, y_pred: keras.ops.mean(y_pred, axis=-1))
    kernels, traces, head = [], [], model.layers[1].kernel

    def note(epoch, logs):
        traces.append(model.traces)
        kernels.append(np.array(keras.ops.convert_to_numpy(head)))

    watch = keras.callbacks.LambdaCallback(on_epoch_begin=note, on_epoch_end=note)
    model.fit(X, Y, epochs=2, batch_size=8, verbose=0, callbacks=[plateau("head", patience=1, factor=0.25), watch])
    model.fit(X, Y, epochs=1, batch_size=8, verbose=0, callbacks=[watch])
    first, last = (np.linalg.norm(kernels[n + 1] - kernels[n]) for n in (0, 4))
    assert last == pytest.approx(0.25 * first, rel=0.05)
    if BACKEND != "torch":
        assert model.traces == traces[1]  # those of the first epoch


def schedules_of_1():
    """A base rate that is a schedule, which Keras's callback refuses to change."""
    return keras.optimizers.schedules.PiecewiseConstantDecay([1000], [1e-3, 1e-3])


@pytest.mark.same_everywhere
def test_not_below_the_lowest_rate():
    assert rates(compiled(), 4, plateau(patience=1, min_lr=4e-5))[-1] == [0.04, 1]


@pytest.mark.same_everywhere
def test_a_part_with_several_rates_keeps_their_ratios():
    model = compiled({"body/kernel": 0.1, "body/bias": 0.2, "head": 1.0})
    plans = model.optimizer.multipliers
    model.fit(X, Y, epochs=2, batch_size=8, verbose=0, callbacks=[plateau(patience=1)])
    plans = model.optimizer.multipliers
    assert [plans["body/kernel"], plans["body/bias"], plans["head"]] == pytest.approx([0.05, 0.1, 1.0])


@pytest.mark.parametrize("stop", [pytest.param(2, marks=pytest.mark.same_everywhere), 3])
def test_saved_with_the_model_and_resumed(tmp_path, stop):
    straight = rates(compiled(), 6, plateau())
    model = compiled()
    path = tmp_path / "model.keras"
    first = rates(model, stop, plateau(), keras.callbacks.ModelCheckpoint(path))
    again = keras.saving.load_model(path)
    assert first + rates(again, 6, plateau(), initial_epoch=stop) == straight


@pytest.mark.same_everywhere
@pytest.mark.filterwarnings("ignore:Multipliers that were changed while training are restored")
def test_after_a_backup(tmp_path):
    straight = rates(compiled(), 6, plateau())

    class Stop(Exception):
        pass

    def stop(epoch, logs):
        if epoch == 3:
            raise Stop

    def backup():
        return difflr.BackupAndRestore(tmp_path / "backup")

    interrupt = keras.callbacks.LambdaCallback(on_epoch_begin=stop)
    with pytest.raises(Stop):
        compiled().fit(X, Y, epochs=6, batch_size=8, verbose=0, callbacks=[plateau(), backup(), interrupt])
    assert rates(compiled(), 6, plateau(), backup()) == straight[3:]


@pytest.mark.same_everywhere
@pytest.mark.filterwarnings("ignore:__array__ implementation")  # `pytest.warns` lets Keras's through as the test's own
def test_a_state_that_was_saved_before_is_said():
    model = compiled()
    rates(model, 2, plateau())
    with pytest.warns(UserWarning, match="starts fresh: .* after epoch 2, but training continues after epoch 4"):
        rates(model, 5, plateau(), initial_epoch=4)


@pytest.mark.same_everywhere
def test_refused():
    model = compiled({"body": 0.1, "head/kernel": 0.1})
    with pytest.raises(ValueError, match=r"shares its multiplier with 1 variable not named: head/kernel"):
        rates(model, 1, plateau("body"))
    with pytest.raises(ValueError, match="'bodie'.*'body'"):
        rates(compiled(), 1, plateau("bodie"))
    with pytest.raises(KeyError, match="The optimizer trains no variable of body"):
        rates(compiled({"body": difflr.FROZEN}), 1, plateau("body"))
    with pytest.raises(ValueError, match="factor"):
        plateau(factor=2.0)
    model = chain()
    model.compile("sgd", loss="mse")
    with pytest.raises(TypeError, match="which needs a difflr optimizer"):
        rates(model, 1, plateau())


@pytest.mark.same_everywhere
def test_epochs_in_which_a_phase_freezes_the_part_do_not_count():
    scheduler = difflr.PhaseScheduler([difflr.Phase("head", epochs=2), difflr.Phase("*")])
    found = rates(compiled(), 5, scheduler, plateau())
    assert [body for body, _ in found[2:]] == [0.1, 0.1, 0.05]

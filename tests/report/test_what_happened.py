"""A report shows the rates at which a run trained: measured by how far the weights moved."""

import keras
import numpy as np
import pytest

import difflr
from difflr.report import phase_spans
from difflr.report.run import Run
from report.runs import Constant


class Weights(keras.callbacks.Callback):
    """The weight of each layer after each epoch."""

    def on_train_begin(self, logs=None):
        self.seen = [self._now()]

    def on_epoch_end(self, epoch, logs=None):
        self.seen.append(self._now())

    def _now(self):
        weights = [layer.bias if layer.name == "head" else layer.kernel for layer in self.model.layers]
        return np.array([np.sum(keras.ops.convert_to_numpy(weight)) for weight in weights])

    @property
    def moves(self):
        return -np.diff(self.seen, axis=0).T


def constants(names="abc"):
    return keras.Sequential([keras.Input((1,)), *[Constant(name=name) for name in names]])


def mean(y_true, y_pred):
    return keras.ops.mean(y_pred, axis=-1)


X = np.zeros((2, 1), "float32")


@pytest.mark.same_everywhere
def test_the_map_of_fine_tune_is_what_the_steps_did(tmp_path):
    pytest.importorskip("jinja2")
    head = keras.layers.Dense(1, kernel_initializer="ones", name="head")
    model, weights = keras.Sequential([keras.Input((1,)), Constant(name="a"), Constant(name="b"), head]), Weights()
    plan = difflr.Plan(model, {"a": 0.1, "b": 0.5, "head/kernel": difflr.FROZEN})
    history = difflr.fine_tune(
        model,
        X,
        X,
        epochs=4,
        freeze_epochs=2,
        learning_rate=0.5,
        plan=plan,
        optimizer=keras.optimizers.SGD(0.5),
        loss=mean,
        callbacks=[weights],
        batch_size=2,
        verbose=0,
    )
    assert history.history["phase"] == [1, 1, 2, 2, 2, 2]
    numbers = Run(model, history).rate_map()
    assert numbers.names == ["a", "b", "head/kernel", "head/bias"]
    assert np.isnan(numbers.rates[:, :2]).tolist() == [[True] * 2, [True] * 2, [True] * 2, [False] * 2]
    np.testing.assert_allclose(np.nan_to_num(numbers.rates[[0, 1, 3]]), weights.moves, rtol=1e-4, atol=1e-6)
    path = difflr.write_report(tmp_path / "run.html", model, history)
    head, everything = (f"{who}; schedule OneCycle" for who in ("kind:head", "*"))
    assert difflr.read_report(path)["phases"] == [[head, "2 epochs"], [everything, "the end"]]
    assert "Learning rate of each layer at each step" in path.read_text()


def test_rates_that_a_callback_changed_are_in_the_map():
    model, weights = constants(), Weights()
    model.compile(difflr.optimizers.SGD(0.5, multipliers={model.layers[0]: 0.1}), loss=mean)
    slower = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)
    history = model.fit(X, X, epochs=3, batch_size=2, verbose=0, callbacks=[weights, slower])
    np.testing.assert_allclose(Run(model, history).rate_map().rates, weights.moves, rtol=1e-5)


def test_accumulated_gradients_phases_and_warm_up_are_in_the_map():
    model, weights = constants(), Weights()
    optimizer = difflr.optimizers.SGD(
        difflr.schedules.WarmupCosine(0.5, 16, warmup_steps=4),
        multipliers={model.layers[0]: 0.1},
        gradient_accumulation_steps=2,
    )
    phases = difflr.Phases([difflr.Phase("c", steps=3, warmup_steps=2), difflr.Phase("*", warmup_steps=3)])
    model.compile(optimizer, loss=mean)
    callbacks = [weights, difflr.PhaseScheduler(phases)]
    history = model.fit(np.zeros((4, 1)), np.zeros((4, 1)), epochs=8, batch_size=2, verbose=0, callbacks=callbacks)
    numbers = Run(model, history).rate_map()
    assert [span.begins for span in numbers.spans] == [0, 6]
    np.testing.assert_allclose(np.nan_to_num(numbers.rates[:, 1::2]), weights.moves, rtol=1e-4, atol=1e-6)


@pytest.mark.same_everywhere
def test_without_the_phases_no_map_is_drawn_and_the_report_says_so(run, tmp_path):
    pytest.importorskip("jinja2")
    del run.history.phases
    try:
        assert Run(run.model, run.history).rate_map() is None
        page = difflr.write_report(tmp_path / "run.html", run.model, run.history).read_text()
        difflr.write_report(tmp_path / "all.html", run.model, run.history, phases=run.phases)
    finally:
        run.history.phases = run.phases
    assert "the run had 2 phases, which the report does not know" in page
    assert "Learning rate of each layer at each step" not in page
    assert "Learning rate of each layer at each step" in (tmp_path / "all.html").read_text()
    with pytest.raises(ValueError, match="The history has a phase 2, and `phases` has 1"):
        Run(run.model, run.history, [difflr.Phase("*")])


@pytest.mark.same_everywhere
def test_a_plateau_ends_where_the_log_says():
    phases = difflr.Phases([difflr.Phase("a", monitor="val_loss"), difflr.Phase("b", steps=2), difflr.Phase("*")])
    found = phase_spans.spans(phases, "epoch", 4, logged=[1, 1, 1, 3, 3])
    assert [(span.begins, span.ends) for span in found] == [(0, 3), (3, 3.5), (3.5, float("inf"))]
    assert not any(span.at_least for span in found)
    assert phase_spans.spans(phases, "epoch", 4, logged=[1, 1])[0].ends == 2
    assert phase_spans.spans(phases, "epoch", 4)[0].at_least


@pytest.mark.same_everywhere
@pytest.mark.parametrize("groups", [2, 40])
def test_infinite_and_missing_values_are_drawn(groups, axes):
    log = {f"update_ratio/layer{number}/kernel": [0.1, 0.2, 0.3] for number in range(groups)}
    log["update_ratio/layer0/kernel"] = [np.inf, 0.1, np.nan]
    log["update_ratio/layer1/kernel"] = [np.inf, 0.0, 0.1]
    difflr.plot_log(log, "update_ratio", axes)
    axes.figure.canvas.draw()
    if groups == 2:
        assert list(axes.lines[-1].get_xdata()) == [1, 1]
        assert [text.get_text() for text in axes.get_legend().get_texts()][-1] == "infinite"
        assert axes.get_ylim()[1] < 1
        return
    values = axes.collections[0].get_array()
    assert values[:2, 0].tolist() == [pytest.approx(0.3)] * 2  # the highest color
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["0, or frozen", "not measured"]


@pytest.mark.same_everywhere
def test_phases_are_marked_in_the_plots_of_a_log(axes):
    difflr.plot_log({"loss": [3.0, 2.0, 1.0], "phase": [1, 2, 2]}, "loss", axes)
    assert [text.get_text() for text in axes.texts] == ["phase 1", "phase 2"]
    assert {line.get_segments()[0][0][0] for line in axes.collections} == {1.5}
    assert len(axes.lines) == 1

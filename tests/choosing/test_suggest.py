"""`suggest`: planted truths are found and noise is not believed; nothing is left; nothing held out is trained on."""

import dataclasses
import functools

import keras
import numpy as np
import pytest

import difflr
from choosing.networks import LOSS, assert_unchanged, clusters, network, state_of
from difflr.choosing import decide, examples, scores, trial
from difflr.choosing.candidate import Candidate, candidates_for
from difflr.choosing.layout import Layout
from difflr.choosing.setting import setting_of
from difflr.verification.snapshot import Snapshot

pytestmark = pytest.mark.usefixtures("quick_compilation")
X, Y = clusters()


def suggest(model, x=X, y=Y, **arguments):
    return difflr.suggest(
        model, x, y, **{"epochs": 1, "loss": LOSS, "batch_size": 16, "verbose": 0, "budget": 5.0, **arguments}
    )


class Fragile(keras.layers.Layer):
    """Features that are right as they are, and scrambled by the smallest step."""

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1],), initializer=keras.initializers.Constant(0.5), name="kernel")

    def call(self, inputs):
        return inputs + 5 * keras.ops.sin((self.kernel - 0.5) * 1e5 * inputs)


def fragile_network():
    keras.utils.set_random_seed(0)
    layers = [Fragile(name="body"), keras.layers.Dense(3, name="head")]
    return keras.Sequential([keras.Input((6,)), *layers])


# -- planted truths


@pytest.mark.same_everywhere
def test_only_the_head_may_move(eager_steps):
    model = fragile_network()
    choice = suggest(model, learning_rate=0.1, epochs=2, validation_data=clusters(48, seed=1))
    assert choice.is_measured
    assert choice.plan.row(model.get_layer("body").kernel).frozen
    assert "the body keeps its pretrained weights" in choice.reason
    difflr.fine_tune(model, X, Y, epochs=2, learning_rate=choice, loss=LOSS, batch_size=16, verbose=0)
    assert float(keras.ops.convert_to_numpy(model.get_layer("body").kernel)[0]) == 0.5
    assert (model.predict(X, verbose=0).argmax(1) == Y).mean() > 0.9
    by_itself = fragile_network()
    difflr.fine_tune(by_itself, X, Y, epochs=2, learning_rate=0.1, loss=LOSS, batch_size=16, verbose=0)
    assert (by_itself.predict(X, verbose=0).argmax(1) == Y).mean() < 0.7


def line(number=96, scale=15.5):
    """A regression of which gradient descent with rates above 4.2e-3 diverges."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(number, 2)).astype("float32") * scale
    return x, (x @ np.array([[1.0], [-1.0]]) / scale).astype("float32")


def line_network():
    keras.utils.set_random_seed(0)
    body = keras.layers.Dense(
        2, name="body", kernel_initializer="identity", bias_initializer=lambda s, dtype: keras.ops.full(s, 1e-3)
    )
    return keras.Sequential([keras.Input((2,)), body, keras.layers.Dense(1, name="head")])


@pytest.mark.same_everywhere
@pytest.mark.filterwarnings("ignore:The default learning rate")  # which is what diverges
def test_rates_that_diverge_are_not_chosen(eager_steps):
    model = line_network()
    settings = {"loss": "mse", "optimizer": keras.optimizers.SGD(), "epochs": 4}
    choice = suggest(model, *line(), **settings, validation_data=line(48))
    assert not choice.trials[0].loss < 10
    assert choice.learning_rate == pytest.approx(choice.trials[0].learning_rate / 3)
    assert choice.is_measured
    history = difflr.fine_tune(
        model, *line(), epochs=8, learning_rate=choice, loss="mse", optimizer="sgd", batch_size=16, verbose=0
    )
    assert history.history["loss"][-1] < 1


@pytest.mark.same_everywhere
@pytest.mark.filterwarnings("ignore:The default learning rate")  # which is what diverges
def test_lower_rates_are_tried_where_all_diverge(eager_steps):
    settings = {"loss": "mse", "optimizer": keras.optimizers.SGD()}
    choice = suggest(line_network(), *line(scale=30.0), **settings, epochs=4)
    assert choice.is_measured
    assert choice.learning_rate < choice.trials[0].learning_rate / 8
    choice = suggest(line_network(), *line(scale=1e4), **settings)
    assert not choice.is_measured
    assert "every candidate diverged" in choice.reason


@pytest.mark.same_everywhere
def test_a_default_rate_that_is_not_for_the_optimizer_is_warned_of():
    model = line_network()
    before = model.get_weights()
    settings = {"loss": "mse", "optimizer": "sgd", "epochs": 4}
    with pytest.raises(UserWarning, match="may be far from right for SGD"):
        suggest(model, *line(), **settings)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    suggest(model, *line(), **settings, learning_rate=1e-4)


@pytest.mark.same_everywhere
def test_a_useless_body_is_told(eager_steps):
    y = np.random.default_rng(5).permutation(Y)
    choice = suggest(network(), np.random.default_rng(6).normal(size=X.shape).astype("float32"), y, budget=1.5)
    assert not choice.is_measured
    assert "nothing learned" in choice.reason


# -- each rule, and what happens without it


def scored(logits, labels):
    return scores.Labels("sparse", True, labels).scores(logits, np.arange(len(labels)))


def a_trial(name, *parts):
    candidate = Candidate(name, 1e-3, plan())
    return decide.Trial(candidate, dict(enumerate(parts)))


@functools.cache
def plan():
    return difflr.Plan(network())


LABELS = np.arange(60) % 3
RIGHT = LABELS.copy()
RIGHT[:12] = (LABELS[:12] + 1) % 3
SURE = 40 * np.eye(3)[RIGHT]  # 80 % right, and far too sure where it is wrong
DEAD = np.zeros((60, 3))


@pytest.mark.same_everywhere
def test_a_dead_network_does_not_look_best(monkeypatch):
    assert scored(SURE, LABELS).loss < 0.9 * scored(DEAD, LABELS).loss
    constants, dead = a_trial("constants", scored(SURE, LABELS)), a_trial("dead", scored(DEAD, LABELS))
    assert decide.decide([constants, dead], np.log(3))[0] is constants
    monkeypatch.setattr(scores, "TEMPERATURES", [1.0])
    assert scored(DEAD, LABELS).loss < scored(SURE, LABELS).loss  # without the temperature it looks best
    constants, dead = a_trial("constants", scored(SURE, LABELS)), a_trial("dead", scored(DEAD, LABELS))
    assert decide.survivors([a_trial("other", scored(SURE, LABELS)), constants, dead], 2)[1] is dead


@pytest.mark.same_everywhere
def test_differences_within_the_noise_are_not_believed(monkeypatch):
    rng, wins = np.random.default_rng(0), [0, 0]
    for noise in (0, 1):
        if not noise:
            monkeypatch.setattr(decide, "NOISE", 0.0)
        else:
            monkeypatch.undo()
        for _ in range(30):
            both = [np.eye(3)[LABELS] + rng.normal(size=(60, 3)) for _ in range(2)]
            first, second = (a_trial(name, scored(logits, LABELS)) for name, logits in zip("ab", both, strict=True))
            wins[noise] += decide.decide([first, second], np.log(3))[0] is second
    assert wins[0] > 8  # without the rule every third choice or more is chance
    assert wins[1] <= 2


@pytest.mark.same_everywhere
def test_who_learned_nothing_is_not_chosen(monkeypatch):
    rng = np.random.default_rng(1)
    worse, dead = scored(rng.normal(size=(60, 3)) * 0.01 - 0.02 * np.eye(3)[LABELS], LABELS), scored(DEAD, LABELS)
    trials = [a_trial("constants", worse), a_trial("dead", dead)]
    found, reason = decide.decide(trials, np.log(3))
    assert found is trials[0]
    assert "nothing learned" in reason
    monkeypatch.setattr(decide, "CHANCE", np.inf)
    assert "nothing learned" not in decide.decide(trials, np.log(3))[1]


@pytest.mark.same_everywhere
def test_a_candidate_is_compared_on_the_same_examples():
    """The second part is harder: who was scored on the first alone has no advantage of that."""
    easy, hard = scored(4 * np.eye(3)[LABELS], LABELS), scored(np.eye(3)[LABELS], LABELS)
    constants, other = a_trial("constants", easy, hard), a_trial("other", easy)
    assert decide.standard_errors(other, constants) == 0
    assert other.pooled.loss < constants.pooled.loss
    assert decide.decide([constants, other], np.log(3))[0] is constants


@pytest.mark.same_everywhere
def test_constants_that_diverged_are_left():
    inf = scores.Scores(np.full(60, np.inf), np.zeros(60))
    constants, other = a_trial("constants", inf), a_trial("other", scored(SURE, LABELS))
    assert decide.decide([constants, other], np.log(3))[0] is other


# -- honesty: examples, cost, determinism, restoring


@pytest.mark.same_everywhere
def test_held_out_examples_are_never_trained_on(monkeypatch, eager_steps):
    trained, held_out, seen = [], [], []
    run, item = trial.Trials.run, examples.Steps.__getitem__

    def spied_run(self, candidate, train, held):
        seen.clear()
        result = run(self, candidate, train, held)
        trained.append(set(map(float, np.concatenate(seen))))
        held_out.append(set(map(float, X[held, 0])))
        return result

    def spied_item(self, index):
        batch = item(self, index)
        seen.append(batch[0][:, 0])
        return batch

    monkeypatch.setattr(trial.Trials, "run", spied_run)
    monkeypatch.setattr(examples.Steps, "__getitem__", spied_item)
    suggest(network())
    assert len(trained) >= 6
    for ours, others in zip(trained, held_out, strict=True):
        assert not ours & others
        assert len(ours) > 40
    assert set.union(*held_out) == set(map(float, X[:, 0]))  # each example is held out once


@pytest.mark.same_everywhere
def test_the_cost_is_the_true_cost(monkeypatch, eager_steps):
    counted = []
    fit, predict = keras.Sequential.fit, keras.Sequential.predict

    def counting(self, *args, callbacks=(), **kwargs):
        note = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: counted.append("step"))
        return fit(self, *args, callbacks=[*callbacks, note], **kwargs)

    def counting_batches(self, x, batch_size, **kwargs):
        counted.extend(["forward"] * -(-len(x) // batch_size))
        return predict(self, x, batch_size=batch_size, **kwargs)

    monkeypatch.setattr(keras.Sequential, "fit", counting)
    monkeypatch.setattr(keras.Sequential, "predict", counting_batches)
    choice = suggest(network())
    assert choice.cost.train_steps == counted.count("step")
    assert choice.cost.forward_batches == counted.count("forward")
    assert choice.cost.run_steps == 2 * 6
    assert choice.cost.runs <= 5


@pytest.mark.same_everywhere
def test_a_budget_is_kept_or_the_floor_is_told(eager_steps):
    choice = suggest(network(), budget=2.0)
    assert 1 < choice.cost.runs <= 2
    small = suggest(network(), budget=0.1)
    assert "exceeds the budget of 0.1 of a run" in small.reason
    assert len(small.trials) == 2


@pytest.mark.same_everywhere
def test_two_calls_agree_and_nothing_is_left(tmp_path, eager_steps):
    model = network()
    before = state_of(model)
    choice = suggest(model, budget=3.0)
    assert_unchanged(before, model)
    assert suggest(model, budget=3.0) == choice
    choice.save(tmp_path / "choice.json")
    assert difflr.Choice.load(tmp_path / "choice.json", model) == choice
    assert "cost: " in str(choice)
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(ValueError, match="does not contain a choice"):
        difflr.Choice.load(tmp_path / "other.json", model)


@pytest.mark.same_everywhere
def test_a_broken_search_leaves_nothing_and_goes_on_from_its_journal(tmp_path, monkeypatch, eager_steps):
    model = network()
    model.compile(difflr.optimizers.Adam(1e-3), LOSS, metrics=["accuracy"])
    model.fit(X, Y, verbose=0)
    model.optimizer = difflr.optimizers.Adam(1e-3)
    before = state_of(model)
    expected = suggest(model, budget=3.0)
    run, made = trial.Trials.run, []

    def breaking(self, *args):
        made.append(1)
        if len(made) == 3:
            raise KeyboardInterrupt
        return run(self, *args)

    monkeypatch.setattr(trial.Trials, "run", breaking)
    with pytest.raises(KeyboardInterrupt):
        suggest(model, budget=3.0, journal=tmp_path / "journal")
    assert_unchanged(before, model)
    resumed = suggest(model, budget=3.0, journal=tmp_path / "journal")
    assert resumed.trials == expected.trials
    assert resumed.learning_rate == expected.learning_rate
    assert resumed.cost.train_steps < expected.cost.train_steps
    assert len(made) == 1 + sum(tried.examples for tried in expected.trials) // 32


@pytest.mark.same_everywhere
def test_it_is_drawn():
    """A bar for each candidate, its accuracy; or its loss, and no bar if it diverged."""
    pytest.importorskip("matplotlib")
    tried = [difflr.choosing.Tried("rates 1 : 10", 1e-3, 0.8, 0.75, 96, 0.0)]
    tried += [difflr.choosing.Tried("head $alone$", 3e-3, np.inf, 0.25, 32, -9.0)]
    choice = difflr.Choice(1e-3, plan(), True, "by hand", tried, difflr.choosing.Cost(1, 1, 1), True)
    axes = choice.plot()
    axes.figure.canvas.draw()
    assert [bar.get_width() for bar in axes.patches] == [0.75, 0.25]
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "rates 1 : 10, rate 0.001",
        "head $alone$, rate 0.003",
    ]
    assert "accuracy" in axes.get_xlabel()
    tried = [dataclasses.replace(one, accuracy=None) for one in tried]
    axes.clear()
    assert dataclasses.replace(choice, trials=tried).plot(axes) is axes
    assert [bar.get_width() for bar in axes.patches] == [0.8, 0.0]
    assert [text.get_text() for text in axes.texts] == ["diverged"]
    assert "loss" in axes.get_xlabel()
    with pytest.raises(ValueError, match="no candidate was tried: by hand"):
        dataclasses.replace(choice, trials=[]).plot()


@pytest.mark.same_everywhere
def test_a_plan_is_kept_in_a_trial(eager_steps):
    """`difflr.verify` of what a trial trains with."""
    model = network(dropout=0)
    setting = setting_of(model, None, LOSS)
    data = examples.read_examples(X, Y, batch_size=16)
    settings = difflr.fine_tune_settings(model, epochs=4, steps_per_epoch=6)
    candidate = next(candidates_for(model, settings))
    layout = Layout(head_steps=2, steps=4, trials=2, parts=3, is_floor=False)
    with Snapshot(model) as snapshot:
        trials = trial.Trials(snapshot, setting, data, None, layout, None, ["kind:head"])
        for number, frozen in enumerate([True, False]):
            stage = trials.enter(candidate, number)
            assert difflr.verify(model, (X, Y), plan=stage.plan).kept
            assert model.get_layer("stem").kernel.trainable != frozen

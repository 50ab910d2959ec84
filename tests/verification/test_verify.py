"""A plan that is kept is called kept: no false alarms, whatever the optimizer is."""

import os

import keras
import numpy as np
import pytest

import difflr
from difflr.verification import judgment
from difflr.verification.verify import first_batch
from optimizers.steps import BACKEND, NAMES, values
from saving.conftest import saying

NUMBERS = np.random.default_rng(0)
X = NUMBERS.normal(size=(16, 6)).astype("float32")
Y = NUMBERS.normal(size=(16, 3)).astype("float32")
DATA = (X, Y)
EAGER = BACKEND == "tensorflow"
pytestmark = pytest.mark.usefixtures("quick_compilation")
RULES = {"body": 0.1, "mid/kernel": {"multiplier": 0.5, "weight_decay_multiplier": 0}, "head/bias": difflr.FROZEN}


def network():
    keras.utils.set_random_seed(0)
    body, mid = (keras.layers.Dense(6, activation="tanh", name=name) for name in ("body", "mid"))
    dropout = keras.layers.Dropout(0.3, seed=1)
    return keras.Sequential([keras.Input((6,)), body, dropout, mid, keras.layers.Dense(3, name="head")])


def compiled(optimizer_class, rules=RULES, **settings):
    model = network()
    plan = difflr.Plan(model, rules)
    model.compile(optimizer_class(0.01, multipliers=plan, **settings), loss="mse", run_eagerly=EAGER)
    return model, plan


# Every optimizer on torch; elsewhere those that are not proportional to their rate, as each takes seconds to compile
# (EVERY_OPTIMIZER=1 asks for all).
EVERY = BACKEND == "torch" or "EVERY_OPTIMIZER" in os.environ


@pytest.mark.parametrize("name", NAMES if EVERY else ["Ftrl"])
def test_no_false_alarm(name):
    settings = {"weight_decay": 0.1, "global_clipnorm": 0.1, "gradient_accumulation_steps": 2}
    model, plan = compiled(getattr(difflr.optimizers, name), **settings)
    model.fit(X, Y, epochs=3, batch_size=16, verbose=0)  # in the middle of an accumulation, with momentum
    state = [*model.variables, *model.optimizer.variables, *model.metrics_variables]
    before = values(state)
    verification = difflr.verify(model, DATA, plan=plan)
    assert {row.verdict for row in verification.rows} == {judgment.KEPT, judgment.FROZEN}
    assert [row.measured for row in verification.rows][:3] == pytest.approx([0.1, 0.1, 0.5], rel=1e-3)
    for early, late in zip(before, values(state), strict=True):
        np.testing.assert_array_equal(early, late)


def test_training_goes_on_as_if_nothing_had_been():
    weights = []
    for verified in (False, True):
        model, plan = compiled(difflr.optimizers.Adam)
        model.fit(X, Y, epochs=1, batch_size=8, shuffle=False, verbose=0)
        if verified:
            difflr.verify(model, DATA, plan=plan)
        model.fit(X, Y, epochs=1, batch_size=8, shuffle=False, verbose=0)
        weights.append(values([*model.variables, *model.optimizer.variables]))
    for mine, theirs in zip(*weights, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_the_table():
    model, plan = compiled(difflr.optimizers.SGD)
    assert str(difflr.verify(model, DATA, plan=plan)) == (
        "group                variables  expected  measured\n"
        "----------------------------------------------------------\n"
        "body                         2       0.1       0.1  kept\n"
        "mid/kernel                   1       0.5       0.5  kept\n"
        "mid/bias_and_1_more          2         1         1  kept\n"
        "head/bias                    1         0         0  frozen\n"
        "----------------------------------------------------------\n"
        "The plan is kept: 6 of 6 variables moved as the plan says."
    )


@pytest.mark.same_everywhere
def test_wrappers_schedules_and_a_warm_up_from_0():
    model, plan = compiled(difflr.optimizers.Adam, {"body": keras.optimizers.schedules.CosineDecay(0.5, 10)})
    assert difflr.verify(model, DATA, plan=plan).rows[0].expected == pytest.approx(0.5)
    rate = difflr.schedules.WarmupCosine(0.01, warmup_steps=4, num_steps=20)
    plan = difflr.Plan(network_ := network(), {"body": 0.1})
    optimizer = difflr.optimizers.AdamW(rate, multipliers=plan, weight_decay_follows="base_rate")
    network_.compile(keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=1e38), loss="mse", run_eagerly=EAGER)
    assert difflr.verify(network_, DATA, plan=plan).rows[0].measured == pytest.approx(0.1, rel=1e-3)
    assert int(optimizer.iterations) == 0


@pytest.mark.same_everywhere
def test_phases():
    model, plan = compiled(difflr.optimizers.Adam, {"body": 0.1})
    phases = difflr.Phases([difflr.Phase(trainable="head", steps=1), difflr.Phase(trainable="*", warmup_steps=3)])
    callbacks = [difflr.PhaseScheduler(phases), callback := difflr.VerifyPlan(plan)]
    model.fit(X, Y, epochs=1, batch_size=8, verbose=0, callbacks=callbacks)
    verdicts = [row.verdict for row in callback.verification.rows]
    assert verdicts == [judgment.FROZEN] * 4 + [judgment.KEPT] * 2
    assert [row.verdict for row in difflr.verify(model, DATA, plan=plan).rows] == [judgment.KEPT] * 6


@pytest.mark.same_everywhere
def test_what_cannot_be_told_is_no_alarm():
    model, plan = compiled(difflr.optimizers.SGD, {"body": 1e-9})
    assert [row.verdict for row in difflr.verify(model, DATA, plan=plan).rows][:2] == [
        judgment.TOO_SMALL,
        judgment.KEPT,
    ]
    inputs = keras.Input((6,))
    lora = keras.layers.Dense(3, name="b", kernel_initializer="zeros")(keras.layers.Dense(2, name="a")(inputs))
    model = keras.Model(inputs, keras.layers.Add()([keras.layers.Dense(3, name="w")(inputs), lora]))
    plan = difflr.Plan(model)
    model.compile(difflr.optimizers.SGD(0.1), loss="mse", run_eagerly=EAGER)
    found = {row.path: row.verdict for row in difflr.verify(model, DATA, plan=plan).rows}
    assert found["a/kernel"] == judgment.NO_GRADIENT
    assert found["b/kernel"] == judgment.KEPT


def test_the_callback_measures_the_step_that_counts():
    class Overwrites(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if BACKEND == "jax":
                self.model.jax_state_sync()
            self.model.optimizer.multipliers[self.model.get_layer("body")] = 1.0

    model, plan = compiled(difflr.optimizers.Adam, {"body": 0.1})
    with pytest.raises(difflr.PlanNotKept, match="body/kernel 1 instead of 0.1"):
        model.fit(X, Y, epochs=1, batch_size=8, verbose=0, callbacks=[difflr.VerifyPlan(plan), Overwrites()])
    model, plan = compiled(difflr.optimizers.Adam, {"body": 0.1})
    model.fit(X, Y, epochs=1, batch_size=8, shuffle=False, verbose=0, callbacks=[callback := difflr.VerifyPlan()])
    assert callback.verification.kept
    other, _ = compiled(difflr.optimizers.Adam, {"body": 0.1})
    other.fit(X, Y, epochs=1, batch_size=8, shuffle=False, verbose=0)
    for mine, theirs in zip(values(model.variables), values(other.variables), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    model.compile("sgd", loss="mse")
    with pytest.raises(ValueError, match="There is no plan to verify"):
        model.fit(X, Y, verbose=0, callbacks=[difflr.VerifyPlan()])


def test_a_loop_of_your_own():
    model = network()
    plan = difflr.Plan(model, {"body": 0.1, "head/bias": difflr.FROZEN})

    def step_with(factor):
        def step(batch):
            for row in plan.rows:  # any loop that moves the weights: here by -0.01 times the factor
                row.variable.assign(row.variable - 0.01 * factor(row) * keras.ops.ones(row.shape))

        return step

    reference = step_with(lambda row: 1.0)
    assert difflr.verify(model, DATA, plan=plan, step=step_with(lambda row: row.multiplier), reference=reference).kept
    with pytest.raises(difflr.PlanNotKept, match="No multiplier reaches the rate: body/kernel, body/bias"):
        difflr.verify(model, DATA, plan=plan, step=step_with(lambda row: 1.0 - row.frozen), reference=reference)
    with pytest.raises(difflr.PlanNotKept, match="FROZEN, MOVES"):
        difflr.verify(model, DATA, plan=plan, step=step_with(lambda row: row.multiplier or 1.0), reference=reference)


def test_the_first_batch():
    assert [len(each) for each in first_batch((X, Y), 4)] == [4, 4]
    assert len(first_batch([({"a": X}, Y)])) == 2
    assert first_batch([(X, Y), (X, Y)])[0] is not None

    class Data(keras.utils.PyDataset):
        def __getitem__(self, index):
            return X[:3], Y[:3]

        def __len__(self):
            return 2

    assert len(first_batch(Data())[0]) == 3
    with pytest.raises(TypeError, match="Expected a batch"):
        first_batch(3)
    with pytest.raises(TypeError, match="Expected batches"):
        first_batch([X for _ in range(9)])


@pytest.mark.same_everywhere
def test_an_optimizer_that_updates_nothing_is_pointed_out():
    class Idle(difflr.optimizers.SGD):
        def update_step(self, gradient, variable, learning_rate):
            pass

    model, plan = compiled(Idle, {"body": 0.1})
    with saying("no weight moved, of 6 variables with a gradient.*the optimizer updates nothing"):
        difflr.verify(model, DATA, plan=plan)
    with saying("no weight moved"):
        model.fit(X, Y, verbose=0, callbacks=[difflr.VerifyPlan(plan)])

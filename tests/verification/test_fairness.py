"""What is measured is what the optimizer did; what cannot be judged is shown and not judged."""

import keras
import numpy as np
import pytest

import difflr
from difflr.verification import judgment
from optimizers.steps import BACKEND, values
from saving.conftest import saying

NUMBERS = np.random.default_rng(0)
X = NUMBERS.normal(size=(16, 6)).astype("float32")
Y = NUMBERS.normal(size=(16, 3)).astype("float32")
EAGER = BACKEND == "tensorflow"
pytestmark = pytest.mark.usefixtures("quick_compilation")


def two_layers(model_class=keras.Model, body=None):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6,))
    body = body or keras.layers.Dense(6, activation="tanh", name="body")
    return model_class(inputs, keras.layers.Dense(3, name="head")(body(inputs)))


def verdicts(model, rules, optimizer=difflr.optimizers.SGD, loss="mse", data=(X, Y), **settings):
    """The verdict for each variable by its path."""
    plan = difflr.Plan(model, rules)
    model.compile(optimizer(0.01, multipliers=plan, **settings), loss=loss, run_eagerly=EAGER)
    return {row.path: row.verdict for row in difflr.verify(model, data).rows}


class TakesPairs(keras.Model):
    """As Keras's guides write it."""

    def train_step(self, *arguments):
        x, y = arguments[-1]
        return super().train_step(*arguments)


class OwnLoss(keras.Model):
    """As Keras's guide to `compute_loss`: no loss in `compile`, targets of the model's own."""

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return keras.ops.mean(keras.ops.square(y_pred - (0.0 if y is None else y)))


@pytest.mark.parametrize(
    ("model_class", "loss", "data"),
    [(TakesPairs, "mse", (X, Y)), (OwnLoss, None, (X, Y)), (OwnLoss, None, (X,)), (OwnLoss, None, [(X, Y)] * 2)],
)
def test_training_steps_and_losses_of_ones_own(model_class, loss, data):
    found = verdicts(two_layers(model_class), {"body": 0.1}, loss=loss, data=data)
    assert set(found.values()) == {judgment.KEPT}


@pytest.mark.parametrize("multiplier", [0.1, difflr.FROZEN])
def test_layers_that_change_their_weights_in_the_forward_pass(multiplier):
    inner = keras.layers.Dense(6, name="inner")
    model = two_layers(body=keras.layers.SpectralNormalization(inner, name="body"))
    found = verdicts(model, {"body": multiplier})
    if multiplier == 0.1:
        assert set(found.values()) == {judgment.KEPT}
    else:
        body = {path.split("/")[-1]: verdict for path, verdict in found.items() if path.startswith("body")}
        assert body == {"kernel": judgment.OVERWRITTEN, "bias": judgment.FROZEN}
        assert found["head/kernel"] == judgment.KEPT


def test_weights_that_a_training_step_clips_afterwards():
    class Clips(keras.Model):
        def train_step(self, *arguments):
            result = super().train_step(*arguments)
            if BACKEND != "jax":  # there a step has no variables to clip
                for variable in self.trainable_variables:
                    variable.assign(keras.ops.clip(variable, -0.1, 0.1))
            return result

    assert set(verdicts(two_layers(Clips), {"body": 0.1}).values()) == {judgment.KEPT}


class SignSGD(keras.optimizers.SGD):
    """An update rule that is not that of its base."""

    def update_step(self, gradient, variable, learning_rate):
        self.assign_sub(variable, learning_rate * keras.ops.sign(gradient))


def clipped_class():
    class Clipped(difflr.optimizers.AdamW):
        def update_step(self, gradient, variable, learning_rate):
            super().update_step(keras.ops.clip(gradient, -1e-6, 1e-6), variable, learning_rate)

    return Clipped


@pytest.mark.same_everywhere
def test_an_optimizer_of_ones_own_is_judged_as_far_as_it_can_be():
    def wrapped(rate, multipliers):
        return difflr.optimizers.differential(SignSGD)(rate, multipliers=multipliers)

    assert set(verdicts(two_layers(), {"body": 0.1}, wrapped).values()) == {judgment.KEPT}
    assert set(verdicts(two_layers(), {"body": 0.1}, clipped_class()).values()) == {judgment.KEPT}


@pytest.mark.same_everywhere
@pytest.mark.parametrize(("rule", "plan"), [(keras.ops.sign, {"body": 0.1}), (lambda gradient: 0.5 * gradient, None)])
def test_a_stock_subclass_with_a_rule_of_its_own_is_not_judged(rule, plan):
    class Own(keras.optimizers.SGD):
        def update_step(self, gradient, variable, learning_rate):
            self.assign_sub(variable, learning_rate * rule(gradient))

    model = two_layers()
    model.compile(Own(0.01), loss="mse", run_eagerly=EAGER)
    verification = difflr.verify(model, (X, Y), plan=difflr.Plan(model, plan))
    assert {row.verdict for row in verification.rows} == {judgment.OWN_RULE}
    assert all(np.isfinite(row.measured) for row in verification.rows)
    assert "No trainable variable could be judged." in str(verification)


@pytest.mark.same_everywhere
def test_nan_no_gradient_and_kept_are_three_words():
    @keras.saving.register_keras_serializable("fairness")
    class Root(keras.layers.Layer):
        """Its gradient is infinite at 0, and its output is not."""

        def build(self, shape):
            self.weight = self.add_weight(shape=(3,), initializer="zeros", name="weight")

        def call(self, x):
            return x + keras.ops.sqrt(self.weight)

    inputs = keras.Input((6,))
    hidden = Root(name="root")(keras.layers.Dense(3, name="body")(inputs))
    still = keras.layers.Dense(3, kernel_initializer="zeros", name="up")(keras.layers.Dense(2, name="down")(inputs))
    model = keras.Model(inputs, keras.layers.Add()([hidden, still]))
    before = values(model.variables)
    with pytest.raises(
        difflr.PlanNotKept, match="The gradients or the weights are not all finite: root/weight"
    ) as error:
        verdicts(model, {"body": 0.1})
    found = {row.path: row.verdict for row in error.value.verification.rows}
    assert found["root/weight"] == judgment.NOT_FINITE
    assert found["down/kernel"] == judgment.NO_GRADIENT
    assert found["body/kernel"] == judgment.KEPT
    for early, late in zip(before, values(model.variables), strict=True):
        np.testing.assert_array_equal(early, late)


def test_a_model_with_several_optimizers_is_refused():
    class Gan(keras.Model):
        def compile(self, generator_optimizer, **settings):
            super().compile(**settings)
            self.generator_optimizer = generator_optimizer

    model = two_layers(Gan)
    plan = difflr.Plan(model, {"body": 0.1})
    model.compile(difflr.optimizers.SGD(0.1), optimizer=difflr.optimizers.SGD(0.1, multipliers=plan), loss="mse")
    with pytest.raises(ValueError, match="has others: generator_optimizer"):
        difflr.verify(model, (X, Y))
    for callback in (difflr.GroupLogger(), difflr.VerifyPlan()):
        with pytest.raises(ValueError, match="has others: generator_optimizer"):
            model.fit(X, Y, verbose=0, callbacks=[callback])
    model.generator_optimizer, model.of_parts = None, {"generator": [difflr.optimizers.SGD(0.1)]}
    with pytest.raises(ValueError, match="has others: of_parts"):
        difflr.verify(model, (X, Y))


def test_a_step_without_the_optimizer_is_refused():
    class ByHand(keras.Model):
        def train_step(self, *arguments):
            return ({"loss": 0.0}, arguments[0]) if BACKEND == "jax" else {"loss": 0.0}

    with pytest.raises(ValueError, match="did not apply gradients with the model's optimizer"):
        verdicts(two_layers(ByHand), {"body": 0.1})


def test_the_plan_of_another_model():
    model, plan = two_layers(), difflr.Plan(two_layers(), {"body": 0.1})
    model.compile(difflr.optimizers.SGD(0.1), loss="mse", run_eagerly=EAGER)
    with pytest.raises(ValueError, match="The plan is for another model"):
        model.fit(X, Y, verbose=0, callbacks=[difflr.VerifyPlan(plan)])


@pytest.mark.same_everywhere
def test_nothing_that_moves():
    model = two_layers()
    with pytest.raises(ValueError, match="In 64 steps the weights were not updated"):
        verdicts(model, {"body": 0.1}, lambda rate, multipliers: difflr.optimizers.SGD(0.0, multipliers=multipliers))
    with saying("the weights were not updated in the 2 steps"):
        model.fit(X, Y, batch_size=8, verbose=0, callbacks=[difflr.VerifyPlan()])


@pytest.mark.same_everywhere
def test_what_verify_leaves_behind():
    model = two_layers()
    verdicts(model, {"body": 0.1})
    history = model.fit(X, Y, verbose=0)
    model.stop_training = True
    difflr.verify(model, (X, Y))
    assert model.history is history
    assert model.stop_training


@pytest.mark.skipif(BACKEND != "tensorflow", reason="about TensorFlow")
def test_replicas_are_refused(monkeypatch):
    model = two_layers()
    model.compile(difflr.optimizers.SGD(0.1, multipliers=difflr.Plan(model)), loss="mse")
    monkeypatch.setattr(type(model.distribute_strategy), "num_replicas_in_sync", 2)
    with pytest.raises(ValueError, match="trains on 2 replicas of TensorFlow"):
        difflr.verify(model, (X, Y))

"""Hyperparameters of groups: numbers and schedules in the place of the optimizer's own, by what they do to the weights."""

import os

import keras
import numpy as np
import optax
import pytest
import torch

import difflr
from difflr import keras_private
from difflr.optimizers.group_hyperparameters import GroupHyperparameters
from difflr.optimizers.groups import Groups
from optimizers.steps import (
    BACKEND,
    NAMES,
    X,
    Y,
    assert_close,
    assert_same,
    chain,
    compiled_step,
    gradients,
    new_variables,
    ours,
    stock,
    tensors,
    train,
    values,
)

schedules = keras.optimizers.schedules
SETTINGS = {"SGD": {"momentum": 0.9}, "RMSprop": {"momentum": 0.9, "centered": True}}
# Values with an effect on three steps of gradients of size 1.
OWN = {
    "weight_decay": 0.3,
    "adam_weight_decay": 0.2,
    "warmup_steps": 2,
    "epsilon": 0.05,
    "epsilon_2": 0.9,
    "epsilon_1": 0.1,
}
pytestmark = pytest.mark.usefixtures("quick_compilation")
compiles = pytest.mark.skipif(BACKEND == "torch", reason="Keras compiles no step on torch")


def own_values(name):
    """Every hyperparameter of an optimizer that goes by a number, with another value than its own."""
    numbers = keras_private.hyperparameters(stock(name, **SETTINGS.get(name, {})))
    return {
        number: OWN.get(number, 0.9 * value if value else 0.1)
        for number, value in numbers.items()
        if number != "clipnorm"
    }


def plan_of_slow(variables, **own):
    return difflr.Plan(variables, [difflr.Rule(variable, hyperparameters=own) for variable in variables[2:]])


def constant(value):
    """A schedule that stays at a value."""
    return schedules.PiecewiseConstantDecay([1000], [value, value])


def expected(name, own):
    settings = SETTINGS.get(name, {})
    fast, slow = (train(stock(name, **{**settings, **more}), new_variables()) for more in ({}, own))
    return fast[:2] + slow[2:]


def trained(name, plan_for, compiled=BACKEND != "torch", **settings):
    variables = new_variables()
    optimizer = ours(name, plan_for(variables), **{**SETTINGS.get(name, {}), **settings})
    optimizer.build(variables)
    return train(optimizer, variables, step=compiled_step(optimizer, variables) if compiled else None)


# Every optimizer on torch; elsewhere two whose formulas convert most, as one takes seconds to compile (EVERY_OPTIMIZER=1
# runs all).
EVERY = BACKEND == "torch" or "EVERY_OPTIMIZER" in os.environ


@pytest.mark.parametrize("name", NAMES if EVERY else ["Ftrl"])
def test_all_of_an_optimizer_at_once(name):
    own = own_values(name)
    got = trained(name, lambda variables: plan_of_slow(variables, **own))
    assert_close(got, expected(name, own), rtol=1e-5, atol=2e-6)
    assert any(not np.allclose(a, b) for a, b in zip(got, expected(name, {}), strict=True))


@pytest.mark.parametrize("name", NAMES if EVERY else ["RMSprop"])
def test_all_of_an_optimizer_as_schedules(name):
    own = own_values(name)
    fixed = [number for number in own if keras_private.why_constant(stock(name), number)]
    rules = {number: value if number in fixed else constant(value) for number, value in own.items()}
    got = trained(name, lambda variables: plan_of_slow(variables, **rules))
    assert_close(got, expected(name, own), rtol=1e-5, atol=2e-6)


EACH = [(name, number) for name in NAMES for number in own_values(name)]


@pytest.mark.skipif(BACKEND != "torch", reason="each takes seconds to compile; all at once are tested everywhere")
@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize(("name", "number"), EACH)
def test_one_hyperparameter(name, number, fused):
    own = {number: own_values(name)[number]}
    got = trained(name, lambda variables: plan_of_slow(variables, **own), fused=fused)
    assert_close(got, expected(name, own), rtol=2e-5, atol=2e-6)


@pytest.mark.same_everywhere
def test_momentum_0_of_a_group():
    got = trained("SGD", lambda variables: plan_of_slow(variables, momentum=0.0))
    assert_close(got, expected("SGD", {"momentum": 0.0}))


@pytest.mark.same_everywhere
def test_the_optimizers_own_numbers_are_the_stock_optimizer():
    own = {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}
    assert_close(trained("Adam", lambda variables: plan_of_slow(variables, **own)), expected("Adam", {}), rtol=3e-7)


# -- against peers ----------------------------------------------------------------------------------------------------

RATE, STEPS = 0.01, 6
MOMENTA, DECAYS, BETAS = (
    [0.8, 0.8, 0.85, 0.85, 0.95, 0.95],
    [0.4, 0.4, 0.1, 0.1, 0.3, 0.3],
    [0.9, 0.9, 0.5, 0.5, 0.7, 0.7],
)


def steps_of(optimizer, variables):
    optimizer.build(variables)
    return train(optimizer, variables, STEPS, compiled_step(optimizer, variables))


def over_time(numbers):
    """A schedule with a number for each step; Keras's boundaries belong to the value before them."""
    return schedules.PiecewiseConstantDecay(list(range(len(numbers) - 1)), numbers)


def by_torch(optimizer_class, start, settings, at_step):
    parameters = [torch.nn.Parameter(torch.tensor(value)) for value in start]
    optimizer = optimizer_class([{"params": parameters[:2]}, {"params": parameters[2:]}], lr=RATE, **settings)
    for step, grads in enumerate(gradients(STEPS)):
        optimizer.param_groups[1].update(at_step(step))
        for parameter, gradient in zip(parameters, grads, strict=True):
            parameter.grad = torch.tensor(gradient)
        optimizer.step()
    return [parameter.detach().numpy() for parameter in parameters]


@pytest.mark.same_everywhere
def test_momentum_over_time_is_torchs():
    variables = new_variables()
    start = values(variables)
    plan = plan_of_slow(variables, momentum=over_time(MOMENTA))
    got = steps_of(ours("SGD", plan, RATE, momentum=0.9), variables)
    wanted = by_torch(torch.optim.SGD, start, {"momentum": 0.9}, lambda step: {"momentum": MOMENTA[step]})
    assert_close(got, wanted, rtol=5e-6, atol=2e-6)


@pytest.mark.same_everywhere
def test_weight_decay_and_epsilon_are_torchs():
    variables = new_variables()
    start = values(variables)
    plan = plan_of_slow(variables, weight_decay=over_time(DECAYS), beta_2=0.95)
    got = steps_of(ours("AdamW", plan, RATE, weight_decay=0.2, epsilon=1e-12), variables)
    wanted = by_torch(
        torch.optim.AdamW,
        start,
        {"weight_decay": 0.2, "eps": 1e-12},
        lambda step: {"weight_decay": DECAYS[step], "betas": (0.9, 0.95)},
    )
    assert_close(got, wanted, rtol=5e-6, atol=2e-6)


@pytest.mark.same_everywhere
def test_beta_over_time_is_optaxs_injected():
    variables = new_variables()
    start = values(variables)
    plan = plan_of_slow(variables, beta_1=over_time(BETAS))
    got = steps_of(ours("Adam", plan, RATE, epsilon=1e-12), variables)
    injected = optax.inject_hyperparams(optax.adam)(RATE, b1=lambda count: np.asarray(BETAS)[int(count)], eps=1e-12)
    transform = optax.partition({"a": optax.adam(RATE, eps=1e-12), "b": injected}, ["a", "a", "b", "b"])
    parameters, state = list(start), transform.init(list(start))
    for grads in gradients(STEPS):
        updates, state = transform.update(grads, state, parameters)
        parameters = optax.apply_updates(parameters, updates)
    assert_close(got, list(map(np.asarray, parameters)), rtol=5e-6, atol=2e-6)


@pytest.mark.same_everywhere
def test_one_cycle_is_torchs_in_rate_and_momentum():
    cycle = difflr.schedules.OneCycle(0.1, 10, warmup_fraction=0.33)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1, momentum=0.95)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=10, pct_start=0.33)
    momentum = cycle.momentum()
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(momentum))
    for step in range(10):
        group = optimizer.param_groups[0]
        ours_now = [float(keras.ops.convert_to_numpy(each(step))) for each in (cycle, momentum, again)]
        np.testing.assert_allclose(ours_now, [group["lr"], group["momentum"], group["momentum"]], rtol=1e-5)
        optimizer.step()
        scheduler.step() if step < 9 else None


# -- clip norms of groups ---------------------------------------------------------------------------------------------


def clipped(grads, norm):
    length = np.sqrt(sum(np.sum(np.square(gradient)) for gradient in grads))
    return [gradient * min(1.0, norm / length) for gradient in grads]


def by_sgd(start, per_step, rate=0.02):
    return [value - rate * sum(grads[place] for grads in per_step) for place, value in enumerate(start)]


def norm_plan(variables, norm=0.5):
    """One rule for two variables that differ in their rates: one norm all the same."""
    rules = [difflr.Rule(variables[2:], hyperparameters={"clipnorm": norm}), difflr.Rule(variables[3], multiplier=0.5)]
    return difflr.Plan(variables, rules)


def halved(weights, start):
    """The last variable moves half as far."""
    return [*weights[:3], start[3] + 0.5 * (weights[3] - start[3])]


@pytest.mark.same_everywhere
@pytest.mark.parametrize("norm", [0.5, constant(0.5)], ids=["number", "schedule"])
def test_the_norm_is_that_of_the_rule(norm):
    start = values(new_variables())
    per_step = [[*grads[:2], *clipped(grads[2:], 0.5)] for grads in gradients(3)]
    assert_close(
        trained("SGD", lambda v: norm_plan(v, norm), momentum=0.0), halved(by_sgd(start, per_step), start), rtol=1e-5
    )


def test_groups_are_clipped_before_all():
    start = values(new_variables())
    per_step = [clipped([*grads[:2], *clipped(grads[2:], 0.5)], 0.8) for grads in gradients(3)]
    got = trained("SGD", norm_plan, momentum=0.0, global_clipnorm=0.8)
    assert_close(got, halved(by_sgd(start, per_step), start), rtol=1e-5)


def test_the_mean_is_clipped_where_gradients_are_accumulated():
    start = values(new_variables())
    both = [np.mean(pair, axis=0) for pair in zip(*gradients(2), strict=True)]
    expected_now = halved(by_sgd(start, [[*both[:2], *clipped(both[2:], 0.5)]]), start)
    variables = new_variables()
    optimizer = ours("SGD", norm_plan(variables), gradient_accumulation_steps=2)
    optimizer.build(variables)
    assert_close(train(optimizer, variables, 2, compiled_step(optimizer, variables)), expected_now, rtol=1e-5)


def test_the_norm_is_that_without_the_scale_of_the_loss():
    start = values(new_variables())
    variables = new_variables()
    optimizer = keras.optimizers.LossScaleOptimizer(ours("SGD", norm_plan(variables)), initial_scale=64.0)
    optimizer.build(variables)
    step = compiled_step(optimizer, variables)  # on JAX Keras's LossScaleOptimizer has no other
    for grads in gradients(3):
        step(tensors([64 * gradient for gradient in grads]))
    per_step = [[*grads[:2], *clipped(grads[2:], 0.5)] for grads in gradients(3)]
    assert_close(values(variables), halved(by_sgd(start, per_step), start), rtol=1e-5)


@pytest.mark.same_everywhere
@pytest.mark.filterwarnings("ignore:Gradients do not exist")
def test_gradients_in_another_order_and_missing_ones():
    start, variables = values(new_variables()), new_variables()
    optimizer = ours("SGD", norm_plan(variables))
    optimizer.build(variables)
    grads = gradients(1)[0]
    order = [3, 0, 2]
    optimizer.apply([*tensors([grads[n] for n in order]), None], [variables[n] for n in [*order, 1]])
    own = clipped(grads[2:], 0.5)
    wanted = halved(by_sgd(start, [[grads[0], 0 * grads[1], *own]]), start)
    assert_close(values(variables), wanted, rtol=1e-5)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="only TensorFlow has sparse gradients in Keras")
def test_the_norm_of_slices():
    import tensorflow as tf

    variable = keras.Variable(np.zeros((4, 2), "float32"))
    optimizer = ours(
        "SGD", difflr.Plan([variable], [difflr.Rule(variable, hyperparameters={"clipnorm": 1.0})]), rate=1.0
    )
    optimizer.build([variable])
    optimizer.apply([tf.IndexedSlices(tf.constant([[3.0, 0.0], [0.0, 4.0]]), [0, 2], (4, 2))], [variable])
    np.testing.assert_allclose(values([variable])[0], [[-0.6, 0], [0, 0], [0, -0.8], [0, 0]], rtol=1e-6)


# -- numbers that change ----------------------------------------------------------------------------------------------


class Counted(difflr.Sequential):
    """A model that counts how often its step is traced."""

    traces = 0

    def train_step(self, *arguments):
        self.traces += 1
        return super().train_step(*arguments)


def compiled_model(rules, optimizer="SGD", **settings):
    model = Counted(chain().layers)
    model.build((None, 3))
    plan = difflr.Plan(model, rules)
    model.compile(getattr(difflr.optimizers, optimizer)(0.05, multipliers=plan, fused=False, **settings), loss="mse")
    return model


def fitted(model, epochs=1, **arguments):
    model.fit(X, Y, epochs=epochs, batch_size=8, shuffle=False, verbose=0, **arguments)
    return values(model.weights)


def momentum(value):
    return [difflr.Rule("body", hyperparameters={"momentum": value})]


def test_a_number_that_is_set_takes_effect_without_compiling():
    """The same as a schedule of these numbers; on JAX and TensorFlow the step is traced once."""
    by_schedule = compiled_model(momentum(over_time([0.9, 0.2, 0.5])), momentum=0.9)
    wanted = fitted(by_schedule, 3)
    model = compiled_model(momentum(0.9), momentum=0.9)
    traces = []

    def change(epoch, logs):
        traces.append(model.traces)
        model.optimizer.hyperparameters["momentum"]["body"] = [0.2, 0.5, 0.5][epoch]

    assert_close(fitted(model, 3, callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=change)]), wanted)
    if BACKEND != "torch":
        assert model.traces == traces[0]  # those of the first epoch: TensorFlow traces twice where variables are made


@compiles
def test_without_hyperparameters_nothing_is_added(monkeypatch):
    """No state, and the same operations as with the hooks taken out."""
    variables = new_variables()

    def step():
        optimizer = ours("Adam", [(variables[0], 0.5)])
        optimizer.build(variables)
        if BACKEND == "jax":
            import jax

            arguments = ([v.value for v in optimizer.variables], tensors(gradients(1)[0]), [v.value for v in variables])
            return len(optimizer.variables), str(jax.make_jaxpr(optimizer.stateless_apply)(*arguments))
        import tensorflow as tf

        function = tf.function(lambda grads: optimizer.apply(grads, variables))
        graph = function.get_concrete_function(tensors(gradients(1)[0])).graph
        return len(optimizer.variables), [operation.type for operation in graph.get_operations()]

    now = step()
    monkeypatch.setattr(Groups, "floors", lambda self, for_decay=False: {})
    monkeypatch.setattr(GroupHyperparameters, "by_group", lambda self: {})
    monkeypatch.setattr(GroupHyperparameters, "clipped", lambda self, grads: grads)
    assert step() == now


@pytest.mark.same_everywhere
def test_who_shares_a_number_is_named_together():
    model = compiled_model([difflr.Rule("*", hyperparameters={"momentum": 0.9})], momentum=0.9)
    model.optimizer.build(model.trainable_variables)
    own = model.optimizer.hyperparameters["momentum"]
    with pytest.raises(ValueError, match=r"shares its momentum with 2 variables not named: head/kernel"):
        own["body"] = 0.5
    own["*"] = 0.5
    assert own[model.layers[0].kernel] == pytest.approx(0.5)
    assert difflr.plan_of(model).rows[0].hyperparameters == {"momentum": pytest.approx(0.5)}
    with pytest.raises(ValueError, match="'momentum' is a number from 0 to 1. Received: 2"):
        own["*"] = 2


@pytest.mark.same_everywhere
def test_a_schedule_is_not_set():
    model = compiled_model(momentum(constant(0.5)), momentum=0.9)
    model.optimizer.build(model.trainable_variables)
    own = model.optimizer.hyperparameters["momentum"]
    assert own["body"] == pytest.approx(0.5)
    with pytest.raises(ValueError, match="cannot be set while training: it has a schedule"):
        own["body"] = 0.5
    with pytest.raises(KeyError, match="The plan sets no 'momentum' for these variables"):
        own["head"] = 0.5


@pytest.mark.same_everywhere
def test_replan_gives_other_numbers():
    model = compiled_model(momentum(0.9), momentum=0.9)
    fitted(model)
    model.optimizer.hyperparameters["momentum"]["body"] = 0.5
    difflr.replan(model, difflr.Plan(model, [*momentum(0.9), difflr.Rule("head", multiplier=0.5)]))
    assert model.optimizer.hyperparameters["momentum"]["body"] == pytest.approx(0.5)  # the plan says what it said
    difflr.replan(model, difflr.Plan(model, momentum(0.1)))
    assert model.optimizer.hyperparameters["momentum"]["body"] == pytest.approx(0.1)
    with pytest.raises(ValueError, match="SGD has no such hyperparameter"):
        difflr.replan(model, difflr.Plan(model, [difflr.Rule("body", hyperparameters={"beta_1": 0.5})]))
    assert model.optimizer.hyperparameters["momentum"]["body"] == pytest.approx(0.1)


@pytest.mark.same_everywhere
def test_who_joins_late_has_the_bias_correction_of_its_own_betas():
    """The first step of Adam is the rate, whatever the betas are."""
    model = compiled_model({"body": difflr.FROZEN}, "Adam")
    fitted(model, 3)
    rule = difflr.Rule("body", hyperparameters={"beta_1": 0.5, "beta_2": 0.6})
    difflr.replan(model, difflr.Plan(model, [rule]))
    before = values(model.weights)
    after = fitted(model)
    np.testing.assert_allclose(np.abs(after[0] - before[0]), 0.05, rtol=1e-3)


@pytest.mark.same_everywhere
def test_phases_change_hyperparameters():
    model = compiled_model(momentum(0.9), momentum=0.9)
    own = {"body": {"hyperparameters": {"momentum": 0.2}}}
    phases = [difflr.Phase("*", epochs=1), difflr.Phase("*", epochs=1, multipliers=own)]
    found = []
    watch = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: found.append(model.optimizer.hyperparameters["momentum"]["body"])
    )
    fitted(model, 2, callbacks=[difflr.PhaseScheduler(phases), watch])
    assert found == pytest.approx([0.9, 0.2])


# -- refused before the first step ------------------------------------------------------------------------------------

REFUSED = [
    (
        "Adam",
        {},
        {"momentum": 0.9},
        r"Adam has no such hyperparameter.* Those of a group: beta_1, beta_2, clipnorm, epsilon, weight",
    ),
    ("AdamW", {}, {"beta1": 0.9}, r"AdamW has no such hyperparameter. Did you mean 'beta_1' or 'beta_2'\?"),
    ("Lion", {}, {"epsilon": 0.1}, "Lion has no such hyperparameter"),
    ("Adafactor", {}, {"beta_2": 0.1}, r"Adafactor has no such hyperparameter. Did you mean 'beta_2_decay'"),
    ("Nadam", {}, {"beta_1": 0.5}, "Nadam cannot give it to a group: Nadam keeps one product of its momenta"),
    ("SGD", {}, {"momentum": 0.9}, "made with momentum=0 it keeps no momentum"),
    ("RMSprop", {}, {"momentum": 0.9}, "made with momentum=0 it keeps no momentum"),
    ("Adagrad", {}, {"initial_accumulator_value": 0.5}, "it is read only once, when the optimizer is built"),
    ("Muon", {}, {"ns_steps": 3}, "it is a number of iterations"),
    ("Adam", {"use_ema": True}, {"ema_momentum": 0.5}, "the averages of all variables are updated at once"),
    ("Adam", {}, {"clipvalue": 0.5}, "cannot give it to a group"),
]
if hasattr(keras.optimizers, "ScheduleFreeAdamW"):
    REFUSED.append(("ScheduleFreeAdamW", {}, {"beta_1": constant(0.5)}, "cannot change it over time"))


@pytest.mark.same_everywhere
@pytest.mark.parametrize(("name", "settings", "own", "message"), REFUSED)
def test_what_an_optimizer_cannot_serve_is_refused(name, settings, own, message):
    variables = new_variables()
    optimizer = ours(name, plan_of_slow(variables, **own), **settings)
    with pytest.raises(ValueError, match=message):
        optimizer.build(variables)
    assert not optimizer.built


def test_an_optimizer_of_ones_own():
    """A number of its constructor is a hyperparameter, and the update reads it from the optimizer."""

    class Signed(keras.optimizers.Optimizer):
        def __init__(self, learning_rate=0.1, sharpness=1.0, **arguments):
            super().__init__(learning_rate=learning_rate, **arguments)
            self.sharpness = sharpness

        def update_step(self, gradient, variable, learning_rate):
            self.assign_sub(variable, learning_rate * keras.ops.tanh(self.sharpness * gradient))

    variables = new_variables()
    start = values(variables)
    optimizer = difflr.optimizers.differential(Signed)(
        0.1, multipliers=plan_of_slow(variables, sharpness=constant(0.5))
    )
    got = train(optimizer, variables, 1)
    grads = gradients(1)[0]
    wanted = [v - 0.1 * np.tanh(s * g) for v, s, g in zip(start, [1, 1, 0.5, 0.5], grads, strict=True)]
    assert_close(got, wanted, rtol=1e-5, atol=1e-6)


# -- saved ------------------------------------------------------------------------------------------------------------


def test_saved_and_resumed_bit_for_bit(tmp_path):
    rules = [
        difflr.Rule("body", hyperparameters={"beta_2": 0.9, "clipnorm": 0.3}),
        difflr.Rule("head", hyperparameters={"weight_decay": over_time([0.1, 0.2, 0.3, 0.4])}, min_learning_rate=0.01),
    ]
    model = compiled_model(rules, "AdamW", weight_decay=0.1)
    fitted(model)
    model.optimizer.hyperparameters["beta_2"]["body"] = 0.5
    fitted(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", custom_objects={"Counted": Counted})
    assert difflr.plan_of(loaded) == difflr.plan_of(model)
    assert loaded.optimizer.hyperparameters["beta_2"]["body"] == pytest.approx(0.5)
    assert_same(fitted(loaded, 2), fitted(model, 2))


@pytest.mark.same_everywhere
def test_weights_alone_bring_changed_numbers_back(tmp_path):
    model = compiled_model(momentum(0.9), momentum=0.9)
    fitted(model)
    model.optimizer.hyperparameters["momentum"]["body"] = 0.5
    model.save_weights(tmp_path / "model.weights.h5")
    other = compiled_model(momentum(0.9), momentum=0.9)
    other.optimizer.build(other.trainable_variables)
    other.load_weights(tmp_path / "model.weights.h5")
    assert other.optimizer.hyperparameters["momentum"]["body"] == pytest.approx(0.5)
    assert_same(fitted(other), fitted(model))


@pytest.mark.same_everywhere
@pytest.mark.filterwarnings("ignore:__array__ implementation")  # `pytest.warns` lets Keras's through as the test's own
def test_numbers_that_cannot_be_restored_are_named(tmp_path):
    apart = [difflr.Rule("body", hyperparameters={"momentum": 0.9}), difflr.Rule("head", multiplier=0.5)]
    model = compiled_model(apart, momentum=0.9)
    fitted(model)
    model.optimizer.multipliers["head"] = 0.25
    model.save_weights(tmp_path / "model.weights.h5")
    rules = [*apart[:1], difflr.Rule("head/kernel", multiplier=0.5), difflr.Rule("head/bias", multiplier=0.5)]
    other = compiled_model(
        [*rules, difflr.Rule("body/kernel", multiplier=0.5, hyperparameters={"momentum": None})], momentum=0.9
    )
    other.optimizer.build(other.trainable_variables)
    with pytest.warns(
        UserWarning, match=r"were not restored for head/kernel, head/bias: they share a number with other variables now"
    ):
        other.load_weights(tmp_path / "model.weights.h5")
    assert other.optimizer.multipliers["head"] == 0.5


def test_the_trap_names_the_way_out():
    if BACKEND == "torch":
        pytest.skip("on torch settings are read at every step")
    model = compiled_model({}, momentum=0.9)
    fitted(model)
    with pytest.warns(UserWarning, match=r"difflr.Rule\('\*', hyperparameters=\{'momentum': ...\}\)"):
        model.optimizer.momentum = 0.5

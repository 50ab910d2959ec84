"""Plans as parameter groups of torch, as optax transforms, as dictionaries and as YAML."""

import keras
import numpy as np
import optax
import pytest

import difflr
from difflr.interop import (
    optax_transform,
    plan_from_dict,
    plan_from_yaml,
    plan_to_dict,
    plan_to_yaml,
    torch_param_groups,
)
from optimizers.steps import BACKEND, assert_close, chain, compiled_step, gradients, new_variables, tensors, values

RATE, DECAY, STEPS = 0.01, 0.2, 6
# Keras adds epsilon before the bias correction, torch and optax behind it: one this small is lost in either place.
EPSILON = 1e-12
TOLERANCE = {"rtol": 1e-6, "atol": 1e-6}
on_torch = pytest.mark.skipif(BACKEND != "torch", reason="parameter groups are torch's")


def plan_for(variables, schedule=None):
    return difflr.Plan(
        variables,
        [
            difflr.Rule(variables[0], multiplier=0.1, weight_decay_multiplier=2.0),
            difflr.Rule(variables[1], multiplier=0.1, weight_decay_multiplier=0.0, schedule=schedule),
            (variables[3], difflr.FROZEN),
        ],
    )


def stepwise(optimizer, variables):
    """The values after each step of a differential optimizer; the fourth variable is frozen."""
    for grads in gradients(STEPS):
        optimizer.apply(tensors(grads[:3]), variables[:3])
        yield values(variables)


@on_torch
@pytest.mark.filterwarnings("ignore:The plan scales the weight decay")  # SGD here has none
@pytest.mark.parametrize("follows", ["effective_rate", "base_rate"])
@pytest.mark.parametrize("name", ["AdamW", "SGD"])
def test_torch_groups_step_as_difflrs_optimizer(name, follows):
    import torch

    settings = {"AdamW": {"eps": EPSILON}, "SGD": {"momentum": 0.9, "nesterov": True}}[name]
    decay = DECAY if name == "AdamW" else 0.0
    variables, copies = new_variables(), new_variables()
    groups = torch_param_groups(plan_for(variables), RATE, decay, weight_decay_follows=follows)
    torch_optimizer = getattr(torch.optim, name)(groups, **settings)
    settings = {"epsilon": EPSILON, "weight_decay": DECAY} if name == "AdamW" else settings
    ours = getattr(difflr.optimizers, name)(
        RATE, multipliers=plan_for(copies), weight_decay_follows=follows, fused=False, **settings
    )
    ours.build(copies[:3])
    for grads, expected in zip(gradients(STEPS), stepwise(ours, copies), strict=True):
        for variable, gradient in zip(variables[:3], tensors(grads), strict=False):
            variable.value.grad = gradient
        torch_optimizer.step()
        assert_close(values(variables), expected, **TOLERANCE)


@on_torch
def test_torch_groups_keep_names_and_schedulers_keep_ratios():
    import torch

    model = chain()
    plan = difflr.Plan(model, {"body": 0.1, "body/bias": {"weight_decay_multiplier": 0.0}, "head/bias": difflr.FROZEN})
    optimizer = torch.optim.AdamW(torch_param_groups(plan, RATE, DECAY))
    assert [group["param_names"] for group in optimizer.param_groups] == [
        ["body/kernel"],
        ["body/bias"],
        ["head/kernel"],
    ]
    assert [group["weight_decay"] for group in optimizer.param_groups] == [DECAY, 0.0, DECAY]
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, [group["lr"] for group in optimizer.param_groups], total_steps=20
    )
    for _ in range(15):
        optimizer.step()
        scheduler.step()
        rates = scheduler.get_last_lr()
        np.testing.assert_allclose(rates, [0.1 * rates[2], 0.1 * rates[2], rates[2]])


@pytest.mark.skipif(BACKEND == "torch", reason="about the other backends")
def test_torch_groups_need_torch():
    with pytest.raises(ValueError, match=f"the Keras backend is {BACKEND}"):
        torch_param_groups(difflr.Plan(chain()), RATE)


@on_torch
def test_what_torch_groups_cannot_say():
    schedule = keras.optimizers.schedules.ExponentialDecay(1.0, 2, 0.5)
    with pytest.raises(ValueError, match=r"group of body/kernel has a schedule of its own"):
        torch_param_groups(difflr.Plan(chain(), {"body": schedule}), RATE)
    with pytest.raises(ValueError, match="freezes everything"):
        torch_param_groups(difflr.Plan(chain(), {"*": difflr.FROZEN}), RATE)
    with pytest.raises(ValueError, match="`weight_decay_follows` must be"):
        torch_param_groups(difflr.Plan(chain()), RATE, weight_decay_follows="nothing")
    with pytest.raises(TypeError, match=r"must be a difflr.Plan"):
        torch_param_groups({"body": 0.1}, RATE)


SCHEDULES = {
    "none": (RATE, RATE, None),
    "of the base rate": (
        optax.exponential_decay(RATE, 2, 0.5),
        keras.optimizers.schedules.ExponentialDecay(RATE, 2, 0.5),
        None,
    ),
    "of a group": (RATE, RATE, keras.optimizers.schedules.ExponentialDecay(1.0, 2, 0.5)),
}


@pytest.mark.skipif(BACKEND != "jax", reason="optax steps JAX arrays")
@pytest.mark.parametrize("follows", ["effective_rate", "base_rate"])
@pytest.mark.parametrize("schedules", SCHEDULES)
def test_optax_transform_steps_as_difflrs_optimizer(schedules, follows):
    in_optax, in_keras, of_group = SCHEDULES[schedules]
    variables, copies = new_variables(), new_variables()
    settings = {"weight_decay": DECAY, "weight_decay_follows": follows}
    plan = plan_for(variables, of_group)
    transform = optax_transform(plan, optax.adamw, variables, learning_rate=in_optax, eps=EPSILON, **settings)
    parameters = [variable.value for variable in variables]
    state = transform.init(parameters)
    ours = difflr.optimizers.AdamW(in_keras, multipliers=plan_for(copies, of_group), epsilon=EPSILON, **settings)
    ours.build(copies[:3])
    for grads, expected in zip(gradients(STEPS), stepwise(ours, copies), strict=True):
        updates, state = transform.update(tensors(grads), state, parameters)
        parameters = optax.apply_updates(parameters, updates)
        assert_close([np.asarray(parameter) for parameter in parameters], expected, **TOLERANCE)


@pytest.mark.same_everywhere
def test_optax_transform_of_variables_that_the_plan_does_not_know():
    with pytest.raises(KeyError, match="does not cover"):
        optax_transform(difflr.Plan(chain()), optax.sgd, new_variables(), learning_rate=RATE)


# -- plain data -------------------------------------------------------------------------------------------------------


@pytest.mark.same_everywhere
def test_plan_as_dictionary_and_as_yaml():
    model = chain()
    schedule = keras.optimizers.schedules.ExponentialDecay(1.0, 2, 0.5)
    rules = {"body": {"multiplier": 1e-5, "schedule": schedule}, "head/bias": difflr.FROZEN}
    plan = difflr.Plan(model, rules)
    assert plan_from_dict(model, plan_to_dict(plan)) == plan
    assert plan_from_yaml(model, plan_to_yaml(plan)) == plan
    edited = plan_from_yaml(model, plan_to_yaml(plan).replace("1.0e-05", "0.5"))
    assert edited.row(model.layers[0].kernel).multiplier == 0.5


@pytest.mark.same_everywhere
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: &a [1]\nb: [*a, *a]", "aliases"),
        ("a: [", "This is no YAML"),
        ("[" * 5000, "This is no YAML"),
        ("a: 2020-01-01", "`data` is not a plan"),
        ("!!python/object:os.system x", "This is no YAML"),
        ("a: 1", "plan"),
    ],
)
def test_yaml_of_somebody_else(text, message):
    with pytest.raises(ValueError, match=message):
        plan_from_yaml(chain(), text)


# -- hyperparameters of groups ----------------------------------------------------------------------------------------


def plan_with(variables, **own):
    return difflr.Plan(variables, [difflr.Rule(variables[2:], multiplier=0.5, **own)])


@on_torch
def test_torch_groups_have_betas_of_their_own():
    import torch

    own = {"hyperparameters": {"beta_1": 0.5, "beta_2": 0.9, "epsilon": EPSILON, "weight_decay": 0.4}}
    variables, copies = new_variables(), new_variables()
    groups = torch_param_groups(plan_with(variables, **own), RATE, DECAY)
    assert groups[1]["betas"] == (0.5, 0.9)
    theirs = torch.optim.AdamW(groups, eps=EPSILON)
    settings = {"epsilon": EPSILON, "weight_decay": DECAY, "fused": False}
    optimizer = difflr.optimizers.AdamW(RATE, multipliers=plan_with(copies, **own), **settings)
    optimizer.build(copies)
    for grads in gradients(STEPS):
        optimizer.apply(tensors(grads), copies)
        for variable, gradient in zip(variables, tensors(grads), strict=True):
            variable.value.grad = gradient
        theirs.step()
    assert_close(values(variables), values(copies), **TOLERANCE)


@on_torch
@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"hyperparameters": {"beta_1": 0.5}}, "sets only one beta, but torch keeps both in one tuple"),
        ({"hyperparameters": {"clipnorm": 0.5}}, "has its own 'clipnorm'"),
        (
            {"hyperparameters": {"momentum": keras.optimizers.schedules.CosineDecay(0.5, 9)}},
            "a schedule for 'momentum'",
        ),
        ({"min_learning_rate": 0.5}, "has a lowest learning rate"),
    ],
)
def test_what_torch_groups_cannot_hold(own, message):
    with pytest.raises(ValueError, match=message):
        torch_param_groups(plan_with(new_variables(), **own), RATE)


@pytest.mark.skipif(BACKEND != "jax", reason="optax steps JAX arrays")
def test_optax_has_hyperparameters_over_time():
    decay = keras.optimizers.schedules.PolynomialDecay(0.4, STEPS, 0.1)
    own = {"hyperparameters": {"beta_1": 0.5, "weight_decay": decay, "clipnorm": 0.5}, "min_learning_rate": 0.007}
    variables, copies = new_variables(), new_variables()
    start = [variable.value for variable in variables]
    arguments = {"learning_rate": RATE, "weight_decay": DECAY, "eps": EPSILON}
    transform = optax_transform(plan_with(variables, **own), optax.adamw, variables, **arguments)
    state = transform.init(start)
    settings = {"epsilon": EPSILON, "weight_decay": DECAY}
    optimizer = difflr.optimizers.AdamW(RATE, multipliers=plan_with(copies, **own), **settings)
    optimizer.build(copies)
    step = compiled_step(optimizer, copies)
    for grads in gradients(STEPS):
        step(tensors(grads))
        updates, state = transform.update(tensors(grads), state, start)
        start = optax.apply_updates(start, updates)
    assert_close([np.asarray(value) for value in start], values(copies), **TOLERANCE)


@pytest.mark.same_everywhere
def test_what_optax_cannot_hold():
    variables = new_variables()
    with pytest.raises(ValueError, match="has its own 'momentum', and adamw takes"):
        optax_transform(
            plan_with(variables, hyperparameters={"momentum": 0.5}), optax.adamw, variables, learning_rate=RATE
        )
    rules = [difflr.Rule(variables, hyperparameters={"clipnorm": 0.5}), difflr.Rule(variables[0], multiplier=0.5)]
    with pytest.raises(ValueError, match="gives one 'clipnorm' to several groups"):
        optax_transform(difflr.Plan(variables, rules), optax.adamw, variables, learning_rate=RATE)

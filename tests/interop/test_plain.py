"""The same rules on plain torch modules and on JAX pytrees, against groups and transforms made by hand."""

import keras
import numpy as np
import optax
import pytest

import difflr
from difflr.interop import optax_transform, pytree_plan, torch_param_groups, torch_plan
from optimizers.steps import BACKEND

RATE, DECAY = 0.05, 0.3
on_torch = pytest.mark.same_everywhere


def net():
    import torch

    torch.manual_seed(0)
    stem = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Flatten())
    return torch.nn.ModuleDict({"stem": stem, "embed": torch.nn.Embedding(5, 4), "head": torch.nn.Linear(4, 2)})


def settings(plan):
    return {row.path: None if row.frozen else (row.multiplier, row.weight_decay_multiplier) for row in plan.rows}


def run(module, optimizer):
    """The weights after some steps."""
    import torch

    numbers = torch.Generator().manual_seed(1)
    for _ in range(5):
        optimizer.zero_grad()
        pictures = module["stem"](torch.randn((6, 3, 3, 3), generator=numbers))
        module["head"](pictures + module["embed"](torch.arange(6) % 5)).square().sum().backward()
        optimizer.step()
    return {name: value.detach().numpy() for name, value in module.named_parameters()}


@on_torch
@pytest.mark.parametrize("name", ["AdamW", "SGD"])
def test_torch_module_trains_as_with_groups_made_by_hand(name):
    import torch

    module, other = net(), net()
    rules = {
        "stem": 0.1,
        "kind:norm": {"weight_decay_multiplier": 0.0},
        module["head"].bias: 2.0,
        "embed": difflr.FROZEN,
    }
    optimizer = getattr(torch.optim, name)
    start = {key: value.detach().numpy().copy() for key, value in module.named_parameters()}
    got = run(module, optimizer(torch_param_groups(torch_plan(module, rules), RATE, DECAY)))
    by_hand = [
        {"params": other["stem"][0].parameters(), "lr": RATE * 0.1, "weight_decay": DECAY},
        {"params": other["stem"][1].parameters(), "lr": RATE * 0.1, "weight_decay": 0.0},
        {"params": [other["head"].weight], "lr": RATE, "weight_decay": DECAY},
        {"params": [other["head"].bias], "lr": RATE * 2, "weight_decay": DECAY},
    ]
    expected = run(other, optimizer(by_hand))
    for key, value in expected.items():
        np.testing.assert_allclose(got[key], value, rtol=1e-6, atol=1e-6)
        assert (np.abs(value - start[key]).max() > 1e-4) == (key != "embed.weight"), key


@on_torch
def test_paths_kinds_functions_and_modules_are_targets():
    module = net()
    rules = [
        ("kind:kernel", 2.0),
        ("kind:bias", 3.0),
        ("kind:norm", 4.0),
        ("kind:embedding", 5.0),
        ("kind:no_decay", {"weight_decay_multiplier": 0.0}),
    ]
    assert settings(torch_plan(module, rules)) == {
        "stem/0/weight": (2, 1),
        "stem/0/bias": (3, 0),
        "stem/1/weight": (4, 0),
        "stem/1/bias": (4, 0),
        "embed/weight": (5, 1),
        "head/weight": (2, 1),
        "head/bias": (3, 0),
    }
    module["head"].weight.requires_grad = False
    rules = [("*/bias", 2.0), (lambda variable: variable.shape == (5, 4), 3.0), (module["stem"][1], 4.0)]
    found = settings(torch_plan(module, rules))
    assert [found[path] for path in ("stem/0/bias", "embed/weight", "stem/1/bias", "head/weight", "stem/0/weight")] == [
        (2, 1),
        (3, 1),
        (4, 1),
        None,
        (1, 1),
    ]


@on_torch
def test_a_tied_parameter_has_both_paths_and_one_row():
    import torch

    module = torch.nn.ModuleDict({"embed": torch.nn.Embedding(3, 2), "head": torch.nn.Linear(2, 3, bias=False)})
    module["head"].weight = module["embed"].weight
    (row,) = torch_plan(module, {module["head"]: 0.5}).rows
    assert (row.path, row.aliases, row.multiplier) == ("embed/weight", ("head/weight",), 0.5)
    with pytest.raises(ValueError, match="claimed twice"):
        torch_plan(module, {"head": 0.5})


@on_torch
def test_what_is_refused():
    with pytest.raises(ValueError, match=r"The rule for 'haed' matches no trainable variable. Did you mean 'head'"):
        torch_plan(net(), {"haed": 0.5})
    with pytest.raises(ValueError, match="'kind:head' is found from the model's graph"):
        torch_plan(net(), {"kind:head": 0.5})
    with pytest.raises(TypeError, match=r"must be a torch.nn.Module"):
        torch_plan([1], {"head": 0.5})
    with pytest.raises(ValueError, match="freezes everything"):
        torch_param_groups(torch_plan(net(), {"*": difflr.FROZEN}), RATE)


TREE = {
    "params": {
        "Dense_0": {"kernel": (3, 4), "bias": (4,)},
        "LayerNorm_0": {"scale": (4,), "bias": (4,)},
        "layers": [{"w": (4, 4), "b": (4,)}, {"w": (4, 2), "b": (2,)}],
        "Embed_0": {"embedding": (5, 4)},
    }
}


def tree():
    import jax

    numbers = np.random.default_rng(0)
    is_shape = lambda node: isinstance(node, tuple)  # noqa: E731
    return jax.tree_util.tree_map(lambda shape: numbers.normal(size=shape).astype("float32"), TREE, is_leaf=is_shape)


@pytest.mark.skipif(BACKEND != "jax", reason="optax steps JAX arrays")
def test_pytree_trains_as_with_a_transform_made_by_hand():
    import jax

    rules = {
        "params/Dense_0": 0.1,
        "kind:norm": {
            "weight_decay_multiplier": 0.0,
            "schedule": keras.optimizers.schedules.ExponentialDecay(1.0, 2, 0.5),
        },
        "params/layers/0": difflr.FROZEN,
    }
    plan = pytree_plan(tree(), rules)
    transform = optax_transform(plan, optax.adamw, tree(), learning_rate=RATE, weight_decay=DECAY)
    label = {"Dense_0": "slow", "LayerNorm_0": "norm", "Embed_0": "rest"}
    labels = {"params": {name: dict.fromkeys(TREE["params"][name], what) for name, what in label.items()}}
    labels["params"]["layers"] = [dict.fromkeys("wb", "frozen"), dict.fromkeys("wb", "rest")]
    by_hand = optax.multi_transform(
        {
            "slow": optax.adamw(RATE * 0.1, weight_decay=DECAY),
            "norm": optax.adamw(optax.exponential_decay(RATE, 2, 0.5), weight_decay=0.0),
            "rest": optax.adamw(RATE, weight_decay=DECAY),
            "frozen": optax.set_to_zero(),
        },
        labels,
    )
    results = []
    for optimizer in (transform, by_hand):
        parameters = jax.tree_util.tree_map(jax.numpy.asarray, tree())
        state = optimizer.init(parameters)
        for step in range(5):
            gradients = jax.tree_util.tree_map(lambda value: jax.numpy.sin(value + step), parameters)  # noqa: B023
            updates, state = optimizer.update(gradients, state, parameters)
            parameters = optax.apply_updates(parameters, updates)
        results.append(jax.tree_util.tree_leaves_with_path(parameters))
    start = jax.tree_util.tree_leaves(tree())
    moved = [np.abs(got - value).max() > 1e-4 for (_, got), value in zip(results[0], start, strict=True)]
    assert moved.count(False) == 2
    for (path, got), (_, expected) in zip(*results, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-6, err_msg=str(path))


@pytest.mark.same_everywhere
def test_kinds_by_the_names_of_flax_and_haiku():
    pytest.importorskip("jax")
    rules = [("kind:kernel", 2.0), ("kind:bias", 3.0), ("kind:norm", 4.0), ("kind:embedding", 5.0)]
    found = {path.removeprefix("params/"): value[0] for path, value in settings(pytree_plan(tree(), rules)).items()}
    assert found == {
        "Dense_0/kernel": 2,
        "Dense_0/bias": 3,
        "LayerNorm_0/scale": 4,
        "LayerNorm_0/bias": 4,
        "layers/0/w": 2,
        "layers/0/b": 3,
        "layers/1/w": 2,
        "layers/1/b": 3,
        "Embed_0/embedding": 5,
    }


@pytest.mark.same_everywhere
def test_pytrees_that_do_not_fit():
    pytest.importorskip("jax")
    with pytest.raises(ValueError, match="have the path 'a/b'"):
        pytree_plan({"a": {"b": np.ones(2)}, "a/b": np.ones(2)})
    plan = pytree_plan({"a": np.ones(2)})
    with pytest.raises(KeyError, match="does not cover b"):
        optax_transform(plan, optax.sgd, {"b": np.ones(2)}, learning_rate=RATE)

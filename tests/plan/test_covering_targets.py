"""Short targets: each matches just the rows that it stands for."""

import keras
import numpy as np
import pytest

import difflr
from difflr.plan.covering_targets import CoveringTargets
from difflr.plan.targets import Targets
from plan.models_of_all_kinds import ALL

pytestmark = pytest.mark.same_everywhere


def matched(model, targets):
    return Targets(model).ids(targets) & set(map(id, model.variables))


def assert_exact(model, rows, plan):
    targets = CoveringTargets(plan.rows).of(rows)
    assert matched(model, targets) == {id(row.variable) for row in rows}, targets
    return targets


@pytest.mark.parametrize("name", ALL)
def test_they_match_just_these_rows(name):
    model = ALL[name]()
    plan = difflr.Plan(model)
    random = np.random.default_rng(0)
    assert_exact(model, plan.rows, plan)
    for _ in range(20):
        chosen = [row for row in plan.rows if random.random() < 0.5]
        if chosen:
            assert_exact(model, chosen, plan)
    for end in {row.path.rpartition("/")[2] for row in plan.rows}:
        assert_exact(model, [row for row in plan.rows if row.path.endswith(end)], plan)


NAMES = ["block_1_in", "block_1_out", "block_10_in", "block_2_in", "fire2", "fire3", "firefly", "bias", "a*b", "a[1]"]


@pytest.fixture(scope="module")
def network():
    layers = [keras.layers.Dense(2, name=name) for name in NAMES]
    return keras.Sequential(
        [keras.Input((2,)), keras.Sequential(layers, name="body"), keras.layers.Dense(1, name="head")]
    )


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        (["block_1_in", "block_1_out"], ["body/block_1_*"]),
        (["block_1_in", "block_1_out", "block_10_in", "block_2_in"], ["body/block_*"]),
        (["block_10_in"], ["body/block_10_in"]),
        (["fire2", "fire3"], ["body/fire2", "body/fire3"]),  # "fire*" would match firefly
        (["a*b", "a[1]"], ["body/a*b", "body/a[1]"]),
        (NAMES, ["body"]),
    ],
)
def test_what_they_are(network, chosen, expected):
    plan = difflr.Plan(network)
    rows = [row for row in plan.rows if row.path.split("/")[1] in chosen and row.path.startswith("body")]
    assert assert_exact(network, rows, plan) == expected


def test_ends_of_paths(network):
    plan = difflr.Plan(network)
    kernels = [row for row in plan.rows if row.path.endswith("kernel")]
    assert assert_exact(network, kernels, plan) == ["*/kernel"]
    assert assert_exact(network, [row for row in kernels if "block_1_" in row.path], plan) == ["body/block_1_*/kernel"]
    biases = [row for row in plan.rows if row.path.endswith("/bias")]
    assert_exact(network, biases, plan)

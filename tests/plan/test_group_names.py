import posixpath
import re

import keras
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import difflr
from difflr.plan.group_names import group_labels, groups_by_name

pytestmark = pytest.mark.same_everywhere

PATHS = ["body/stem/kernel", "body/stem/bias", "body/top/kernel", "body/top/bias", "head/kernel", "head/bias"]


def test_layers_patterns_and_the_first_of_several():
    assert group_labels([PATHS], PATHS) == ["all"]
    assert group_labels([PATHS[:4], PATHS[4:]], PATHS) == ["body", "head"]
    assert group_labels([PATHS[::2], PATHS[1::2]], PATHS) == ["all/kernel", "all/bias"]
    assert group_labels([["body/stem/kernel", "body/top/kernel"]], PATHS) == ["body/all/kernel"]
    assert group_labels([["body/stem/kernel", "head/kernel"]], PATHS) == ["body/stem/kernel_and_1_more"]
    assert group_labels([[*PATHS[:2], "head/kernel"]], PATHS) == ["body/stem_and_1_more"]


def fits_every_logger(label):
    """What MLflow takes (`mlflow.utils.validation`), without spaces and colons, which TensorBoard would replace."""
    return re.fullmatch(r"[\w\-./]{1,180}", label) and posixpath.normpath(label) == label and label[0] not in "./"


@settings(max_examples=30)
@given(
    st.lists(st.integers(0, 3), min_size=6, max_size=6),
    st.lists(st.text("aZ09_-. é漢:*/\\\n😀", min_size=1), min_size=6, max_size=6),
)
def test_labels_are_unique_and_fit_a_column(numbers, names):
    paths = [f"{name.replace('/', '')}/{end}" for name, end in zip(names, ["a", "a", "b", "b", "c", "c"], strict=True)]
    groups = [[p for p, n in zip(paths, numbers, strict=True) if n == number] for number in sorted(set(numbers))]
    labels = group_labels(groups, paths)
    assert len(set(labels)) == len(groups)
    assert [label for label in labels if not fits_every_logger(label)] == []
    folders = [label.split("/") for label in labels]  # MLflow keeps metrics as files
    assert not any(a != b and a == b[: len(a)] for a in folders for b in folders)


def test_groups_of_a_plan():
    layers = [keras.layers.Dense(2, name="body"), keras.layers.Dense(2, name="head")]
    model = keras.Sequential([keras.Input((2,)), *layers])
    plan = difflr.Plan(model, {"*/bias": 2.0, "head/bias": difflr.FROZEN})
    assert list(groups_by_name(plan)) == ["all/kernel", "body/bias"]


def named(rules):
    parts = [keras.layers.Dense(2, name="stem"), keras.layers.Dense(2, name="top")]
    body = keras.Sequential(parts, name="body")
    model = keras.Sequential([keras.Input((2,)), body, keras.layers.Dense(2, name="head")])
    return difflr.Plan(model, rules)


def test_a_group_that_the_user_named():
    assert list(groups_by_name(named({"body": {"multiplier": 0.1, "name": "slow: early"}}))) == ["slow: early", "head"]
    assert list(groups_by_name(named([difflr.Rule("body", multiplier=0.1, name="b"), ("head", 0.1)]))) == ["b", "head"]
    assert list(groups_by_name(named({"*": 0.1, "body/stem": {"name": "stem"}}))) == ["stem", "body/top_and_1_more"]


def test_groups_of_the_same_numbers_stay_apart_if_one_is_named():
    plan = named({"*": 0.5, "head": {"name": "top"}})
    assert [(group.multiplier, len(group.rows)) for group in plan.groups] == [(0.5, 4), (0.5, 2)]
    assert difflr.Plan.from_json(plan.model, plan.to_json()) == plan
    assert list(groups_by_name(0.5 * plan * difflr.bias_double(plan.model))) == [
        "body/all/kernel",
        "body/all/bias",
        "top",
        "top_2",
    ]


def test_the_users_name_stays_and_the_others_give_way():
    plan = named({"body": 0.1, "head": {"multiplier": 0.5, "name": "body"}})
    assert list(groups_by_name(plan)) == ["body_2", "body"]
    inside = named({"body/stem": 0.1, "body/top": 0.2, "head": {"multiplier": 0.5, "name": "body"}})
    assert list(groups_by_name(inside)) == ["body_2/stem", "body_2/top", "body"]


@pytest.mark.parametrize(
    "name", ["", " a", "a/", "/a", "a//b", "a/../b", ".", "a,b", "a*", "a\n", "x" * 101, 3, "a/ b"]
)
def test_names_that_some_logger_does_not_take(name):
    with pytest.raises(ValueError, match="The `name` of a group is a column of logs"):
        difflr.Rule("body", name=name)

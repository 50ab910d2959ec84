import keras
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import difflr
from difflr.plan.group_names import group_labels, group_names

pytestmark = pytest.mark.same_everywhere

PATHS = ["body/stem/kernel", "body/stem/bias", "body/top/kernel", "body/top/bias", "head/kernel", "head/bias"]


def test_layers_patterns_and_the_first_of_several():
    assert group_labels([PATHS], PATHS) == ["all"]
    assert group_labels([PATHS[:4], PATHS[4:]], PATHS) == ["body", "head"]
    assert group_labels([PATHS[::2], PATHS[1::2]], PATHS) == ["*/kernel", "*/bias"]
    assert group_labels([["body/stem/kernel", "body/top/kernel"]], PATHS) == ["body/*/kernel"]
    assert group_labels([["body/stem/kernel", "head/kernel"]], PATHS) == ["body/stem/kernel+1"]
    assert group_labels([[*PATHS[:2], "head/kernel"]], PATHS) == ["body/stem+1"]


@settings(max_examples=30)
@given(st.lists(st.integers(0, 3), min_size=6, max_size=6), st.lists(st.text(min_size=1), min_size=6, max_size=6))
def test_labels_are_unique_and_fit_a_column(numbers, names):
    paths = [f"{name.replace('/', '')}/{end}" for name, end in zip(names, ["a", "a", "b", "b", "c", "c"], strict=True)]
    groups = [[p for p, n in zip(paths, numbers, strict=True) if n == number] for number in sorted(set(numbers))]
    labels = group_labels(groups, paths)
    assert len(set(labels)) == len(groups)
    assert not any(set(label) & set(" ,;\n\t\"'") for label in labels)


def test_groups_of_a_plan():
    layers = [keras.layers.Dense(2, name="body"), keras.layers.Dense(2, name="head")]
    model = keras.Sequential([keras.Input((2,)), *layers])
    plan = difflr.Plan(model, {"*/bias": 2.0, "head/bias": difflr.FROZEN})
    assert group_names(plan) == ["*/kernel", "body/bias"]

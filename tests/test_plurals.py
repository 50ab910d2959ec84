"""One is one: no table or repr says "1 steps"."""

import re

import keras
import pytest

from difflr import Phase, Phases, Plan
from difflr.text_table import counted

pytestmark = pytest.mark.same_everywhere


def test_numbers_have_their_nouns():
    assert [counted(number, "step") for number in (0, 1, 2000)] == ["0 steps", "1 step", "2,000 steps"]


def test_a_model_of_one_variable():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, use_bias=False)])
    plan = Plan(model, {})
    table = Phases([Phase("*", steps=1, warmup_steps=1), Phase("*")]).table()
    assert "1 variable, " in repr(plan)
    assert table.count("1 step") == 2
    assert not re.search(r"\b1 (step|variable|group|parameter)s\b", f"{plan!r} {plan.table()} {table}")

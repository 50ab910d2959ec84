"""Texts that were made up by `make fuzz` and reach different code, and texts that are hostile: each accepted or refused."""

import itertools
import json
import time

import keras
import numpy as np
import pytest

import difflr
from difflr import checks
from difflr.plan.targets import path_expression
from faults import readers

SECONDS = 20  # of processor time, for what would take years where it is not bounded


@pytest.fixture(autouse=True)
def bounded():
    begin = time.process_time()
    yield
    assert time.process_time() - begin < SECONDS


@pytest.mark.same_everywhere
@pytest.mark.parametrize("reader", readers.READERS)
def test_what_was_kept(reader):
    answers = [readers.read(text) for text in readers.corpus(reader)]
    assert answers.count(None) >= 2
    assert len(answers) > answers.count(None)


def plan_with(**fields):
    config = json.loads(difflr.Plan(readers.model()).to_json())
    config["rows"][0].update(fields)
    return config


def nested(depth, config):
    inner = {"class_name": "Joined", "module": "difflr", "registered_name": "difflr>Joined"}
    for _ in range(depth):
        config = {**inner, "config": {"schedules": [config], "boundaries": []}}
    return config


WHOLE = {"format": "difflr plan 2", "frozen_statistics": "keep", "statistics": [], "whole": None}
PLANS = {
    "brackets": ("[" * 100_000, "This is not the JSON text of a plan"),
    "objects": ('{"a":' * 100_000, "This is not the JSON text of a plan"),
    "a long number": ('{"format": ' + "1" * 100_000 + "}", "This is not the JSON text of a plan"),
    "a long word": (json.dumps({"format": "x" * 1_000_000}), "expected the format 'difflr plan 2'"),
    "too long": ("[" + " " * checks.MAX_CHARACTERS, "has at most 20000000 characters"),
    "said twice": ('{"format": "difflr plan 2", "format": 3}', "'format' appears twice"),
    "NaN": (json.dumps({**WHOLE, "rows": [{"multiplier": float("nan")}]}), "'rows/0/multiplier' is no finite number"),
    "infinity": ('{"rows": [1e999]}', "'rows/0' is no finite number: inf"),
    "half a character": ('{"\\ud800": 1}', "which is no text"),
    "half a character inside": (json.dumps(plan_with(path="\ud800")), "is no Unicode text"),
    "a zero": ('{"format": "\x00"}', "This is not the JSON text of a plan"),
    "many rows": (json.dumps({**WHOLE, "rows": [{}] * 50_000}), "Row 0 of the plan has no valid 'path'"),
    "a list": ("[1, 2]", "Received: 'list'"),
    "deep data": (json.dumps({**WHOLE, "rows": json.loads("[" * 100 + "]" * 100)}), "nested more than 60 deep"),
    "deep schedules": (
        json.dumps(plan_with(schedule=nested(30, 1.0))),
        "nested more than 60 deep|cannot be created",
    ),
    "decided by a list": (json.dumps(plan_with(decided={"multiplier": [1]})), "no valid 'decided'"),
}


@pytest.mark.parametrize("name", PLANS)
def test_hostile_plans(name):
    text, message = PLANS[name]
    with pytest.raises(ValueError, match=message) as caught:
        difflr.Plan.from_json(readers.model(), text)
    assert len(str(caught.value)) < readers.LONGEST_MESSAGE


def test_more_rows_than_could_be_told_apart():
    config = json.loads(difflr.Plan(readers.model()).to_json())
    row = {**config["rows"][0], "multiplier": 0.0, "frozen": True}
    config["rows"] = [{**row, "path": f"layer{number}", "place": f"layer{number}"} for number in range(6_000)]
    optimizer = difflr.optimizers.SGD(0.1, multipliers={"plan": config})
    with pytest.raises(ValueError, match="too far apart to find out which is which"):
        optimizer.build(readers.variables())


LAUGHS = "a: &a [x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in itertools.pairwise("abcdefghi")
)
YAML = {
    "a billion laughs": (LAUGHS, "aliases .* are not used here"),
    "brackets": ("[" * 3_000, "This is no YAML"),
    "code": ("!!python/object/apply:os.system ['true']", "This is no YAML"),
    "a class": ("phases: !!python/name:os.system", "This is no YAML"),
    "said twice": ("phases: []\nphases: []", "'phases' appears twice"),
    "too long": ("#" * 100_001, "at most 100000 characters"),
    "no such date": ("phases: 2020-13-45", "This is no YAML"),
    "a date": ("phases: [2020-12-24]", "is of type date"),
    "a number in words": ("phases: [{trainable: head, epochs: !!int ''}]", "This is no YAML"),
    "infinite": ("phases: [{trainable: head, monitor: loss, min_delta: .inf}]", "is no finite number: inf"),
    "a long number": (f"phases: [{{trainable: head, epochs: 0x{'f' * 9_000}}}]", "too large or too deep to be shown"),
    "a long list": (f"phases: [{{trainable: head, epochs: [{'1,' * 2_000}]}}]", "must be an integer >= 1"),
}


@pytest.mark.same_everywhere
@pytest.mark.parametrize("name", YAML)
def test_hostile_phases(name):
    text, message = YAML[name]
    with pytest.raises(ValueError, match=message) as caught:
        difflr.Phases.from_yaml(text)
    assert len(str(caught.value)) < readers.LONGEST_MESSAGE


PATTERNS = [
    "*a" * 900 + "b",
    "**/a/" * 300 + "b",
    "*?" * 900 + "b",
    "*[ab]" * 300 + "c",
    "a/**/" * 300 + "b",
    "*" * 2_000,
]


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda pattern: pattern[:8])
def test_patterns_take_time_proportional_to_the_path(pattern):
    begin = time.process_time()
    path_expression(pattern).fullmatch("a/" * 2_000 + "a" * 2_000)
    assert time.process_time() - begin < 2
    with pytest.raises(ValueError, match="A pattern can have at most 2000 characters"):
        path_expression(pattern * 10)


def by_hand(pattern, path):
    """Whether a pattern of `a`, `/`, `?`, `*` and `**/` matches, all ways tried at once."""
    places, at = {0}, 0
    while at < len(pattern):
        first = min(places, default=len(path))
        if pattern.startswith("**/", at) and (at == 0 or pattern[at - 1] == "/"):
            places |= {place + 1 for place in range(first, len(path)) if path[place] == "/"}
            at += 3
            continue
        if pattern[at] == "*":
            places = set(range(first, len(path) + 1)) if places else places
        else:
            one = pattern[at]
            places = {p + 1 for p in places if p < len(path) and (path[p] != "/" if one == "?" else path[p] == one)}
        at += 1
    return any(place == len(path) or path[place] == "/" for place in places)


def test_patterns_match_what_they_say():
    numbers = np.random.default_rng(0)
    for _ in range(1_500):
        pattern = "".join(numbers.choice(["a", "b", "/", "*", "**/", "?", "/**/"], size=numbers.integers(1, 7)))
        path = "".join(numbers.choice(["a", "b", "/"], size=numbers.integers(1, 9)))
        assert bool(path_expression(pattern).fullmatch(path)) == by_hand(pattern, path), (pattern, path)


def test_a_lambda_is_never_run(tmp_path):
    """Keras's safe mode refuses the code in a layer, and nothing of difflr asks for less."""
    model = keras.Sequential([keras.Input((2,)), keras.layers.Lambda(lambda x: x), difflr.layers.Dense(1)])
    model.save(tmp_path / "model.keras")
    with pytest.raises(ValueError, match="[Ll]ambda"):
        keras.saving.load_model(tmp_path / "model.keras")


def test_a_function_in_a_plan_is_not_saved():
    with pytest.raises(ValueError, match="cannot be saved before the variables are known"):
        difflr.optimizers.SGD(0.1, multipliers=lambda variable: 0.1).get_config()
    plan = difflr.Plan(readers.model(), [(lambda variable: "low" in variable.path, 0.1)])
    assert "lambda" not in json.dumps([row["schedule"] for row in json.loads(plan.to_json())["rows"]])

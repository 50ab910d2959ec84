"""`bind_to_variables`: a saved plan for the variables of a loaded model, by the order in which Keras saves them."""

import difflib
from collections.abc import Sequence
from typing import Any

import keras

from difflr.plan.plan import Plan
from difflr.plan.rows import Row, StatisticsLayer
from difflr.plan.saved_plan import bound_row, report, short_name
from difflr.text_table import counted

MAX_WORK = 20_000_000  # cells of a table that is filled to find out which variable is which


def bind_to_variables(config: dict[str, Any], variables: Sequence[keras.Variable]) -> Plan:
    """Binds saved rows to the variables of a loaded model, in order, as Keras does with the optimizer's state.

    Names are compared as far as they survive loading (layer and variable name, without counters), and shapes. Frozen
    rows may be absent: Keras does not list the variables of layers that were saved as not trainable.

    Args:
        config: What `to_config` returned.
        variables: The variables that Keras builds the optimizer with.

    Raises:
        ValueError: If rows and variables do not fit, or fit in more than one way.
    """
    saved = config["rows"]
    absent = len(saved) - len(variables)
    if absent * len(saved) > MAX_WORK:
        raise ValueError(
            f"The saved plan has {counted(len(saved), 'row')}, and this model trains "
            f"{counted(len(variables), 'variable')}: too far apart to find out which is which. "
            "Load the model with `compile=False` and make a new plan."
        )
    places = _align(saved, variables)
    if places is None:
        raise ValueError(_report_by_order(saved, variables))

    def rows_of(entries: list[dict[str, Any]]) -> list[Row]:
        found = [(entry, variables[place]) for entry, place in zip(entries, places, strict=True) if place is not None]
        return [bound_row(entry, Row(entry["path"], variable, place=entry["place"])) for entry, variable in found]

    statistics = [
        StatisticsLayer(entry["path"], None, entry["frozen"], entry["by_user"], entry["place"])
        for entry in config["statistics"]
    ]
    whole = config["whole"]
    if whole is not None:
        whole = Plan.from_rows(rows_of(whole["rows"]), statistics, whole["frozen_statistics"])
    return Plan.from_rows(rows_of(saved), statistics, config["frozen_statistics"], whole)


def _report_by_order(saved: list[dict[str, Any]], variables: Sequence[keras.Variable]) -> str:
    """What matched and what did not, by order alone, with as few differences as possible."""
    if len(saved) * len(variables) > MAX_WORK:
        return report("plan", 0, [counted(len(saved), "variable")], [counted(len(variables), "variable")], [])
    was = [(row["variable"], tuple(row["shape"])) for row in saved]
    now = [(short_name(variable), tuple(variable.shape)) for variable in variables]
    matched, missing, new, reshaped = 0, [], [], []
    for what, i, end, j, stop in difflib.SequenceMatcher(None, was, now, autojunk=False).get_opcodes():
        if what == "equal":
            matched += end - i
        elif [name for name, _ in was[i:end]] == [name for name, _ in now[j:stop]]:
            reshaped += [f"{saved[i + k]['path']} was {was[i + k][1]}, is {now[j + k][1]}" for k in range(end - i)]
        else:
            missing += [row["path"] for row in saved[i:end]]
            new += [variable.path for variable in variables[j:stop]]
    return report("plan", matched, missing, new, reshaped)


def _align(saved: list[dict[str, Any]], variables: Sequence[Any]) -> list[int | None] | None:
    """The position of each row's variable, `None` if absent; or `None` instead of the list if that is ambiguous."""
    absent = len(saved) - len(variables)
    if absent < 0:
        return None
    fits = [
        [
            0 <= row_number - skipped < len(variables) and _fits(row, variables[row_number - skipped])
            for skipped in range(absent + 1)
        ]
        for row_number, row in enumerate(saved)
    ]
    optional = [row["frozen"] for row in saved]
    # possible[i][s]: the rows from i on fit the variables from i - s on.
    possible = [[False] * (absent + 2) for _ in range(len(saved) + 1)]
    possible[len(saved)][absent] = True
    for i in reversed(range(len(saved))):
        for s in range(absent + 1):
            possible[i][s] = (fits[i][s] and possible[i + 1][s]) or (optional[i] and possible[i + 1][s + 1])
    if not possible[0][0]:
        return None
    # reached: how many rows may have been skipped so far. A trainable row must have exactly one place. Of frozen rows it
    # hardly matters which is absent: preferably one of a layer that is frozen as a whole.
    places: list[int | None] = []
    reached, skipped = {0}, 0
    for i in range(len(saved)):
        takes = {s for s in reached if fits[i][s] and possible[i + 1][s]}
        skips = {s for s in reached if optional[i] and possible[i + 1][s + 1]}
        if not optional[i] and len(takes) > 1:
            return None
        skip = skipped in skips and (skipped not in takes or saved[i]["keeps_statistics"])
        places.append(None if skip else i - skipped)
        skipped += skip
        reached = takes | {s + 1 for s in skips}
    return places


def _fits(row: dict[str, Any], variable: Any) -> bool:
    return row["shape"] == list(variable.shape) and row["variable"] == short_name(variable)

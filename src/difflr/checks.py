"""Checks of arguments, text for errors, and bounded reading of plain data."""

import difflib
import enum
import json
import math
import numbers
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import keras
import numpy as np

MAX_CHARACTERS = 20_000_000
MAX_DEPTH = 60
MAX_SHOWN = 300


def shown(thing: Any) -> str:
    """`thing` as text for an error, of bounded length."""
    if isinstance(thing, (str, bytes)):
        text = repr(thing[:MAX_SHOWN])
        return text if len(thing) <= MAX_SHOWN else f"{text}... ({len(thing)} characters)"
    try:
        text = repr(thing)
    except (RecursionError, ValueError):  # a ValueError: an integer of thousands of digits
        return f"a {type(thing).__name__} too large or too deep to be shown"
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


def nearest(name: str, known: Iterable[str], count: int = 3, cutoff: float = 0.6) -> list[str]:
    """The names most like `name`, in capitals or not.

    Args:
        name: What was received.
        known: What is expected.
        count: How many at most.
        cutoff: How alike they are at least, 0 to 1.
    """
    folded: dict[str, list[str]] = {}
    for candidate in known:
        folded.setdefault(candidate.casefold(), []).append(candidate)
    close = difflib.get_close_matches(name.casefold(), folded, n=count, cutoff=cutoff)
    return [candidate for key in close for candidate in folded[key]][:count]


def did_you_mean(name: object, known: Iterable[str], count: int = 3, cutoff: float = 0.5, kind: str = "") -> str:
    """A hint for an error, such as ` Did you mean 'block_3'?`; empty where nothing is alike.

    Args:
        name: What was received.
        known: What is expected.
        count: How many names at most.
        cutoff: How alike they are at least, 0 to 1.
        kind: What the names begin with, such as `"kind:"`.
    """
    return meant([kind + close for close in nearest(str(name)[:MAX_SHOWN], known, count, cutoff)])


def wrong_type(what: str, expected: str, value: object) -> TypeError:
    """The error about an argument of a wrong type.

    Args:
        what: The argument.
        expected: What it must be.
        value: What was received.
    """
    return TypeError(f"{what} must be {expected}. Received: {shown(value)} (of type {type(value).__name__}).")


def meant(names: list[str]) -> str:
    """` Did you mean 'a' or 'b'?`; empty without names."""
    return f" Did you mean {' or '.join(map(repr, names))}?" if names else ""


def is_number(value: object) -> bool:
    """Whether `value` is a Python number, not a boolean."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def checked_option(value: Any, name: str, options: Collection[Any]) -> Any:
    """`value`, if it is one of `options`.

    Args:
        value: What the user gave.
        name: The name of the argument.
        options: Texts, `True`, `False` or `None`.

    Raises:
        ValueError: If it is not; the message has the nearest one.
    """
    if not any(value is option or (isinstance(value, str) and value == option) for option in options):
        *others, last = map(repr, options)
        texts = [option for option in options if isinstance(option, str)]
        hint = did_you_mean(value, texts, 1, 0.4) if isinstance(value, str) else ""
        raise ValueError(f"`{name}` must be {', '.join(others)} or {last}. Received: {shown(value)}.{hint}")
    return value


def fits(value: Any, kind: Any) -> bool:
    """Whether plain data has the form of a type, such as `dict[str, list[int] | None]`. A tuple may be a list.

    Args:
        value: The data.
        kind: The type. An integer is a `float`, too; a boolean is neither.
    """
    origin, inside = typing.get_origin(kind) or kind, typing.get_args(kind)
    if origin is types.UnionType:
        return any(fits(value, one) for one in inside)
    if origin in (int, float):
        return isinstance(value, (int, origin)) and not isinstance(value, bool)
    if not isinstance(value, (list, tuple) if origin is tuple else origin):
        return False
    if isinstance(value, dict) and inside:
        return all(fits(key, inside[0]) and fits(item, inside[1]) for key, item in value.items())
    if origin is tuple and inside[-1] is not ...:
        return len(value) == len(inside) and all(map(fits, value, inside))
    return not inside or all(fits(item, inside[0]) for item in value)


def check_record(data: Any, kinds: Mapping[str, Any], where: str, optional: Collection[str] = ()) -> None:
    """Checks that `data` is a mapping with these fields and no others.

    Args:
        data: What was read.
        kinds: The type of each field, as for `fits`.
        where: What it is, for errors.
        optional: The fields that may be absent.

    Raises:
        ValueError: If it is not; the message names the field.
    """
    for field, kind in kinds.items():
        known = isinstance(data, dict) and field in data
        if not (known and fits(data[field], kind)) and (known or field not in optional):
            received = data.get(field) if isinstance(data, dict) else data
            raise ValueError(f"{where} has no valid '{field}'. Received: {shown(received)}.")
    check_fields(data, kinds, where)


def check_fields(data: Mapping[str, Any], known: Collection[str], where: str) -> None:
    """Checks that `data` is a mapping without other fields than those known.

    Args:
        data: What was read.
        known: The names of the fields.
        where: What it is, for errors.

    Raises:
        TypeError: If it is not a mapping.
        ValueError: If it has other fields; the message has the nearest one.
    """
    if not isinstance(data, Mapping):
        raise wrong_type(where, f"a mapping of {', '.join(known)}", data)
    unknown = next((field for field in data if field not in known), None)
    if unknown is not None:
        hint = did_you_mean(unknown, known, 1, 0.4)
        raise ValueError(f"{where} has the unknown field {shown(unknown)}.{hint} Expected: {', '.join(known)}.")


def read_json(text: Any, what: str) -> Any:
    """The data in a JSON text, checked as `check` does.

    Args:
        text: The text.
        what: What it should be, for errors.

    Raises:
        TypeError: If it is no text.
        ValueError: If it is too long, no JSON, says something twice, or is not plain.
    """
    if not isinstance(text, str):
        raise TypeError(f"{what} in JSON is text. Received: {shown(text)} (of type {type(text).__name__}).")
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"{what} has at most {MAX_CHARACTERS} characters. Received: {len(text)}.")
    try:
        data = json.loads(text, object_pairs_hook=_without_repetition)
    except (ValueError, RecursionError) as error:  # a ValueError also for integers of thousands of digits
        raise ValueError(f"This is not the JSON text of {what}: {error}") from None
    return check(data, what)


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{shown(next(name for name in names if names.count(name) > 1))} appears twice in one object.")
    return data


def check(data: Any, what: str, fix: Callable[[], str] = str) -> Any:
    """`data`, if it is plain: dicts with text as keys, lists, text, finite numbers, booleans and `None`, not too deep.

    Args:
        data: What was read.
        what: What it should be, for errors.
        fix: Says what can be done, for errors.

    Raises:
        ValueError: If it is not; the message says where.
    """
    pending: list[tuple[Any, str, int]] = [(data, "", 1)]
    while pending:
        thing, place, depth = pending.pop()
        problem = None
        if isinstance(thing, dict):
            pending += [(value, f"{place}/{str(key)[:40]}", depth + 1) for key, value in thing.items()]
            bad_key = next((key for key in thing if not isinstance(key, str) or not _is_text(key)), None)
            problem = None if bad_key is None else f"has the key {shown(bad_key)}, which is no text"
        elif isinstance(thing, (list, tuple)):
            pending += [(value, f"{place}/{number}", depth + 1) for number, value in enumerate(thing)]
        elif isinstance(thing, str):
            problem = None if _is_text(thing) else f"is no Unicode text: {shown(thing)}"
        elif isinstance(thing, numbers.Real):
            problem = None if _is_finite(thing) else f"is no finite number: {shown(thing)}"
        elif thing is not None:
            problem = f"is of type {type(thing).__name__}: {shown(thing)}"
        if depth > MAX_DEPTH:
            problem = f"is nested more than {MAX_DEPTH} deep"
        if problem:
            raise ValueError(f"{what} has an invalid entry: '{place[:200].strip('/')}' {problem}. {fix()}".strip())
    return data


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_finite(number: Any) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:  # an integer beyond all floats
        return False


def checked_multiplier(
    value: Any, what: str = "multiplier", zero_freezes: bool = True, span: str = ">= 0, such as 0.1"
) -> float:
    """`value` as a float, if it can be a multiplier: a finite number that is not negative.

    Args:
        value: What the user gave.
        what: The name of the argument, for the error.
        zero_freezes: Whether it is a multiplier indeed, so that the error may speak of freezing.
        span: What is expected, for the error.

    Raises:
        ValueError: If it is negative, NaN, infinite, a boolean, a string, or no number at all.
    """
    number: float | None = None
    if not isinstance(value, (bool, np.bool_, str, bytes, keras.Variable)):
        try:
            number = float(value)
        except OverflowError:  # an integer beyond all floats
            number = math.inf
        except (TypeError, ValueError):
            number = None
    if number is None:
        hint = ""
        if isinstance(value, str):
            is_number = _reads_as_number(value)
            freeze = " To freeze, use `difflr.FROZEN`." if zero_freezes else ""
            hint = f" Write {value.strip()[:40]} without quotes." if is_number else freeze
        if isinstance(value, (bool, np.bool_)) and zero_freezes:
            hint = " To freeze, use `difflr.FROZEN`."
        if isinstance(value, enum.Enum) and zero_freezes:  # difflr.FROZEN where only numbers are known
            hint = " Here 0 freezes."
        raise ValueError(
            f"`{what}` must be a finite number {span}. Received: {shown(value)} (of type {type(value).__name__}).{hint}"
        )
    if not math.isfinite(number) or number < 0:
        given = shown(value) if not isinstance(value, int) or abs(value) < 10**30 else "an integer beyond all floats"
        hint = " 0 freezes; a training direction cannot be turned round." if zero_freezes else ""
        raise ValueError(f"`{what}` must be a finite number {span}. Received: {given}.{hint}")
    return number


def _reads_as_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def checked_rate(value: Any, name: str = "peak_learning_rate") -> float:
    """`value` as a float, if it can be a learning rate or a factor: a finite number above 0.

    Raises:
        ValueError: If it is not.
    """
    number = checked_multiplier(value, name, zero_freezes=False, span="> 0, such as 0.1")
    if number == 0:
        raise ValueError(f"`{name}` must be above 0: with 0 nothing would ever be trained. Received: {shown(value)}.")
    return number


def checked_number(value: Any, name: str, lowest: float = 0.0, highest: float = math.inf) -> float:
    """`value` as a float, if it is a finite number from `lowest` to `highest`.

    Raises:
        ValueError: If it is not.
    """
    span = f"from {lowest:g} to {highest:g}" if highest < math.inf else f">= {lowest:g}"
    number = checked_multiplier(value, name, zero_freezes=False, span=span)
    if not lowest <= number <= highest:
        raise ValueError(f"`{name}` must be a number {span}. Received: {shown(value)}.")
    return number


def checked_steps(value: Any, name: str = "num_steps", lowest: int = 1) -> int:
    """`value` as an integer, if it can be a number of steps.

    Raises:
        ValueError: If it is no integer, or below `lowest`.
    """
    number = checked_multiplier(value, name, zero_freezes=False, span=f">= {lowest}")
    if number < lowest or number != int(number):
        counted = "epochs" if "epochs" in name else "optimizer steps (batches, not epochs)"
        raise ValueError(f"`{name}` counts {counted} and must be an integer >= {lowest}. Received: {shown(value)}.")
    return int(number)


def checked_schedule(value: Any, name: str = "schedule") -> Any:
    """`value`, if it is a schedule or a rate that stays as it is.

    Raises:
        ValueError: If it is neither.
    """
    if isinstance(value, keras.optimizers.schedules.LearningRateSchedule):
        return value
    if callable(value) or isinstance(value, str):
        raise ValueError(
            f"`{name}` must be a keras.optimizers.schedules.LearningRateSchedule, or a number. "
            f"Received: {shown(value)} (of type {type(value).__name__})."
        )
    return checked_multiplier(value, name, zero_freezes=False)


def as_float(step: Any) -> Any:
    """The optimizer's step as a float tensor."""
    return keras.ops.cast(step, keras.config.floatx())


def listed(names: list[str]) -> str:
    """The first of `names`, and how many there are."""
    short = [name if len(name) <= 200 else f"{name[:200]}..." for name in names[:8]]
    return ", ".join(short) + (f", ... ({len(names)} in all)" if len(names) > 8 else "")

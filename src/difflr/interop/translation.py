"""`Translation`: a plan converted from another library, and what happened to every setting."""

import collections
import dataclasses
import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import keras

from difflr.checks import nearest, shown
from difflr.plan import Plan, Row, Rule
from difflr.plan.group_names import covering_names, layers_above
from difflr.text_table import counted, html_table

# The Keras layers for PyTorch's lists of normalization modules; InstanceNorm is a GroupNormalization.
NORMS = (keras.layers.BatchNormalization, keras.layers.GroupNormalization, keras.layers.LayerNormalization)

# For one variable: axis -> value, and the settings that decide it.
Decision = tuple[Mapping[str, Any], Iterable[str]]


@dataclasses.dataclass(frozen=True)
class Translation:
    """Settings of another library as a plan for a Keras model, with a report: `print(translation)`.

    Args:
        plan: The `difflr.Plan`.
        peer: The name of the other library.
        matched: For each setting that matched, the layer-tree paths of its variables.
        unmatched: The settings that match nothing in the model, or are overridden everywhere.
        unmentioned: The paths of the variables without a setting. They get multiplier 1.
        frozen_by_user: The paths of the variables with `trainable = False`, which stay frozen.
        learning_rate: The base rate, a number or a schedule, if the settings have one.
        optimizer: An unbuilt optimizer with the plan, if the settings name one.
        notes: Important differences, as text.

    Example:

    ```python
    translation = difflr.interop.from_lr_multiplier({"stem": 0.1}, model)
    print(translation)
    optimizer = difflr.optimizers.Adam(1e-3, multipliers=translation.plan)
    ```
    """

    plan: Plan
    peer: str
    matched: Mapping[str, tuple[str, ...]]
    unmatched: tuple[str, ...] = ()
    unmentioned: tuple[str, ...] = ()
    frozen_by_user: tuple[str, ...] = ()
    learning_rate: Any = None
    optimizer: Any = None
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        settings = [f"  {setting} -> {layers}" for setting, layers in self._settings()]
        return "\n".join([self._title(), *settings, *self._notes()])

    def _repr_html_(self) -> str:
        return html_table(["setting", "layers"], self._settings(), {0, 1}, "\n".join([self._title(), *self._notes()]))

    def __repr__(self) -> str:
        return f"<difflr.interop.Translation from {self.peer}: {len(self.matched)} matched, {len(self.unmatched)} unmatched>"

    def _title(self) -> str:
        took_effect = counted(len(self.matched), "setting")
        return f"From {self.peer}: {took_effect} took effect, {len(self.unmatched)} did not."

    def _settings(self) -> list[list[str]]:
        """The settings that took effect, and the layers that they reach."""
        total = collections.Counter(layer for row in self.plan.rows for layer in layers_above(row.path))
        return [[setting, ", ".join(covering_names(paths, total))] for setting, paths in self.matched.items()]

    def _notes(self) -> list[str]:
        """What took no effect, and what else there is to know."""
        lines: list[str] = []
        for title, names in (
            ("Decides nothing", self.unmatched),
            ("Not mentioned (multiplier 1)", self.unmentioned),
            ("Frozen by `trainable = False`", self.frozen_by_user),
            ("Note", self.notes),
        ):
            lines += [f"{title}: {name}" for name in names]
        lines += [] if self.learning_rate is None else [f"Base rate: {_in_words(self.learning_rate)}"]
        lines += [] if self.optimizer is None else [f"Optimizer: {_in_words(self.optimizer)}"]
        return lines


_SAID_ELSEWHERE = ("name", "learning_rate", "multipliers")


def _in_words(thing: Any) -> str:
    """A number, or a schedule or optimizer with its non-default arguments."""
    if not hasattr(thing, "get_config"):
        return f"{thing:g}"
    usual = type(thing)().get_config() if isinstance(thing, keras.optimizers.Optimizer) else {}
    config = {key: value for key, value in thing.get_config().items() if value != usual.get(key)}
    arguments = [f"{key}={value!r}" for key, value in config.items() if key not in _SAID_ELSEWHERE]
    return f"{type(thing).__name__}({', '.join(arguments)})"


def translate(
    peer: str,
    model: Any,
    decide: Callable[[Row], Decision | None],
    settings: Iterable[str],
    *,
    notes: Iterable[str] = (),
    name_of: Callable[[Row], str] = lambda row: row.path,
) -> Translation:
    """Create the plan in which each variable gets the result of `decide`, and the report on `settings`.

    Args:
        peer: The name of the other library.
        model: A built Keras model, or a list of variables.
        decide: Row of the plan without rules -> its values; `None`: no setting applies.
        settings: The names of all settings, in order. Warns about those without effect.
        notes: Important differences, as text.
        name_of: The name of a variable in the other library, for errors.

    Raises:
        ValueError: If there are settings but none matches.
    """
    rules: list[Rule] = []
    matched: dict[str, list[str]] = {setting: [] for setting in settings}
    unmentioned, by_user = [], []
    for row in Plan(model).rows:
        decision = decide(row)
        if _frozen_by_user(row):
            by_user.append(row.path)
        elif decision is None or not decision[0]:
            unmentioned.append(row.path)
        else:
            rules.append(Rule(row.variable, **decision[0]))
        for setting in decision[1] if decision else ():
            matched.setdefault(setting, []).append(row.path)
    unmatched = [setting for setting, paths in matched.items() if not paths]
    _report_unmatched(peer, unmatched, len(matched), [name_of(row) for row in Plan(model).rows])
    return Translation(
        plan=Plan(model, rules),
        peer=peer,
        matched={setting: tuple(paths) for setting, paths in matched.items() if paths},
        unmatched=tuple(unmatched),
        unmentioned=tuple(unmentioned),
        frozen_by_user=tuple(by_user),
        notes=tuple(notes),
    )


def _frozen_by_user(row: Row) -> bool:
    return row.frozen and not row.decided.get("frozen", "").startswith("declared by")


def _report_unmatched(peer: str, unmatched: list[str], number: int, names: list[str]) -> None:
    if not unmatched:
        return
    close = {name: _nearest_name(name, names) for name in unmatched[:5]}
    listed = ", ".join(f"'{name}'" + (f" (nearest: '{near[0]}')" if near else "") for name, near in close.items())
    listed += f", ... ({len(unmatched)} in all)" if len(unmatched) > 5 else ""
    if len(unmatched) == number:
        raise ValueError(
            f"None of the {number} settings from {peer} matches the model: {listed}. "
            f"The variables of the model have these names there: {', '.join(names[:5])}{', ...' if len(names) > 5 else ''}."
        )
    warnings.warn(
        f"{len(unmatched)} of {number} settings from {peer} have no effect on the model: {listed}.", stacklevel=4
    )


def _nearest_name(setting: str, names: list[str]) -> list[str]:
    """The name, or part of one, that is most like that of a setting; the whole name if a part is just the same."""
    parts = {part: name for name in reversed(names) for part in (*name.replace(".", "/").split("/"), name)}
    words = setting.split()[:1] + setting.split()[-1:]  # `conv1 param 0`, `override bias`
    found = [(word, part) for word in words for part in nearest(word, parts, 1)]
    return [parts[part] if part == word else part for word, part in found[:1]]


def full_match(pattern: str, name: str, setting: str) -> bool:
    """Whether a regular expression matches the whole name.

    Args:
        pattern: The regular expression.
        name: The name.
        setting: Where the pattern is, for errors.

    Raises:
        ValueError: If it is not a regular expression.
    """
    try:
        return re.fullmatch(pattern, name) is not None
    except (re.error, TypeError) as error:
        raise ValueError(f"{setting} has {shown(pattern)}, which is not a regular expression: {error}.") from None


def torch_name(row: Row) -> str:
    """The name of the variable in a PyTorch model: `backbone/norm/gamma` -> `backbone.norm.weight`."""
    *layers, name = row.path.split("/")
    return ".".join([*layers, _TORCH_NAMES.get(name, name)])


_TORCH_NAMES = {"kernel": "weight", "embeddings": "weight", "gamma": "weight", "beta": "bias"}

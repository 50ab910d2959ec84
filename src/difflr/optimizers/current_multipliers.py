"""`optimizer.multipliers` and `optimizer.hyperparameters`, read and set during training."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras

from difflr.checks import did_you_mean, listed, meant, shown
from difflr.optimizers.groups import Groups
from difflr.plan import Plan, VariableMapping
from difflr.plan.covering_targets import WILD
from difflr.plan.layer_tree import Leaf, walk
from difflr.plan.targets import Targets


class CurrentValues(VariableMapping):
    """The current values of an optimizer's plan, by variable.

    The value of a layer or path is the one that its variables share. Setting changes the next step without recompiling.

    Args:
        plan: The plan in force, with the current values.
        values: Pairs of a variable and its value.
        assign: Function `(variables, value)` that sets the value; `None` if the optimizer is not built.
        what: The name of the values for errors, in plural.
    """

    def __init__(
        self,
        plan: Plan,
        values: Sequence[tuple[keras.Variable, Any]],
        assign: Callable[[Sequence[keras.Variable], float], None] | None,
        what: str,
    ):
        super().__init__(values, paths=lambda variable: plan.row(variable).path)
        self._plan = plan
        self._assign = assign
        self._what = what

    def __getitem__(self, target: Any) -> Any:
        variables = self._variables(target)
        numbers = {super(CurrentValues, self).__getitem__(variable) for variable in variables}
        if len(numbers) > 1:
            raise KeyError(
                f"The variables of {target if isinstance(target, str) else target.name} have several {self._what}: "
                f"{', '.join(f'{number:g}' for number in sorted(numbers))}. Ask for one variable."
            )
        return numbers.pop()

    def __setitem__(self, target: Any, value: float) -> None:
        if self._assign is None:
            raise ValueError(
                f"The optimizer is not built yet: set {self._what} in its plan, or build it first "
                "(`optimizer.build(model.trainable_variables)`)."
            )
        variables = self._variables(target)
        self._assign(variables, value)
        for variable in variables:
            if not self._plan.row(variable).frozen:
                self._items[id(variable)] = (variable, float(value))

    def _variables(self, target: Any) -> list[keras.Variable]:
        if isinstance(target, keras.Variable):
            return [target]
        if isinstance(target, keras.Layer):
            found = [variable for variable in target.variables if variable in self]
            if not found:
                raise KeyError(
                    f"The layer {target.name} has no variable of this optimizer: it belongs to another model."
                )
            return found
        rows = self._plan.rows
        if isinstance(target, str):  # a loaded plan has paths and knows no model yet
            below = f"{target.strip('/')}/"
            found = [row.variable for row in rows if any(f"{p}/".startswith(below) for p in (row.path, *row.aliases))]
            if found:
                return found
        targets = Targets(self._plan.model, self._leaves())
        is_path = isinstance(target, str) and not target.startswith("kind:") and not WILD.search(target)
        if is_path and self._plan.model is None:
            hint = meant(targets.closest(target))
            raise KeyError(
                f"The plan has nothing at {shown(target)}.{hint} It has {listed([row.path for row in rows])}."
            )
        return targets.variables(target)

    def _leaves(self) -> list[Leaf]:
        """The leaves of the model; of a loaded plan that knows no model, what its rows say."""
        if self._plan.model is not None:
            return walk(self._plan.model)
        return [Leaf(row.variable, row.layer, [row.path, *row.aliases], row.place) for row in self._plan.rows]


class CurrentMultipliers(CurrentValues):
    """The current multipliers of an optimizer, by variable; 0 if frozen.

    Args:
        plan: The plan in force, with the current multipliers.
        groups: The optimizer's groups; `None` if it is not built.
    """

    def __init__(self, plan: Plan, groups: Groups | None):
        pairs = [(row.variable, row.multiplier) for row in plan.rows]
        super().__init__(plan, pairs, None if groups is None else groups.set, "multipliers")
        self._groups = groups

    def scale(self, target: Any, factor: float) -> float:
        """Scales the multipliers of all groups of a part, and returns the highest.

        Args:
            target: Any target of a rule, such as a layer, variable or path.
            factor: A number above 0; 1 changes nothing.

        Raises:
            ValueError: If the optimizer is not built, or variables of a group are left out.
            KeyError: If nothing of it is trainable.
        """
        if self._groups is None:
            raise ValueError(
                "The optimizer is not built yet: scale the plan instead (`plan * 0.5`), or build it first."
            )
        return self._groups.scale(self._variables(target), factor)

    def waits(self, target: Any) -> bool:
        """Whether all of a part is frozen now by a phase, not by the plan.

        Args:
            target: As for `scale`.
        """
        variables = self._variables(target)
        trains_later = any(not self._plan.whole.row(variable).frozen for variable in variables)
        return trains_later and all(self._plan.row(variable).frozen for variable in variables)


class _ByName(dict[str, CurrentValues]):
    """The hyperparameters that a plan sets, by name."""

    def __missing__(self, name: str) -> CurrentValues:
        hint = did_you_mean(str(name), self)
        raise KeyError(
            f"The plan sets no hyperparameter {shown(name)}.{hint} It sets: {', '.join(self) or 'none'}. To set it: "
            f"difflr.Rule(..., hyperparameters={{{str(name)!r}: ...}})."
        )


def current_hyperparameters(plan: Plan, groups: Groups | None) -> dict[str, CurrentValues]:
    """The hyperparameters that the plan sets, by name; of a schedule its value at this step.

    Args:
        plan: The plan in force, with the current numbers.
        groups: The optimizer's groups; `None` if it is not built.
    """
    found: dict[str, list[tuple[keras.Variable, Any]]] = {}
    for row in plan.rows:
        for name, value in row.hyperparameters.items():
            found.setdefault(name, []).append((row.variable, value))
    own = None if groups is None else groups.hyperparameters
    return _ByName(
        (
            name,
            CurrentValues(
                plan,
                pairs if own is None else [(variable, own.value_of(name, variable)) for variable, _ in pairs],
                None if own is None else functools.partial(own.set, name),
                f"values of '{name}'",
            ),
        )
        for name, pairs in found.items()
    )

"""`optimizer.multipliers` and `optimizer.hyperparameters`, read and set during training."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import keras

from difflr.checks import did_you_mean, listed, meant, shown
from difflr.plan import VariableMapping
from difflr.plan.covering_targets import WILD
from difflr.plan.layer_tree import Leaf, walk
from difflr.plan.rows import MULTIPLIER
from difflr.plan.targets import Targets

if TYPE_CHECKING:
    from difflr.optimizers.planned_optimizer import PlannedOptimizer


class CurrentValues(VariableMapping):
    """The current multipliers of an optimizer, or values of one of its hyperparameters, by variable.

    The value of a layer or path is the one that its variables share. Setting changes the next step without recompiling. Of
    a schedule it is the value at this step.

    Args:
        optimizer: The optimizer.
        name: `"multiplier"`, or a hyperparameter that its plan sets.
    """

    def __init__(self, optimizer: "PlannedOptimizer", name: str = MULTIPLIER):
        self._optimizer = optimizer
        self._name = name
        self._what = "multipliers" if name == MULTIPLIER else f"values of '{name}'"

    @property
    def _items(self) -> Mapping[int, tuple[keras.Variable, Any]]:  # type: ignore[override] # read when it is asked for
        rows = self._optimizer.plan.rows
        if self._name == MULTIPLIER:
            return {id(row.variable): (row.variable, row.multiplier) for row in rows}
        own = None if self._optimizer._groups is None else self._optimizer._groups.hyperparameters
        return {
            id(row.variable): (row.variable, value if own is None else own.value_of(self._name, row.variable))
            for row in rows
            if (value := row.hyperparameters.get(self._name)) is not None
        }

    def _paths(self, variable: keras.Variable) -> str:
        return self._optimizer.plan.row(variable).path

    def __getitem__(self, target: Any) -> Any:
        now = VariableMapping(self._items.values(), self._paths)
        numbers = {now[variable] for variable in self._variables(target)}
        if len(numbers) > 1:
            raise KeyError(
                f"The variables of {target if isinstance(target, str) else target.name} have several {self._what}: "
                f"{', '.join(f'{number:g}' for number in sorted(numbers))}. Ask for one variable."
            )
        return numbers.pop()

    def __setitem__(self, target: Any, value: float) -> None:
        if self._optimizer._groups is None:
            raise ValueError(
                f"The optimizer is not built yet: set {self._what} in its plan, or build it first "
                "(`optimizer.build(model.trainable_variables)`)."
            )
        self._optimizer._groups.set(self._name, self._variables(target), value)

    def _variables(self, target: Any) -> list[keras.Variable]:
        if isinstance(target, keras.Variable):
            return [target]
        if isinstance(target, keras.Layer):
            known = self._items
            found = [variable for variable in target.variables if id(variable) in known]
            if not found:
                raise KeyError(
                    f"The layer {target.name} has no variable of this optimizer: it belongs to another model."
                )
            return found
        plan = self._optimizer.plan
        rows = plan.rows
        if isinstance(target, str):  # a loaded plan has paths and knows no model yet
            below = f"{target.strip('/')}/"
            found = [row.variable for row in rows if any(f"{p}/".startswith(below) for p in (row.path, *row.aliases))]
            if found:
                return found
        leaves = [Leaf(row.variable, row.layer, [row.path, *row.aliases], row.place) for row in rows]
        targets = Targets(plan.model, leaves if plan.model is None else walk(plan.model))
        is_path = isinstance(target, str) and not target.startswith("kind:") and not WILD.search(target)
        if is_path and plan.model is None:
            hint = meant(targets.closest(target))
            raise KeyError(
                f"The plan has nothing at {shown(target)}.{hint} It has {listed([row.path for row in rows])}."
            )
        found = targets.variables(target)
        return [variable for variable in found if variable in plan] or found


class CurrentMultipliers(CurrentValues):
    """The current multipliers of an optimizer, by variable; 0 if frozen."""

    def scale(self, target: Any, factor: float) -> float:
        """Scales the multipliers of all groups of a part, and returns the highest.

        Args:
            target: Any target of a rule, such as a layer, variable or path.
            factor: A number above 0; 1 changes nothing.

        Raises:
            ValueError: If the optimizer is not built, or variables of a group are left out.
            KeyError: If nothing of it is trainable.
        """
        if self._optimizer._groups is None:
            raise ValueError(
                "The optimizer is not built yet: scale the plan instead (`plan * 0.5`), or build it first."
            )
        return self._optimizer._groups.scale(self._variables(target), factor)

    def waits(self, target: Any) -> bool:
        """Whether all of a part is frozen now by a phase, not by the plan.

        Args:
            target: As for `scale`.
        """
        plan, variables = self._optimizer.plan, self._variables(target)
        trains_later = any(not plan.whole.row(variable).frozen for variable in variables)
        return trains_later and all(plan.row(variable).frozen for variable in variables)


class CurrentHyperparameters(dict[str, CurrentValues]):
    """The hyperparameters that the plan of an optimizer sets, by name."""

    def __missing__(self, name: str) -> CurrentValues:
        hint = did_you_mean(str(name), self)
        raise KeyError(
            f"The plan sets no hyperparameter {shown(name)}.{hint} It sets: {', '.join(self) or 'none'}. To set it: "
            f"difflr.Rule(..., hyperparameters={{{str(name)!r}: ...}})."
        )

"""`optimizer.multipliers`: read and set while it trains."""

from typing import Any

import keras

from difflr.optimizers.groups import Groups
from difflr.plan import Plan, VariableMapping
from difflr.plan.layer_tree import Leaf
from difflr.plan.targets import Targets


class CurrentMultipliers(VariableMapping):
    """The multipliers of an optimizer at this moment, by variable; frozen ones are 0.

    A layer, or a path in the layer tree, gives the multiplier of its variables if they have one in common. Setting
    changes the next step, without recompiling.

    Args:
        plan: The plan in force, with the multipliers of this moment.
        groups: The optimizer's groups; `None` if it is not built.
    """

    def __init__(self, plan: Plan, groups: Groups | None):
        pairs = [(row.variable, row.multiplier) for row in plan.rows]
        super().__init__(pairs, paths=lambda variable: plan.row(variable).path)
        self._plan = plan
        self._groups = groups

    def __getitem__(self, target: Any) -> float:
        variables = self._variables(target)
        numbers = {super(CurrentMultipliers, self).__getitem__(variable) for variable in variables}
        if len(numbers) > 1:
            raise KeyError(
                f"The variables of {target if isinstance(target, str) else target.name} have several multipliers: "
                f"{', '.join(f'{number:g}' for number in sorted(numbers))}. Ask for one variable."
            )
        return numbers.pop()

    def __setitem__(self, target: Any, value: float) -> None:
        if self._groups is None:
            raise ValueError(
                "The optimizer is not built yet: set multipliers in its plan, or build it first "
                "(`optimizer.build(model.trainable_variables)`)."
            )
        variables = self._variables(target)
        self._groups.set(variables, value)
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
                    f"The layer {target.name} has no variable that this optimizer knows: it belongs to another model."
                )
            return found
        rows = self._plan.rows
        leaves = [Leaf(row.variable, row.layer, [row.path, *row.aliases], row.place) for row in rows]
        found = Targets(leaves, self._plan.model).match(target)
        return [rows[position].variable for position, _ in found]

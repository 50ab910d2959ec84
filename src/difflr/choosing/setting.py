"""`Setting`: the optimizer and arguments that compile a trial, chosen as in `fine_tune`."""

import dataclasses
from typing import Any

import keras

from difflr import keras_private
from difflr.fine_tuning.fine_tune import fresh, optimizer_for_settings
from difflr.optimizers import DifferentialOptimizer
from difflr.optimizers.plan_of import plan_of
from difflr.optimizers.unwrap import inner
from difflr.plan import Plan
from difflr.plan.targets import Targets


@dataclasses.dataclass(frozen=True)
class Setting:
    """The optimizer and arguments that compile a trial.

    Args:
        model: The model.
        optimizer: The optimizer whose settings are used; `None` for the default of `fine_tune`.
        arguments: The other arguments of `compile`.
    """

    model: keras.Model
    optimizer: Any
    arguments: dict[str, Any]

    @property
    def accumulation(self) -> int:
        """The number of batches per update."""
        return getattr(inner(self.optimizer), "gradient_accumulation_steps", None) or 1

    def plan_or(self, plan: Plan | None) -> Plan:
        """`plan`, or else the plan of the optimizer, or else that of the layers.

        Args:
            plan: The plan that the user gave, if any.

        Raises:
            TypeError: If it is not a plan.
        """
        if plan is not None and not isinstance(plan, Plan):
            raise TypeError(f"`plan` must be a difflr.Plan. Received: {plan!r} (of type {type(plan).__name__}).")
        own = inner(self.optimizer)
        if plan is None and isinstance(own, DifferentialOptimizer) and own.has_multipliers:
            plan = plan_of(self.model, self.optimizer)
        return Plan(self.model) if plan is None else plan

    def compile(self, model: keras.Model, plan: Plan, learning_rate: float) -> None:
        """Compiles the model with a new optimizer that holds `plan`.

        Args:
            model: The model.
            plan: The plan.
            learning_rate: Float > 0.
        """
        model.compile(fresh(self.optimizer, learning_rate, plan), **self.arguments)


def setting_of(
    model: keras.Model, optimizer: keras.optimizers.Optimizer | str | None = None, loss: object = None
) -> Setting:
    """The setting of a model. Arguments replace what the model was compiled with.

    Args:
        model: A built model, compiled or not.
        optimizer: As for `difflr.fine_tune`.
        loss: As in `compile`.

    Raises:
        TypeError: If the optimizer is a `MultiOptimizer`.
        ValueError: If the model is neither compiled nor given a `loss`.
    """
    arguments = keras_private.compile_arguments(model)
    own = arguments.pop("optimizer", None)
    if loss is not None:
        arguments["loss"] = loss
    if arguments.get("loss") is None and not model.compiled:
        raise ValueError("The model is not compiled, so a `loss` is needed, as in `compile`.")
    for name in ("metrics", "weighted_metrics"):
        arguments.pop(name, None)
    if "steps_per_execution" in arguments:
        arguments["steps_per_execution"] = 1
    return Setting(model, optimizer_for_settings(own if optimizer is None else optimizer), arguments)


def plan_of_target(model: keras.Model, plan: Plan, target: object) -> Plan:
    """The plan with everything but the target frozen.

    Args:
        model: The model.
        plan: The plan.
        target: A target as in `difflr.Rule`, or a list of targets.

    Raises:
        ValueError: If it matches nothing that the plan trains.
    """
    trained = Targets(model).ids(target) & {id(row.variable) for row in plan.rows if not row.frozen}
    if not trained:
        raise ValueError(
            f"The plan trains nothing in the target {target!r}: all of it is frozen. Choose another target or plan."
        )
    return plan.only(trained, f"only {target!r} trains")

"""`Setting`: the optimizer and the arguments with which `fine_tune` and trials compile a model."""

import dataclasses
import warnings
from typing import Any

import keras

from difflr import keras_private
from difflr.checks import wrong_type
from difflr.optimizers import DifferentialOptimizer, differential
from difflr.optimizers.plan_of import plan_of
from difflr.optimizers.unwrap import inner, rewrap
from difflr.plan import Plan

ADAMW = {"weight_decay": 0.01, "global_clipnorm": 1.0}  # the norm as BERT was fine-tuned, and in transformers' Trainer
# Their steps are not of Adam's size. At its default rates they lost 6 to 76 points on four tasks of development; RMSprop,
# Nadam, Adamax, Lion and Muon did not differ that much.
OTHER_SCALE = (
    keras.optimizers.SGD,
    keras.optimizers.Adagrad,
    keras.optimizers.Adadelta,
    keras.optimizers.Ftrl,
    keras.optimizers.Adafactor,
)


@dataclasses.dataclass(frozen=True)
class Setting:
    """The optimizer and the arguments that compile a model.

    Args:
        model: The model.
        optimizer: The optimizer whose settings are used; `None` for the default of `fine_tune`.
        arguments: The other arguments of `compile`.
    """

    model: keras.Model
    optimizer: Any
    arguments: dict[str, Any]

    @property
    def own(self) -> keras.optimizers.Optimizer | None:
        """The optimizer that updates variables."""
        return inner(self.optimizer)

    def plan(self, given: Plan | None = None) -> Plan | None:
        """`given`, or the plan in force of the optimizer; `None` if it has no multipliers.

        Args:
            given: The plan that the user gave, if any.

        Raises:
            TypeError: If it is not a plan.
        """
        if given is None and isinstance(self.own, DifferentialOptimizer) and self.own.has_multipliers():
            return plan_of(self.model, self.optimizer)
        if not isinstance(given, Plan | None):
            raise wrong_type("`plan`", "a difflr.Plan", given)
        return given

    def whole_plan(self, given: Plan | None = None) -> Plan | None:
        """`given`, or the plan of the optimizer without what a phase or `freeze_to` freezes.

        Args:
            given: As for `plan`.

        Raises:
            TypeError: If it is not a plan.
        """
        found = self.plan(given)
        return found.whole if given is None and found is not None else found

    def for_trials(self) -> "Setting":
        """The same without metrics, and with one step at a time."""
        kept = {name: value for name, value in self.arguments.items() if name not in ("metrics", "weighted_metrics")}
        if "steps_per_execution" in kept:
            kept["steps_per_execution"] = 1
        return dataclasses.replace(self, arguments=kept)

    def compile(self, plan: Plan, learning_rate: float) -> None:
        """Compiles the model with a new optimizer that holds `plan`.

        Args:
            plan: The plan.
            learning_rate: Float > 0.
        """
        self.model.compile(_fresh(self.optimizer, learning_rate, plan), **self.arguments)

    def warn_of_other_scale(self, learning_rate: float) -> None:
        """Warns if the default rate is not meant for the optimizer.

        Args:
            learning_rate: The default rate.
        """
        if isinstance(self.own, OTHER_SCALE):
            warnings.warn(
                f"The default learning rate, {learning_rate:g}, is meant for Adam and its relatives, and may be far from "
                f"right for {type(self.own).__name__}. Give a `learning_rate` (difflr.find_learning_rate helps to find it), "
                "or optimizer='adamw'.",
                stacklevel=3,
            )


def setting_of(
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer | str | None = None,
    loss: object = None,
    metrics: object = None,
) -> Setting:
    """The setting of a model. Arguments replace what the model was compiled with.

    Args:
        model: A built model, compiled or not.
        optimizer: As for `difflr.fine_tune`.
        loss: As in `compile`.
        metrics: As in `compile`.

    Raises:
        TypeError: If the optimizer is a `MultiOptimizer`.
        ValueError: If the model is neither compiled nor given a `loss`.
    """
    if not isinstance(model, keras.Model):
        raise wrong_type("`model`", "a Keras model", model)
    given = {"optimizer": optimizer, "loss": loss, "metrics": metrics}
    arguments = keras_private.compile_arguments(model)
    arguments |= {name: value for name, value in given.items() if value is not None}
    if arguments.get("loss") is None and not model.compiled:
        raise ValueError("The model is not compiled, so a `loss` is needed, as in `compile`.")
    own = arguments.pop("optimizer", None)
    own = None if own is None else keras.optimizers.get(own)
    if isinstance(own, keras_private.MULTI_OPTIMIZERS):
        raise TypeError(
            "Fine-tuning has one schedule and needs one optimizer, not a keras.optimizers.MultiOptimizer. Give another "
            "`optimizer`."
        )
    return Setting(model, own, arguments)


def _fresh(optimizer: Any, learning_rate: float, plan: Plan) -> keras.optimizers.Optimizer:
    """A new differential optimizer with the settings of another; `None` for the default."""
    if optimizer is None:
        return differential(keras.optimizers.AdamW)(learning_rate, multipliers=plan, **ADAMW)
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        return rewrap(optimizer, _fresh(optimizer.inner_optimizer, learning_rate, plan))
    if isinstance(optimizer, DifferentialOptimizer):  # without its plan, which may be one that only a build resolves
        config = super(DifferentialOptimizer, optimizer).get_config()  # type: ignore[misc]
        config |= {"weight_decay_follows": optimizer.weight_decay_follows, "fused": optimizer.fused}
    else:
        config = optimizer.get_config()
    made = differential(type(optimizer)).from_config(config | {"learning_rate": learning_rate, "multipliers": plan})
    keras_private.copy_weight_decay_exclusions(optimizer, made)
    return made

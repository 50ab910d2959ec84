"""The update of an optimizer, group by group, and the checks before it."""

import warnings
from collections.abc import Sequence
from typing import Any

import keras

from difflr import keras_private
from difflr.checks import listed
from difflr.optimizers import torch_passes
from difflr.optimizers.groups import Groups, Tensor
from difflr.optimizers.planned_optimizer import PlannedOptimizer
from difflr.optimizers.torch_passes.step import Step
from difflr.plan.rows import grouped


class GroupedUpdate(PlannedOptimizer):
    """The part of a differential optimizer that updates variables."""

    continues_phases = False  # set by `PhaseScheduler`, which continues the phase of a loaded state

    def _vectorized_step(
        self, name: str, grads: list[Tensor], variables: Sequence[keras.Variable], learning_rate: Tensor
    ) -> None:
        groups: Groups = self._groups  # type: ignore[assignment] # it is built
        own = groups.hyperparameters
        if not own.set_of:
            torch_passes.run(Step(name, self, groups, variables, grads, learning_rate))
            return
        numbers = groups.members(variables).numbers
        by_set = grouped(range(len(numbers)), lambda place: own.set_of.get(numbers[place], -1))
        now = own.by_set()
        for turn, (number, places) in enumerate(by_set.items(), 1):
            optimizer = self._with(now[number]) if number >= 0 else self
            picked = [variables[place] for place in places], [grads[place] for place in places]
            is_last = turn == len(by_set)
            torch_passes.run(Step(name, optimizer, groups, *picked, learning_rate, is_last))

    def weight_decay_multiplier(self, variable: keras.Variable) -> float:
        """The plan's factor on the weight decay of a trainable variable.

        Args:
            variable: The variable; on TensorFlow also a `tf.Variable`.
        """
        return self._groups.weight_decay_multipliers[self._groups.of(keras_private.position(self, variable))]

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[Any] | None = None) -> None:
        """Updates the variables, as in Keras. Ignores gradients of variables that the plan freezes.

        Args:
            grads: Gradients.
            trainable_variables: Their variables; `None` for those the optimizer was built with.

        Raises:
            ValueError: If a variable that the plan freezes was unfrozen by hand.
        """
        if trainable_variables is None:
            self._warn_if_still_frozen()
            self._check_number(len(grads), "gradients")
            return super().apply(grads)
        trainable_variables = list(trainable_variables)
        if not self.built and len(grads):
            with keras.name_scope(self.name, caller=self):
                self.build(trainable_variables)
        self._warn_if_still_frozen()
        if self._groups is not None and self._groups.any_frozen:
            frozen = [variable for variable in trainable_variables if self._groups.is_frozen(variable)]
            if frozen:
                self._check_none_is_unfrozen(frozen)
                both = zip(grads, trainable_variables, strict=True)
                pairs = [(gradient, variable) for gradient, variable in both if not self._groups.is_frozen(variable)]
                grads, trainable_variables = [g for g, _ in pairs], [v for _, v in pairs]
        return super().apply(grads, trainable_variables)

    def _warn_if_still_frozen(self) -> None:
        if self._warning_at_next_step and not self.continues_phases:
            text, self._warning_at_next_step = self._warning_at_next_step, ""
            warnings.warn(text, stacklevel=2)

    def _check_none_is_unfrozen(self, frozen: Sequence[Any]) -> None:
        unfrozen = [self._groups.plan.row(variable) for variable in frozen if variable.trainable]
        if unfrozen:
            raise ValueError(
                f"`trainable = True` was set on {listed([row.path for row in unfrozen])}, and the plan of the "
                f"optimizer freezes it ({unfrozen[0].decided.get('frozen', 'multiplier 0')}), so it would not train. Make a "
                "plan that trains it: difflr.replan(model, plan)."
            )

    def stateless_apply(self, optimizer_variables: Any, grads: Any, trainable_variables: Any) -> Any:
        """As in Keras, for JAX: updates the values of all trainable variables.

        Raises:
            ValueError: If the number or the shapes of the variables differ from those of the build.
        """
        if self.built:
            self._check_number(len(trainable_variables), "trainable variables")
            self._check_shapes(trainable_variables)
        return super().stateless_apply(optimizer_variables, grads, trainable_variables)

    def _check_number(self, number: int, what: str) -> None:
        if self._groups is None or number == len(self._groups.trainable):
            return
        frozen = sum(row.frozen for row in self._groups.plan.rows)
        if number > len(self._groups.trainable) and frozen:
            raise ValueError(
                f"Received {number} {what}, but {len(self._groups.trainable)} variables are trainable: the plan freezes "
                f"{frozen}. "
                "Take `model.trainable_variables` after the optimizer was made and built."
            )

    def _check_shapes(self, values: Sequence[Any]) -> None:
        """Checks shapes: JAX passes arrays without names, and other variables would train at these rates."""
        for variable, value in zip(self._groups.trainable if self._groups else (), values, strict=False):
            if tuple(variable.shape) != tuple(value.shape):
                raise ValueError(
                    f"The optimizer was built for other variables: {self._groups.plan.row(variable).path} has the shape "
                    f"{tuple(variable.shape)}, and {tuple(value.shape)} came in its place. A layer was frozen or unfrozen "
                    "by hand since, or the model is another one: compile with a new optimizer."
                )

    def exclude_from_weight_decay(self, var_list: Any = None, var_names: Any = None) -> None:
        """As in Keras, but saved with the plan.

        Raises:
            ValueError: If the optimizer is built, which Keras intends to refuse but does not.
        """
        if self.built:
            raise ValueError(
                "`exclude_from_weight_decay()` comes before the optimizer is built. In a plan it is a rule: "
                "difflr.Rule('*/bias', weight_decay_multiplier=0.0)."
            )
        super().exclude_from_weight_decay(var_list, var_names)

    def summary(self, print_function: Any = print) -> None:
        """Prints the plan with the current effective rates.

        Args:
            print_function: What receives the text. Defaults to `print`.
        """
        rate = float(keras.ops.convert_to_numpy(self.learning_rate))
        print_function(self.plan.table(rate, keras_private.applications(self)))

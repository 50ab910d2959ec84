"""Torch's own fused kernels, called once for each group: the update in one pass over the memory, without temporaries.

They compute what Keras computes in another order of rounding. Over 100 steps the weights agree to about 1e-6, relatively
(tests/optimizers/test_fused.py). SGD with Nesterov momentum is another formula than torch's and has no fused pass.
"""

import math
import operator
from collections.abc import Callable, Iterator
from typing import Any

from difflr.optimizers.torch_passes.step import Step, decay


def groups(step: Step) -> Iterator[tuple[Any, ...]]:
    """Yields `(number, variables, gradients, *state)` for each group that occurs.

    Args:
        step: The step.
    """
    columns = [step.variables, step.grads, *step.state]
    for number, places in step.members.by_group.items():
        yield number, *([column[place] for place in places] for column in columns)


def adam(step: Step) -> None:
    """Adam and AdamW.

    Keras multiplies the rate by both bias corrections and leaves epsilon alone, torch puts one of them under the root
    with epsilon beside it. After infinitely many steps torch corrects nothing: the rate brings Keras's corrections.
    """
    import torch

    optimizer = step.optimizer
    corrections = torch.sqrt(1 - step.power(optimizer.beta_2)) / (1 - step.power(optimizer.beta_1))
    rates = step.rates * corrections
    on_cpu, alphas, kept = step.on_cpu, step.scalars(rates), step.kept_by_decay()
    endless = torch.tensor(float("inf"), device=rates.device)
    for number, variables, grads, momenta, velocities, *maxima in groups(step):
        rate, factor, weight_decay = alphas[number], kept[number], 0.0
        if factor is not None:
            if on_cpu and rate != 0:  # the kernel decays by `rate * weight_decay`
                weight_decay = (1 - factor) / rate
            else:
                decay(variables, [factor] * len(variables))
        torch._fused_adamw_(
            variables,
            grads,
            momenta,
            velocities,
            maxima[0] if optimizer.amsgrad else [],
            [endless] * len(variables),
            lr=rate,
            beta1=optimizer.beta_1,
            beta2=optimizer.beta_2,
            weight_decay=weight_decay,
            eps=optimizer.epsilon,
            amsgrad=optimizer.amsgrad,
            maximize=False,
        )


def sgd(step: Step) -> None:
    """SGD with momentum, `v = momentum * v - rate * g`: torch's dampening scales the gradient, its rate of -1 adds v."""
    import torch

    rates, kept = step.exact_rates.tolist(), step.kept_by_decay()
    for number, variables, grads, momenta in groups(step):
        if kept[number] is not None:
            decay(variables, [kept[number]] * len(variables))
        torch._fused_sgd_(
            variables,
            grads,
            momenta,
            weight_decay=0.0,
            momentum=step.optimizer.momentum,
            lr=-1.0,
            dampening=1.0 + rates[number],
            nesterov=False,
            maximize=False,
            is_first_step=False,
        )


def adagrad(step: Step) -> None:
    """Adagrad. Keras adds epsilon inside the root, torch beside it: here as much as makes both equal at the first step.

    The accumulators grow from there, and the difference stays under `epsilon / (8 * initial_accumulator_value)`.
    """
    import torch

    first = step.optimizer.initial_accumulator_value
    beside = math.sqrt(first + step.optimizer.epsilon) - math.sqrt(first)
    rates, kept, never_read = step.scalars(step.rates), step.kept_by_decay(), torch.tensor(1.0)
    for number, variables, grads, accumulators in groups(step):
        if kept[number] is not None:
            decay(variables, [kept[number]] * len(variables))
        torch._fused_adagrad_(
            variables,
            grads,
            accumulators,
            [never_read] * len(variables),
            lr=rates[number],
            lr_decay=0.0,
            weight_decay=0.0,
            eps=beside,
            maximize=False,
        )


PASSES: dict[str, Callable[[Step], None]] = {"SGD": sgd, "Adam": adam, "Adagrad": adagrad}
_KIND = operator.attrgetter("dtype", "device")


def fits(name: str, step: Step) -> bool:
    """Whether the kernels can take this step: the same formula, one precision and place, and no gaps in the tensors."""
    import torch

    optimizer, first = step.optimizer, step.variables[0]
    if (
        name not in PASSES
        or (name == "SGD" and (optimizer.nesterov or optimizer.momentum == 0))
        or (
            name == "Adagrad"
            and not (step.on_cpu and optimizer.epsilon <= 1.6e-6 * optimizer.initial_accumulator_value)
        )
        or first.dtype not in (torch.float32, torch.float64)
        or first.device.type not in ("cpu", "cuda")
    ):
        return False
    tensors = [tensor for each in (step.variables, step.grads, *step.state) for tensor in each]
    return set(map(_KIND, tensors)) == {_KIND(first)} and all(map(torch.Tensor.is_contiguous, tensors))

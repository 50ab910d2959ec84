"""Torch's fused kernels, called once per group: the update in one pass over the memory, without temporaries.

They round in another order than Keras: after 100 steps the weights agree to about 1e-6, relatively
(tests/optimizers/test_fused.py). Keras's Nesterov momentum differs from torch's, so it has no fused update.
"""

import itertools
import math
import operator
from collections.abc import Callable, Iterator
from typing import Any

from difflr.optimizers.torch_passes.step import Step, decay


def groups(step: Step) -> Iterator[tuple[Any, ...]]:
    """Yields `(number, variables, gradients, *state)` for each group in this step.

    Args:
        step: The step.
    """
    columns = [step.variables, step.grads, *step.state]
    for number, places in step.members.by_group.items():
        yield number, *([column[place] for place in places] for column in columns)


def adam(step: Step) -> None:
    """Adam and AdamW.

    Keras multiplies the rate by both bias corrections; torch applies one of them under the root, next to epsilon. With an
    infinite step count torch corrects nothing, so that Keras's corrections can go into the rate.
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
    """SGD with momentum, `v = momentum * v - rate * g`: `dampening` scales the gradient, `lr=-1` adds v."""
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
    """Adagrad. Keras adds epsilon inside the root, torch outside: torch's is chosen to make the first step equal.

    As the accumulators grow, the difference stays below `epsilon / (8 * initial_accumulator_value)`.
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
    """Whether the kernels can compute this step: same formula, one dtype and device, contiguous tensors."""
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
    tensors = [*step.variables, *step.grads, *itertools.chain.from_iterable(step.state)]
    return set(map(_KIND, tensors)) == {_KIND(first)} and all(map(torch.Tensor.is_contiguous, tensors))

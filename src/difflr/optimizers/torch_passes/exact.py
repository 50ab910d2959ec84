"""Keras's vectorized updates for all groups at once, bit for bit.

Keras's update takes one rate for a list of variables. One call per group costs 2 to 8 times the stock step with 150
groups, because each call repeats the work that all variables share. Here that work is done once, and the same
`torch._foreach_*` calls get a list of rates: the same operations on the same numbers in the same order.

On a CPU the lists are processed in pieces that fit in the cache, because the temporaries of a whole list cost more than
the arithmetic (150 variables of 512 x 512: stock Adam allocates 150 MB four times a step). A GPU gets one call.
"""

from collections.abc import Callable, Sequence

from difflr import keras_private
from difflr.optimizers.torch_passes.step import Step, Tensor


def sgd(step: Step) -> None:
    """`v = momentum * v - rate * g`."""
    import torch

    momentum, nesterov = step.optimizer.momentum, step.optimizer.nesterov
    rates = -step.exact_rates.cpu()
    if momentum == 0:
        for down, variables, grads, *_ in step.pieces(rates):
            _add_steps(variables, grads, down)
        return
    for down, variables, grads, momenta in step.pieces(rates):
        torch._foreach_mul_(momenta, momentum)
        _add_steps(momenta, grads, down)
        if nesterov:
            _add_steps(variables, grads, down)
            torch._foreach_add_(variables, momenta, alpha=momentum)
        else:
            torch._foreach_add_(variables, momenta)


def adam(step: Step) -> None:
    """Adam and AdamW."""
    import torch

    optimizer = step.optimizer
    beta_1, beta_2 = optimizer.beta_1, optimizer.beta_2
    up, down = torch.sqrt(1 - step.power(beta_2)), 1 - step.power(beta_1)
    for alphas, variables, grads, momenta, velocities, *maxima in step.pieces(step.rates * up / down):
        torch._foreach_mul_(momenta, beta_1)
        torch._foreach_add_(momenta, grads, alpha=1 - beta_1)
        torch._foreach_mul_(velocities, beta_2)
        torch._foreach_add_(velocities, torch._foreach_mul(grads, grads), alpha=1 - beta_2)
        if optimizer.amsgrad:
            torch._foreach_maximum_(maxima[0], velocities)
            velocities = maxima[0]
        root = torch._foreach_sqrt(velocities)
        torch._foreach_add_(root, optimizer.epsilon)
        update = torch._foreach_mul(momenta, alphas)
        torch._foreach_div_(update, root)
        torch._foreach_add_(variables, update, alpha=-1)


def adagrad(step: Step) -> None:
    """Adagrad."""
    import torch

    for rates, variables, grads, accumulators in step.pieces(step.rates):
        torch._foreach_add_(accumulators, torch._foreach_mul(grads, grads))
        root = torch._foreach_add(accumulators, step.optimizer.epsilon)
        torch._foreach_sqrt_(root)
        update = torch._foreach_mul(grads, rates)
        torch._foreach_div_(update, root)
        torch._foreach_add_(variables, update, alpha=-1)


def adadelta(step: Step) -> None:
    """Adadelta."""
    import torch

    rho, epsilon = step.optimizer.rho, step.optimizer.epsilon

    def root_mean_square(values: list[Tensor]) -> Sequence[Tensor]:
        result = torch._foreach_add(values, epsilon)
        torch._foreach_sqrt_(result)
        return result

    for rates, variables, grads, squares, deltas in step.pieces(step.rates.cpu()):
        torch._foreach_mul_(squares, rho)
        torch._foreach_add_(squares, torch._foreach_mul(grads, grads), alpha=1 - rho)
        delta = root_mean_square(deltas)
        torch._foreach_mul_(delta, grads)
        torch._foreach_div_(delta, root_mean_square(squares))
        torch._foreach_mul_(delta, -1)
        torch._foreach_mul_(deltas, rho)
        torch._foreach_add_(deltas, torch._foreach_mul(delta, delta), alpha=1 - rho)
        _add_scaled(variables, delta, rates)


def adamax(step: Step) -> None:
    """Adamax."""
    import torch

    optimizer = step.optimizer
    correction = 1 - step.power(optimizer.beta_1)
    for rates, variables, grads, momenta, norms in step.pieces(step.rates):
        torch._foreach_mul_(momenta, optimizer.beta_1)
        torch._foreach_add_(momenta, grads, alpha=1 - optimizer.beta_1)
        torch._foreach_mul_(norms, optimizer.beta_2)
        torch._foreach_maximum_(norms, torch._foreach_abs(grads))
        bottom = torch._foreach_add(norms, optimizer.epsilon)
        torch._foreach_mul_(bottom, correction)
        update = torch._foreach_mul(momenta, rates)
        torch._foreach_div_(update, bottom)
        torch._foreach_add_(variables, update, alpha=-1)


def lion(step: Step) -> None:
    """Lion."""
    import torch

    optimizer = step.optimizer
    for rates, variables, grads, momenta in step.pieces(step.rates):
        update = torch._foreach_mul(momenta, optimizer.beta_1)
        torch._foreach_add_(update, grads, alpha=1 - optimizer.beta_1)
        torch._foreach_sign_(update)
        torch._foreach_mul_(update, rates)
        torch._foreach_add_(variables, update, alpha=-1)
        torch._foreach_mul_(momenta, optimizer.beta_2)
        torch._foreach_add_(momenta, grads, alpha=1 - optimizer.beta_2)


def nadam(step: Step) -> None:
    """Nadam. The optimizer has one product of momenta for all variables, which advances once a step."""
    import torch

    optimizer = step.optimizer
    beta_1, beta_2 = optimizer.beta_1, optimizer.beta_2
    now = step.number_of(beta_1) * (1.0 - 0.5 * step.power(0.96))
    following = step.number_of(beta_1) * (1.0 - 0.5 * step.power(0.96, ahead=1))
    product = keras_private.nadam_product(optimizer)
    product_now = product.value * now
    product_following = product_now * following
    if step.is_last:
        product.assign(product_now)
    bottom_1, bottom_2, correction = step.scalars(
        torch.stack([1 - product_following, 1 - product_now, 1 - step.power(beta_2)])
    )
    for rates, variables, grads, momenta, velocities in step.pieces(step.rates):
        torch._foreach_mul_(momenta, beta_1)
        torch._foreach_add_(momenta, grads, alpha=1 - beta_1)
        torch._foreach_mul_(velocities, beta_2)
        torch._foreach_add_(velocities, torch._foreach_mul(grads, grads), alpha=1 - beta_2)
        update = torch._foreach_mul(momenta, following)
        torch._foreach_div_(update, bottom_1)
        ahead = torch._foreach_mul(grads, 1 - now)
        torch._foreach_div_(ahead, bottom_2)
        torch._foreach_add_(update, ahead)
        root = torch._foreach_div(velocities, correction)
        torch._foreach_sqrt_(root)
        torch._foreach_add_(root, optimizer.epsilon)
        torch._foreach_mul_(update, rates)
        torch._foreach_div_(update, root)
        torch._foreach_add_(variables, update, alpha=-1)


def rmsprop(step: Step) -> None:
    """RMSprop, centered or not, with momentum or not."""
    import torch

    optimizer = step.optimizer
    rho, momentum, centered = optimizer.rho, optimizer.momentum, optimizer.centered
    for rates, variables, grads, velocities, *more in step.pieces(step.rates):
        torch._foreach_mul_(velocities, rho)
        torch._foreach_add_(velocities, torch._foreach_mul(grads, grads), alpha=1 - rho)
        bottom = torch._foreach_add(velocities, optimizer.epsilon)
        if centered:
            averages = more[0]
            torch._foreach_mul_(averages, rho)
            torch._foreach_add_(averages, grads, alpha=1 - rho)
            torch._foreach_add_(bottom, torch._foreach_mul(averages, averages), alpha=-1)
        torch._foreach_sqrt_(bottom)
        update = torch._foreach_mul(grads, rates)
        torch._foreach_div_(update, bottom)
        if momentum > 0:
            torch._foreach_mul_(more[-1], momentum)
            torch._foreach_add_(more[-1], update)
            update = more[-1]
        torch._foreach_add_(variables, update, alpha=-1)


def _add_steps(targets: list[Tensor], grads: list[Tensor], down: list[float]) -> None:
    """SGD's `target -= rate * gradient`, with Keras's rounding."""
    import torch

    if keras_private.SGD_SCALES_FIRST:
        torch._foreach_add_(targets, torch._foreach_mul(grads, down))
    else:
        _add_scaled(targets, grads, down)


def _add_scaled(targets: list[Tensor], values: Sequence[Tensor], factors: list[float]) -> None:
    """`target += factor * value`.

    A foreach call takes one `alpha`, so there is one call per run of equal factors. `alpha` must be a Python number, so
    a GPU has to be waited for, as in stock Keras.
    """
    import torch

    start = 0
    for position in range(1, len(targets) + 1):
        if position == len(targets) or factors[position] != factors[start]:
            torch._foreach_add_(targets[start:position], values[start:position], alpha=factors[start])
            start = position


PASSES: dict[str, Callable[[Step], None]] = {
    "SGD": sgd,
    "Adam": adam,
    "Adagrad": adagrad,
    "Adadelta": adadelta,
    "Adamax": adamax,
    "Lion": lion,
    "Nadam": nadam,
    "RMSprop": rmsprop,
}

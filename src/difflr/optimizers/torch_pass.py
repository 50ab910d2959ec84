"""torch: one pass over all variables, each with its own rate, whatever the number of groups.

Keras's vectorised optimizers take one rate for a list of variables. Called once per group they cost 2 to 8 times the
stock step with 150 groups (what they compute once per call dominates). Here what is common to all variables is
computed once, and the rates are lists of numbers in the same `torch._foreach_*` calls: the same operations on the same
numbers in the same order, so that the result is bit for bit that of the stock optimizer at that rate.

On a CPU the lists are cut into pieces that stay in the cache: the temporaries of a whole list cost more than the
arithmetic (150 variables of 512 x 512: stock Adam allocates 150 MB four times a step). On a GPU one call takes all.
"""

from collections.abc import Callable, Iterator
from typing import Any

import keras

from difflr import keras_private

# As many numbers as stay in a core's cache, four arrays of float32 at a time.
CPU_PIECE = 1 << 16


class Step:
    """What the passes need to know about one step.

    Args:
        optimizer: The optimizer; its hyperparameters are read from it.
        variables: Keras variables.
        grads: Their gradients, torch tensors.
        rates: Their effective rates, Python floats with float32 values.
    """

    def __init__(self, optimizer: Any, variables: list[Any], grads: list[Any], rates: list[float]):
        self.optimizer = optimizer
        self.keras_variables = variables
        self.variables = [variable.value for variable in variables]
        self.grads = grads
        self.dtype = self.variables[0].dtype
        self.exact_rates = rates
        self.rates = self._rounded(rates)
        self.number = keras.ops.cast(optimizer.iterations + 1, self.dtype)

    def _rounded(self, rates: list[float]) -> list[float]:
        """The rates in the variables' precision, to which Keras casts them (in all optimizers but SGD)."""
        import torch

        return rates if self.dtype == torch.float32 else torch.tensor(rates, dtype=self.dtype).tolist()

    def number_of(self, value: float) -> Any:
        """`value` as a tensor of the variables' precision."""
        import torch

        return torch.tensor(value, dtype=self.dtype, device=self.number.device)

    def power(self, base: float, ahead: int = 0) -> Any:
        """`base ** (step + ahead)`, in the variables' precision, as Keras computes it."""
        return self.number_of(base) ** (self.number + ahead)

    def pieces(self, *state: str) -> Iterator[tuple[Any, ...]]:
        """Yields `(rates, variables, gradients, *state)`, lists that fit into the cache together.

        Args:
            *state: Names of the optimizer's lists of variables.
        """
        columns = [self.rates, self.variables, self.grads]
        columns += [keras_private.torch_state(self.optimizer, name, self.keras_variables) for name in state]
        for start, stop in self._cuts():
            yield tuple(column[start:stop] for column in columns)

    def _cuts(self) -> Iterator[tuple[int, int]]:
        if self.variables[0].device.type != "cpu":
            yield 0, len(self.variables)
            return
        start = held = 0
        for position, variable in enumerate(self.variables):
            if held and held + variable.numel() > CPU_PIECE:
                yield start, position
                start, held = position, 0
            held += variable.numel()
        yield start, len(self.variables)


def sgd(step: Step) -> None:
    """`v = momentum * v - rate * g`."""
    import torch

    momentum, nesterov = step.optimizer.momentum, step.optimizer.nesterov
    step.rates = step.exact_rates
    if momentum == 0:
        for rates, variables, grads in step.pieces():
            _add_scaled(variables, grads, [-rate for rate in rates])
        return
    for rates, variables, grads, momenta in step.pieces("momentums"):
        down = [-rate for rate in rates]
        torch._foreach_mul_(momenta, momentum)
        _add_scaled(momenta, grads, down)
        if nesterov:
            _add_scaled(variables, grads, down)
            torch._foreach_add_(variables, momenta, alpha=momentum)
        else:
            torch._foreach_add_(variables, momenta)


def adam(step: Step) -> None:
    """Adam and AdamW; the decoupled decay comes before, as in Keras."""
    import torch

    optimizer = step.optimizer
    beta_1, beta_2 = optimizer.beta_1, optimizer.beta_2
    up, down = torch.sqrt(1 - step.power(beta_2)), 1 - step.power(beta_1)
    step.rates = _floats(torch.tensor(step.rates, dtype=step.dtype, device=up.device) * up / down)
    names = ["_momentums", "_velocities"] + (["_velocity_hats"] if optimizer.amsgrad else [])
    for alphas, variables, grads, momenta, velocities, *maxima in step.pieces(*names):
        torch._foreach_mul_(momenta, beta_1)
        torch._foreach_add_(momenta, grads, alpha=1 - beta_1)
        torch._foreach_mul_(velocities, beta_2)
        torch._foreach_add_(velocities, torch._foreach_mul(grads, grads), alpha=1 - beta_2)
        if maxima:
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

    for rates, variables, grads, accumulators in step.pieces("_accumulators"):
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

    def root_mean_square(values: Any) -> Any:
        result = torch._foreach_add(values, epsilon)
        torch._foreach_sqrt_(result)
        return result

    for rates, variables, grads, squares, deltas in step.pieces("_accumulated_grads", "_accumulated_delta_vars"):
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
    for rates, variables, grads, momenta, norms in step.pieces("_m", "_u"):
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
    for rates, variables, grads, momenta in step.pieces("_momentums"):
        update = torch._foreach_mul(momenta, optimizer.beta_1)
        torch._foreach_add_(update, grads, alpha=1 - optimizer.beta_1)
        torch._foreach_sign_(update)
        torch._foreach_mul_(update, rates)
        torch._foreach_add_(variables, update, alpha=-1)
        torch._foreach_mul_(momenta, optimizer.beta_2)
        torch._foreach_add_(momenta, grads, alpha=1 - optimizer.beta_2)


def nadam(step: Step) -> None:
    """Nadam; its product of momenta belongs to the whole optimizer and advances once a step."""
    import torch

    optimizer = step.optimizer
    beta_1, beta_2 = optimizer.beta_1, optimizer.beta_2
    now = step.number_of(beta_1) * (1.0 - 0.5 * step.power(0.96))
    following = step.number_of(beta_1) * (1.0 - 0.5 * step.power(0.96, ahead=1))
    product = keras_private.nadam_product(optimizer)
    product_now = product.value * now
    product_following = product_now * following
    product.assign(product_now)
    bottom_1, bottom_2, correction = _floats(
        torch.stack([1 - product_following, 1 - product_now, 1 - step.power(beta_2)])
    )
    for rates, variables, grads, momenta, velocities in step.pieces("_momentums", "_velocities"):
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
    names = ["_velocities"] + ["_average_gradients"] * bool(centered) + ["_momentums"] * (momentum > 0)
    for rates, variables, grads, velocities, *more in step.pieces(*names):
        torch._foreach_mul_(velocities, rho)
        torch._foreach_add_(velocities, torch._foreach_mul(grads, grads), alpha=1 - rho)
        bottom = torch._foreach_add(velocities, optimizer.epsilon)
        if centered:
            averages = more.pop(0)
            torch._foreach_mul_(averages, rho)
            torch._foreach_add_(averages, grads, alpha=1 - rho)
            torch._foreach_add_(bottom, torch._foreach_mul(averages, averages), alpha=-1)
        torch._foreach_sqrt_(bottom)
        update = torch._foreach_mul(grads, rates)
        torch._foreach_div_(update, bottom)
        if momentum > 0:
            torch._foreach_mul_(more[0], momentum)
            torch._foreach_add_(more[0], update)
            update = more[0]
        torch._foreach_add_(variables, update, alpha=-1)


def _add_scaled(targets: list[Any], values: list[Any], factors: list[float]) -> None:
    """`target += factor * value`; foreach takes one `alpha` only, so runs of equal factors go together."""
    import torch

    start = 0
    for position in range(1, len(targets) + 1):
        if position == len(targets) or factors[position] != factors[start]:
            torch._foreach_add_(targets[start:position], values[start:position], alpha=factors[start])
            start = position


def _floats(values: Any) -> list[float]:
    """The numbers of a tensor."""
    result: list[float] = values.tolist()
    return result


PASSES: dict[str, Callable[[Step], None]] = {
    "SGD": sgd,
    "Adam": adam,
    "AdamW": adam,
    "Adagrad": adagrad,
    "Adadelta": adadelta,
    "Adamax": adamax,
    "Lion": lion,
    "Nadam": nadam,
    "RMSprop": rmsprop,
}


def run_pass(name: str, optimizer: Any, variables: list[Any], grads: list[Any], rates: list[float]) -> None:
    """Updates `variables` in place.

    Args:
        name: Which of `PASSES`.
        optimizer: As for `Step`.
        variables: As for `Step`.
        grads: As for `Step`.
        rates: As for `Step`.
    """
    PASSES[name](Step(optimizer, variables, list(grads), rates))

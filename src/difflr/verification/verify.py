"""`verify`: compares one real training step with the plan."""

import itertools
import math
from collections.abc import Callable
from typing import Any, TypeAlias

import keras
import numpy as np

from difflr import keras_private
from difflr.callbacks.measured_step import check_one_optimizer
from difflr.checks import listed, wrong_type
from difflr.optimizers import DifferentialOptimizer
from difflr.optimizers.plan_of import plan_of
from difflr.optimizers.unwrap import parts
from difflr.plan import Plan, Row
from difflr.verification import judgment
from difflr.verification.judge import compared, has_gradient, in_groups, judge, noise_of
from difflr.verification.judgment import Verification, VerifiedRow, check_kept
from difflr.verification.observation import MAX_BATCHES, Observation, Values, values
from difflr.verification.reference import schedule_at
from difflr.verification.snapshot import Snapshot

Batch: TypeAlias = tuple[Any, ...]  # (x,), (x, y) or (x, y, sample_weight), each an array or a structure of arrays
Step: TypeAlias = Callable[[Batch], object]


def verify(
    model: keras.Model,
    data: object,
    *,
    plan: Plan | None = None,
    step: Step | None = None,
    reference: Step | None = None,
    tolerance: float = 0.01,
    batch_size: int = 32,
) -> Verification:
    """Runs one real training step, measures how far every variable moved, and restores everything.

    The stock Keras optimizer then makes the same step, from the same state and gradients, at the rate in the plan. Where
    the two differ, `difflr.PlanNotKept` is raised, with a table and the likely cause. Some variables are shown but not
    judged: those whose gradient is 0 in this batch, those whose update is below the precision of the weights, frozen ones
    that their own layer changes, and those of an optimizer with its own update rule.

    Args:
        model: A compiled model; with `step`, the model that your own training loop trains.
        data: A batch `(x, y)`, arrays (the first `batch_size` samples are used), or a dataset that can be iterated
            again.
        plan: The `difflr.Plan` to check. `None`: the plan of the model's optimizer.
        step: For your own training loop: a function of the batch that runs one training step.
        reference: Needed with `step`: the same step with the base rate for all variables.
        tolerance: Float, the largest relative error of a measured ratio. Defaults to 0.01.
        batch_size: Integer, how many samples to use from arrays. Defaults to 32.

    Returns:
        A `difflr.Verification`; print it to see the table.

    Raises:
        difflr.PlanNotKept: If the weights do not move as the plan says.
        ValueError: If there is no plan, the plan is for another model, the model is not compiled, trains with
            several optimizers or compiles several steps into one, or no step updates the weights.
        TypeError: If `plan` is not a plan, or `data` has no batch.

    Example:

    ```python
    import keras
    import numpy as np
    import difflr

    layers = [keras.layers.Dense(8, name="body"), keras.layers.Dense(2, name="head")]
    model = keras.Sequential([keras.Input((4,)), *layers])
    plan = difflr.Plan(model, {"body": 0.1})
    model.compile(difflr.optimizers.Adam(1e-3, multipliers=plan), loss="mse")
    print(difflr.verify(model, (np.random.default_rng(0).normal(size=(8, 4)), np.ones((8, 2)))))
    ```

    Reference: rates that were set and never applied, such as timm's `lr_scale` under other schedulers
    (pytorch-image-models #2532).
    """
    check_arguments(plan, tolerance)
    if (step is None) != (reference is None):
        raise ValueError(
            "Pass `step` and `reference` together: your step, and the same step with one rate for all variables."
        )
    batch = first_batch(data, batch_size)
    if step is not None and reference is not None:
        verification = _of_functions(promised_plan(model, plan), model, batch, step, reference, tolerance)
    else:
        check_compiled(model)
        verification = _of_compiled(promised_plan(model, plan), model, batch, tolerance)
    check_kept(verification)
    return verification


def first_batch(data: object, batch_size: int = 32) -> tuple[Any, ...]:
    """The first batch: `(x,)`, `(x, y)` or `(x, y, sample_weight)`, as NumPy arrays.

    Args:
        data: A tuple of arrays; a `keras.utils.PyDataset`, a `tf.data.Dataset`, a torch `DataLoader` or whatever else
            can be iterated again and yields such tuples.
        batch_size: How many samples to take from arrays.

    Raises:
        TypeError: If it is none of these, or an iterator, which would be consumed.
    """
    of_batches = isinstance(data, list) and len(data) and isinstance(data[0], (tuple, list))
    if isinstance(data, (tuple, list)) and 1 <= len(data) <= 3 and not of_batches:
        return tuple(
            part if part is None else keras.tree.map_structure(lambda a: np.asarray(a)[:batch_size], part)
            for part in data
        )
    if isinstance(data, keras.utils.PyDataset):
        batch = data[0]
    elif hasattr(data, "__iter__") and not hasattr(data, "__next__"):
        batch = next(iter(data), None)
    else:
        raise TypeError(
            "Expected a batch (x, y), arrays, or a dataset that can be iterated again. "
            f"Received: {type(data).__name__}"
            + (", an iterator, which would lose a batch: pass `next(data)`." if hasattr(data, "__next__") else ".")
        )
    if not isinstance(batch, (tuple, list)) or not 1 <= len(batch) <= 3:
        raise TypeError(f"Expected batches (x, y) or (x, y, sample_weight). Received: {type(batch).__name__}.")
    return tuple(part if part is None else keras.tree.map_structure(np.asarray, part) for part in batch)


def check_arguments(plan: Plan | None, tolerance: float) -> None:
    """Checks the arguments that `verify` and `VerifyPlan` share.

    Args:
        plan: A plan, or `None`.
        tolerance: A relative tolerance.

    Raises:
        TypeError: If `plan` is neither.
        ValueError: If `tolerance` is not between 0 and 1.
    """
    if plan is not None and not isinstance(plan, Plan):
        raise wrong_type("`plan`", "a difflr.Plan or None", plan)
    if not 0 < tolerance < 1:
        raise ValueError(f"`tolerance` is relative, above 0 and below 1. Received: {tolerance!r}.")


def promised_plan(model: keras.Model, plan: Plan | None) -> Plan:
    """The plan to verify: `plan`, or that of the model's optimizer.

    Args:
        model: The model.
        plan: A plan, or `None`.

    Raises:
        ValueError: If there is none, or it is for another model.
    """
    if plan is None:
        optimizer = getattr(model, "optimizer", None)
        if optimizer is None or not any(isinstance(part, DifferentialOptimizer) for part in parts(optimizer)):
            raise ValueError(
                f"There is no plan to verify: the optimizer, {type(optimizer).__name__}, has none. Pass `plan=...`."
            )
        return plan_of(model)
    there = set(map(id, model.variables))
    missing = [row.path for row in plan.rows if id(row.variable) not in there]
    if missing:
        raise ValueError(
            f"The plan is for another model: '{model.name}' does not have {listed(missing)}. Make a "
            "plan for this one: difflr.Plan(model, rules)."
        )
    return plan


def check_compiled(model: keras.Model) -> None:
    """Checks that there is a step to be measured, and builds the optimizer as `fit` does.

    Args:
        model: A model.

    Raises:
        ValueError: If the model is not compiled with an optimizer, trains with several or on several TensorFlow replicas, or
            was compiled for several steps in one.
    """
    if getattr(model, "optimizer", None) is None:
        raise ValueError(
            "The model has no optimizer to verify. Compile it first; for your own training loop, pass `step` and "
            "`reference`."
        )
    check_one_optimizer(model)
    if model.steps_per_execution != 1:
        raise ValueError(
            f"`verify` measures one step, but the model is compiled with steps_per_execution={model.steps_per_execution}. "
            "Compile it with 1 to verify it; the plan does not depend on that."
        )
    replicas = getattr(getattr(model, "distribute_strategy", None), "num_replicas_in_sync", 1)
    if replicas != 1:
        raise ValueError(
            f"The model trains on {replicas} replicas of TensorFlow, each of which has the gradient of its part of the "
            "batch only. Verify it on one device; the plan does not depend on it."
        )
    if not model.optimizer.built:
        with keras_private.strategy_scope(model):
            model.optimizer.build(model.trainable_variables)


# -- a compiled model -----------------------------------------------------------------------------------------------------


def _of_compiled(plan: Plan, model: keras.Model, batch: Batch, tolerance: float) -> Verification:
    with Snapshot(model):
        _leave_rate_0(model)
        observation = Observation(model)
        if not _updates(observation, model, batch, MAX_BATCHES):
            raise ValueError(
                f"In {MAX_BATCHES} steps the weights were not updated, so nothing can be measured. The learning rate is 0, "
                "or the gradients are never all finite."
            )
        silent = {id(v) for v in model.trainable_variables if not has_gradient(observation.gradients, id(v))}
        if silent:
            silent &= _silent_elsewhere(model, batch)
        return judge(plan, observation, tolerance, unused=silent)


def _updates(observation: Observation, model: keras.Model, batch: Batch, max_steps: int) -> bool:
    """Trains as `fit` does, which unlike `train_on_batch` passes on pairs as pairs, until the weights are updated."""
    found = []

    def look(number: int, logs: dict[str, float]) -> None:
        found.append(observation.take())
        model.stop_training = found[-1]

    watch = keras.callbacks.LambdaCallback(
        on_train_batch_begin=lambda number, logs: observation.arm(), on_train_batch_end=look
    )
    packed = keras.utils.pack_x_y_sample_weight(*batch)
    packed = packed if isinstance(packed, tuple) else (packed,)
    endless = (packed for _ in itertools.count())
    model.fit(endless, steps_per_epoch=max_steps, epochs=1, shuffle=False, verbose=0, callbacks=[watch])
    return any(found)


def _leave_rate_0(model: keras.Model) -> None:
    """Moves to a later step if a warm-up begins at a rate of 0, where nothing moves."""
    for part in parts(model.optimizer):
        rate = keras_private.live_learning_rate(part)
        if isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
            for later in (1, 10, 100, 1000, 10_000):
                if float(keras.ops.convert_to_numpy(part.learning_rate)) > 0:
                    break
                batches = part.gradient_accumulation_steps or 1
                keras_private.set_applications(part, later * batches)


def _silent_elsewhere(model: keras.Model, batch: Batch) -> set[int]:
    """Variables without a gradient at other weights too: at 0, as half of LoRA's are, a missing one means nothing."""
    numbers = np.random.default_rng(0)
    for variable in model.trainable_variables:
        value = keras.ops.convert_to_numpy(variable).astype("float32")
        variable.assign(value + numbers.normal(scale=0.1, size=value.shape).astype("float32"))
    observation = Observation(model)
    _updates(observation, model, batch, max_steps=1)
    return {id(v) for v in model.trainable_variables if not has_gradient(observation.gradients, id(v))}


# -- a training loop of the user's own ------------------------------------------------------------------------------------


def _of_functions(
    plan: Plan, model: keras.Model, batch: Batch, step: Step, reference: Step, tolerance: float
) -> Verification:
    before = values(model.variables)

    def moves(function: Step) -> Values:
        try:
            function(batch)
            after = values(model.variables)
        finally:
            for variable in model.variables:
                variable.assign(before[id(variable)])
        return {key: after[key].astype("float64") - before[key] for key in before}

    real, base = moves(step), moves(reference)
    rows = [_of_function(row, real[id(row.variable)], base[id(row.variable)], before, tolerance) for row in plan.rows]
    return in_groups(plan, rows, judgment.patterns(rows))


def _of_function(row: Row, real: np.ndarray, base: np.ndarray, before: Values, tolerance: float) -> VerifiedRow:
    if row.frozen:
        moved = bool(np.any(real))
        verdict = judgment.MOVES if moved else judgment.FROZEN
        return VerifiedRow(row.path, 0.0, math.nan if moved else 0.0, verdict)
    if not np.any(base):
        return VerifiedRow(row.path, row.multiplier, math.nan, judgment.NO_GRADIENT)
    if row.hyperparameters or row.min_learning_rate:
        return VerifiedRow(row.path, row.multiplier, math.nan, judgment.NOT_BY_RATE)
    rate = row.multiplier * schedule_at(row.schedule, 0)
    noise = noise_of(row.variable, before[id(row.variable)])
    return compared(row, rate, real, base * rate, base * rate, noise, tolerance)

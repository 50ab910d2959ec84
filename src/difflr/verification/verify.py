"""`plan.verify`: measures one real step against the plan."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from difflr import keras_private
from difflr.checks import listed
from difflr.optimizers.differential_optimizer import FOLLOWS
from difflr.optimizers.late_start import LateStart
from difflr.optimizers.unwrap import parts
from difflr.plan import Plan, Row
from difflr.plan.group_names import group_labels
from difflr.verification import judgement
from difflr.verification.first_batch import first_batch
from difflr.verification.judgement import PlanNotKept, Verification, VerifiedRow
from difflr.verification.observation import MAX_BATCHES, Observation, PartState, Values, values
from difflr.verification.reference import Reference, stock_class

Step = Callable[[tuple[Any, ...]], Any]


def verify(
    plan: Plan,
    model: keras.Layer,
    data: Any,
    step: Step | None = None,
    reference: Step | None = None,
    tolerance: float = 0.01,
    batch_size: int = 32,
) -> Verification:
    """See `Plan.verify`."""
    if not 0 < tolerance < 1:
        raise ValueError(f"`tolerance` is relative, above 0 and below 1. Received: {tolerance!r}.")
    if (step is None) != (reference is None):
        raise ValueError("`step` and `reference` come together: your step, and the same at one rate for all.")
    _check_belongs(plan, model)
    batch = first_batch(data, batch_size)
    if step is not None and reference is not None:
        verification = _of_functions(plan, model, batch, step, reference, tolerance)
    else:
        check_compiled(model)
        with Restored(model):
            verification = _of_compiled(plan, model, batch, tolerance)
    if not verification.kept:
        raise PlanNotKept(verification)
    return verification


def check_compiled(model: keras.Model) -> None:
    """Checks that there is a step to be measured, and builds the optimizer as `fit` does.

    Raises:
        ValueError: If the model is not compiled with an optimizer, or was compiled for several steps in one.
    """
    if getattr(model, "optimizer", None) is None:
        raise ValueError(
            "The model has no optimizer to be verified: compile it first; or, for a loop of your own, give `step` and "
            "`reference`."
        )
    if model.steps_per_execution != 1:
        raise ValueError(
            f"One step is measured, and the model is compiled with steps_per_execution={model.steps_per_execution}. "
            "Verify it compiled with 1; the plan does not depend on it."
        )
    if not model.optimizer.built:
        with keras_private.strategy_scope(model):
            model.optimizer.build(model.trainable_variables)


class Restored:
    """Puts everything back as it was: weights, statistics, seeds, the optimizer's state, metrics.

    Args:
        model: A compiled model, built, with its optimizer.
    """

    def __init__(self, model: keras.Model):
        self._model = model
        self._saved: list[tuple[Any, np.ndarray]] = []

    def __enter__(self) -> "Restored":
        model = self._model
        variables = [*model.variables, *model.optimizer.variables, *model.metrics_variables]
        self._saved = [(v, np.array(keras.ops.convert_to_numpy(v))) for v in variables]
        return self

    def __exit__(self, *error: object) -> None:
        self._model.reset_metrics()  # those that were made in the first step
        for variable, value in self._saved:
            variable.assign(value)
        if keras.backend.backend() == "torch":
            for variable in self._model.trainable_variables:
                keras_private.values([variable])[0].grad = None


def _of_compiled(plan: Plan, model: keras.Model, batch: tuple[Any, ...], tolerance: float) -> Verification:
    _leave_rate_0(model)
    observation = Observation(model)
    for _ in range(MAX_BATCHES):
        observation.arm()
        model.train_on_batch(*batch)
        if observation.take():
            break
    silent = {id(v) for v in model.trainable_variables if not _any(observation.gradients, id(v))}
    if silent:
        silent &= _silent_elsewhere(model, batch)
    return judge(plan, model, observation, tolerance, unused=silent)


def _leave_rate_0(model: keras.Model) -> None:
    """A warm-up may begin with a rate of 0, at which nothing moves: looks at a later step then."""
    for part in parts(model.optimizer):
        rate = keras_private.live_learning_rate(part)
        if isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
            for later in (1, 10, 100, 1000, 10_000):
                if float(keras.ops.convert_to_numpy(part.learning_rate)) > 0:
                    break
                each = part.gradient_accumulation_steps or 1
                keras_private.set_applications(part, later * each)


def _silent_elsewhere(model: keras.Model, batch: tuple[Any, ...]) -> set[int]:
    """Who has no gradient at other weights either: at 0, as one half of LoRA's is, it says nothing."""
    numbers = np.random.default_rng(0)
    for variable in model.trainable_variables:
        value = keras.ops.convert_to_numpy(variable).astype("float32")
        variable.assign(value + numbers.normal(scale=0.1, size=value.shape).astype("float32"))
    observation = Observation(model)
    observation.arm()
    model.train_on_batch(*batch)
    observation.take()
    return {id(v) for v in model.trainable_variables if not _any(observation.gradients, id(v))}


def _any(gradients: Sequence[Values], key: int) -> bool:
    return any(key in batch and np.any(batch[key]) for batch in gradients)


def judge(
    plan: Plan, model: keras.Model, observation: Observation, tolerance: float, unused: set[int] | None = None
) -> Verification:
    """What one real update says about the plan.

    Args:
        plan: The plan.
        model: Its model.
        observation: The update.
        tolerance: How far the measured ratio may be off, relatively.
        unused: Variables that have no gradient whatever the weights are; `None` where that is not known.
    """
    part_of = {id(v): part for part in observation.parts for v in part.variables}
    rows = [_in_force(row, observation.parts) for row in plan.rows]
    judged: dict[int, VerifiedRow] = {}
    for row in rows:
        moved = np.any(observation.before[id(row.variable)] != observation.after[id(row.variable)])
        if row.frozen:
            judged[id(row.variable)] = VerifiedRow(
                row.path, 0.0, math.nan if moved else 0.0, judgement.MOVES if moved else judgement.FROZEN
            )
        elif id(row.variable) not in part_of:
            judged[id(row.variable)] = VerifiedRow(row.path, row.multiplier, 0.0, judgement.BROKEN)
    for part in observation.parts:
        mine = [row for row in rows if id(row.variable) not in judged and part_of[id(row.variable)] is part]
        judged.update(_judge_part(part, mine, observation, tolerance, unused))
    faults = _statistics_faults(plan, observation) + _culprits(plan, rows, observation, list(judged.values()))
    return _with_groups(plan, [judged[id(row.variable)] for row in rows], faults)


def _judge_part(
    part: PartState, rows: Sequence[Row], observation: Observation, tolerance: float, unused: set[int] | None
) -> dict[int, VerifiedRow]:
    reference = Reference(part, observation)
    by_factors: dict[tuple[float, float], list[Row]] = {}
    for row in rows:
        by_factors.setdefault(_factors(row, part), []).append(row)
    judged = {}
    for (rate, decay), members in by_factors.items():
        variables = [row.variable for row in members]
        # The slope tells the rate also where the update is not proportional to it: momentum from before, Ftrl.
        once = reference.moves(variables, rate, decay) if rate else {}
        twice = reference.moves(variables, 2 * rate, 2 * decay) if rate else {}
        for row in members:
            key = id(row.variable)
            if rate == 0:
                judged[key] = VerifiedRow(row.path, 0.0, math.nan, judgement.RESTS)
            elif not _any(observation.gradients, key):
                never = unused is not None and key in unused
                verdict = judgement.UNUSED if never else judgement.NO_GRADIENT
                judged[key] = VerifiedRow(row.path, rate, math.nan, verdict)
            else:
                real = observation.after[key].astype("float64") - observation.before[key]
                noise = _noise(row.variable, observation.before[key])
                judged[key] = _compared(row.path, rate, real, once[key], twice[key] - once[key], noise, tolerance)
    return judged


def _compared(
    path: str, rate: float, real: np.ndarray, once: np.ndarray, slope: np.ndarray, noise: float, tolerance: float
) -> VerifiedRow:
    """The ratio at which a variable moved, from the move it should have made and how that grows with the rate."""
    length = float(np.sum(slope * slope))
    if length == 0 or noise > 0.1 * math.sqrt(length):
        lost = float(np.linalg.norm(real - once)) <= 4 * noise
        return VerifiedRow(path, rate, math.nan, judgement.TOO_SMALL if lost else judgement.BROKEN)
    measured = rate * (1 + float(np.sum((real - once) * slope)) / length)
    allowed = rate * (tolerance + 4 * noise / math.sqrt(length))
    verdict = judgement.KEPT if abs(measured - rate) <= allowed else judgement.BROKEN
    return VerifiedRow(path, rate, measured, verdict, length / rate**2)


def _noise(variable: Any, value: np.ndarray) -> float:
    """How much of a move is lost where the weights are rounded: half a unit in the last place of each."""
    precision = {"float64": 2.0**-53, "float16": 2.0**-11, "bfloat16": 2.0**-8}.get(
        keras.backend.standardize_dtype(variable.dtype), 2.0**-24
    )
    return precision * float(np.linalg.norm(value.astype("float64")))


def _in_force(row: Row, states: Sequence[PartState]) -> Row:
    """The row as a phase of freezing and unfreezing has it now."""
    for part in states:
        if part.in_phase and part.plan is not None and row.variable in part.plan and not row.frozen:
            now = part.plan.row(row.variable)
            schedule = now.schedule if isinstance(now.schedule, LateStart) else row.schedule
            multiplier = 0.0 if now.frozen else row.multiplier
            return dataclasses.replace(row, multiplier=multiplier, schedule=schedule, frozen=now.frozen)
    return row


def _factors(row: Row, part: PartState) -> tuple[float, float]:
    """What the plan says that the base rate is multiplied by in this step, for the update and for the weight decay."""
    each = part.optimizer.gradient_accumulation_steps or 1
    batch = part.step * each + each - 1  # that of the update: schedules count batches
    rate = row.multiplier * _at(row.schedule, batch)
    slow = row.schedule.for_weight_decay if isinstance(row.schedule, LateStart) else row.schedule
    follows = getattr(part.optimizer, "weight_decay_follows", FOLLOWS[0]) == FOLLOWS[0]
    decay = row.weight_decay_multiplier * (row.multiplier * _at(slow, batch) if follows else 1.0)
    return rate, decay


def _at(schedule: Any, step: int) -> float:
    if schedule is None:
        return 1.0
    return float(keras.ops.convert_to_numpy(schedule(keras.ops.convert_to_tensor(step, dtype="int32"))))


# -- who is to blame ------------------------------------------------------------------------------------------------------


def _culprits(plan: Plan, rows: Sequence[Row], observation: Observation, judged: Sequence[VerifiedRow]) -> list[str]:
    bad = [row for row in judged if row.verdict in judgement.BAD]
    if not bad:
        return []
    faults = []
    trained = {id(v) for part in observation.parts for v in part.variables}
    forgotten = [row.path for row in rows if not row.frozen and id(row.variable) not in trained]
    if forgotten:
        faults.append(
            f"The optimizer was built with other variables: it does not train {listed(forgotten)}. Compile the "
            "model with a new optimizer after whatever changed its variables, or what is trainable."
        )
    moving = [row.path for row in judged if row.verdict == judgement.MOVES]
    if moving:
        faults.append(
            f"The plan freezes {listed(moving)}, and they move: they were made trainable again, or the optimizer "
            "has another plan or none."
        )
    unused = [row.path for row in judged if row.verdict == judgement.UNUSED]
    if unused:
        faults.append(f"No gradient reaches {listed(unused)}, whatever the weights are: they have no part in the loss.")
    if any(row.verdict == judgement.BROKEN for row in judged):
        for part in observation.parts:
            faults += _about_optimizer(part, rows)
        others = [row for row in judged if row.path not in forgotten]
        faults += judgement.patterns(others)
    return faults


def _about_optimizer(part: PartState, rows: Sequence[Row]) -> list[str]:
    optimizer = part.optimizer
    name = f"{type(optimizer).__module__.split('.')[0]}'s {type(optimizer).__name__}"
    if part.plan is None:
        ours = stock_class(type(optimizer)).__name__
        return [
            f"The optimizer is {name}, which is none of difflr's and was given no plan. Use "
            f"difflr.optimizers.{ours}(..., multipliers=plan), or difflr.optimizers.differential of its class."
        ]
    now = part.plan
    other = [
        f"{row.path} {now.row(row.variable).multiplier:g} instead of {row.multiplier:g}"
        for row in rows
        if row.variable in now and not math.isclose(now.row(row.variable).multiplier, row.multiplier, rel_tol=1e-6)
    ]
    if other:
        return [
            f"The optimizer has other multipliers than this plan: {listed(other)}. It was given another plan, or "
            "`optimizer.multipliers` was set since, by you or by a callback."
        ]
    return []


def _statistics_faults(plan: Plan, observation: Observation) -> list[str]:
    keep = plan.frozen_statistics == "keep"
    wrong = []
    for layer in plan.kept_statistics():
        moving = [layer.moving_mean, layer.moving_variance]
        if any(id(v) not in observation.after for v in moving):
            continue
        moved = any(np.any(observation.before[id(v)] != observation.after[id(v)]) for v in moving)
        if moved == keep:
            wrong.append(layer.name)
    if not wrong:
        return []
    said, done = (
        ("keeps", "moved: the layers are trainable") if keep else ("updates", "did not move: the layers are frozen")
    )
    return [
        f"The plan {said} the moving statistics of frozen BatchNormalization layers, and those of {listed(wrong)} "
        f"{done}. `layer.trainable` was set after the plan was given to the optimizer."
    ]


# -- loops of one's own ---------------------------------------------------------------------------------------------------


def _of_functions(
    plan: Plan, model: keras.Layer, batch: tuple[Any, ...], step: Step, reference: Step, tolerance: float
) -> Verification:
    saved = [(v, np.array(keras.ops.convert_to_numpy(v))) for v in model.variables]
    before = {id(v): value for v, value in saved}

    def moves(function: Step) -> Values:
        try:
            function(batch)
            after = values(model.variables)
        finally:
            for variable, value in saved:
                variable.assign(value)
        return {key: after[key].astype("float64") - before[key] for key in before}

    real, base = moves(step), moves(reference)
    rows = []
    for row in plan.rows:
        key = id(row.variable)
        if row.frozen:
            verdict = judgement.MOVES if np.any(real[key]) else judgement.FROZEN
            rows.append(VerifiedRow(row.path, 0.0, math.nan if np.any(real[key]) else 0.0, verdict))
        elif not np.any(base[key]):
            rows.append(VerifiedRow(row.path, row.multiplier, math.nan, judgement.NO_GRADIENT))
        else:
            noise = _noise(row.variable, before[key])
            rate = row.multiplier * _at(row.schedule, 0)
            rows.append(_compared(row.path, rate, real[key], base[key] * rate, base[key] * rate, noise, tolerance))
    return _with_groups(plan, rows, judgement.patterns(rows))


def _with_groups(plan: Plan, rows: Sequence[VerifiedRow], faults: Sequence[str]) -> Verification:
    members: dict[Any, list[int]] = {}
    for number, row in enumerate(plan.rows):
        members.setdefault(row.setting, []).append(number)
    paths = [row.path for row in plan.rows]
    labels = group_labels([[paths[number] for number in group] for group in members.values()], paths)
    return Verification(rows, list(zip(labels, members.values(), strict=True)), faults)


def _check_belongs(plan: Plan, model: keras.Layer) -> None:
    there = set(map(id, model.variables))
    missing = [row.path for row in plan.rows if id(row.variable) not in there]
    if missing:
        raise ValueError(
            f"The plan is for another model than '{model.name}', which does not have {listed(missing)}. Make the "
            "plan for this one: difflr.Plan(model, rules)."
        )

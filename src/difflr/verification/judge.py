"""Compares one real update with a plan: the ratio at which every variable moved."""

import dataclasses
import math
from collections.abc import Sequence

import keras
import numpy as np

from difflr import keras_private
from difflr.optimizers.differential_optimizer import FOLLOWS
from difflr.optimizers.state_by_place import LateStart
from difflr.plan import Plan, Row
from difflr.plan.group_names import names_of
from difflr.plan.hyperparameters import as_key
from difflr.plan.rows import grouped
from difflr.plan.rule import AXES
from difflr.verification import judgment
from difflr.verification.blame import culprits, statistics_faults
from difflr.verification.judgment import Verification, VerifiedRow
from difflr.verification.observation import Observation, PartState, Values, is_finite
from difflr.verification.reference import Reference, batch_of, has_own_rule, hyperparameters_at, schedule_at


def judge(plan: Plan, observation: Observation, tolerance: float, unused: set[int] | None = None) -> Verification:
    """Compares one real update with the plan.

    Args:
        plan: The plan.
        observation: The update.
        tolerance: The largest relative error of a measured ratio.
        unused: Variables without a gradient at any weights; `None` if unknown.
    """
    part_of = {id(v): part for part in observation.parts for v in part.variables}
    rows = [_in_current_phase(row, observation.parts) for row in plan.rows]
    judged: dict[int, VerifiedRow] = {}
    for row in rows:
        if row.frozen:
            judged[id(row.variable)] = _frozen(row, observation)
        elif id(row.variable) not in part_of:
            judged[id(row.variable)] = VerifiedRow(row.path, row.multiplier, 0.0, judgment.BROKEN)
    for part in observation.parts:
        members = [row for row in rows if id(row.variable) not in judged and part_of[id(row.variable)] is part]
        judged.update(_judge_part(part, members, observation, tolerance, unused))
    verified = [judged[id(row.variable)] for row in rows]
    return in_groups(plan, verified, statistics_faults(plan, observation) + culprits(rows, observation.parts, verified))


def in_groups(plan: Plan, rows: Sequence[VerifiedRow], faults: Sequence[str]) -> Verification:
    """The verification, with the groups of the plan.

    Args:
        plan: The plan.
        rows: One for each row of the plan.
        faults: Other faults, in sentences.
    """
    members = grouped(range(len(plan.rows)), lambda number: plan.rows[number].setting)
    labels = names_of([[plan.rows[number] for number in group] for group in members.values()], plan.rows)
    return Verification(rows, list(zip(labels, members.values(), strict=True)), faults)


def has_gradient(gradients: Sequence[Values], key: int) -> bool:
    """Whether a variable has a gradient that is not 0.

    Args:
        gradients: The gradients of one or more steps.
        key: The identity of the variable.
    """
    return any(key in step and np.any(step[key]) for step in gradients)


def compared(
    row: Row, rate: float, real: np.ndarray, once: np.ndarray, slope: np.ndarray, noise: float, tolerance: float
) -> VerifiedRow:
    """The ratio at which a variable moved, from its expected move and how that grows with the rate.

    Args:
        row: The row of the plan.
        rate: Float, its rate over the base rate, by the plan.
        real: Array, its move.
        once: Array, its expected move.
        slope: Array, how much further it would move at twice the rate.
        noise: Float, the norm of the rounding error of the weights.
        tolerance: Float, the largest relative error of the ratio.
    """
    if not (is_finite(real) and is_finite(once)):
        return VerifiedRow(row.path, rate, math.nan, judgment.NOT_FINITE)
    length = float(np.linalg.norm(slope))
    if length == 0 or noise > 0.1 * length:
        lost = float(np.linalg.norm(real - once)) <= 4 * noise
        return VerifiedRow(row.path, rate, math.nan, judgment.TOO_SMALL if lost else judgment.BROKEN)
    measured = rate * (1 + float(np.sum((real - once) * slope)) / length**2)
    allowed = rate * (tolerance + 4 * noise / length)
    verdict = judgment.KEPT if abs(measured - rate) <= allowed else judgment.BROKEN
    return VerifiedRow(row.path, rate, measured, verdict, (length / rate) ** 2)


def noise_of(variable: keras.Variable, value: np.ndarray) -> float:
    """The rounding error of the weights: half a unit in the last place of each.

    Args:
        variable: The variable.
        value: Its value.
    """
    precision = {"float64": 2.0**-53, "float16": 2.0**-11, "bfloat16": 2.0**-8}.get(
        keras.backend.standardize_dtype(variable.dtype), 2.0**-24
    )
    return precision * float(np.linalg.norm(value.astype("float64")))


def _frozen(row: Row, observation: Observation) -> VerifiedRow:
    key = id(row.variable)
    if key in observation.found and np.any(observation.found[key] != observation.left[key]):
        return VerifiedRow(row.path, 0.0, math.nan, judgment.MOVES)
    if not np.array_equal(observation.before[key], observation.after[key], equal_nan=True):
        return VerifiedRow(row.path, 0.0, math.nan, judgment.OVERWRITTEN)
    return VerifiedRow(row.path, 0.0, 0.0, judgment.FROZEN)


def _judge_part(
    part: PartState, rows: Sequence[Row], observation: Observation, tolerance: float, unused: set[int] | None
) -> dict[int, VerifiedRow]:
    reference = Reference(part, observation, rows)
    by_factors = grouped(rows, lambda row: (*_factors(row, part), as_key(row.hyperparameters), row.schedule_start))
    judged, along = {}, []
    for members in by_factors.values():
        rate, decay = _factors(members[0], part)
        variables, own = [row.variable for row in members], hyperparameters_at(members[0], part)
        # The slope gives the rate even if the update is not proportional to it: earlier momentum, Ftrl.
        once = reference.moves(variables, rate, decay, own) if rate else {}
        twice = reference.moves(variables, 2 * rate, 2 * decay, own) if rate else {}
        for row in members:
            key = id(row.variable)
            if rate == 0:
                judged[key] = VerifiedRow(row.path, 0.0, math.nan, judgment.RESTS)
            elif not has_gradient(observation.gradients, key):
                never = unused is not None and key in unused
                verdict = judgment.UNUSED if never else judgment.NO_GRADIENT
                judged[key] = VerifiedRow(row.path, rate, math.nan, verdict)
            elif not all(is_finite(step[key]) for step in observation.gradients if key in step):
                judged[key] = VerifiedRow(row.path, rate, math.nan, judgment.NOT_FINITE)
            else:
                found = observation.found[key]
                real, noise = observation.left[key].astype("float64") - found, noise_of(row.variable, found)
                slope = twice[key] - once[key]
                judged[key] = compared(row, rate, real, once[key], slope, noise, tolerance)
                if real.size > 1:
                    along.append(_is_along(real, once[key], slope, noise))
    if has_own_rule(type(part.optimizer)) and not _is_comparable(along, list(judged.values())):
        return {key: _not_judged(row) for key, row in judged.items()}
    return judged


def _is_comparable(along: Sequence[bool], rows: Sequence[VerifiedRow]) -> bool:
    """Whether an optimizer's moves differ from the reference only in ways that a plan can cause.

    Args:
        along: For each variable whether it moved in the expected direction. Most must have: with gradients as small as
            Adam's epsilon, scaling them changes the direction, too.
        rows: The measurements. One common factor comes from the update rule; a plan is about ratios.
    """
    factors = [row.measured / row.expected for row in rows if row.verdict in (judgment.KEPT, judgment.BROKEN)]
    is_one_factor = bool(factors) and bool(np.allclose(factors, factors[0], rtol=0.02))
    kept = all(row.verdict != judgment.BROKEN for row in rows)
    return sum(along) >= len(along) / 2 and (kept or not is_one_factor)


def _is_along(real: np.ndarray, once: np.ndarray, slope: np.ndarray, noise: float) -> bool:
    """Whether a variable moved in the expected direction, however far."""
    length = float(np.sum(slope * slope))
    across = real - once - slope * (float(np.sum((real - once) * slope)) / length if length else 0.0)
    return not is_finite(across) or float(np.linalg.norm(across)) <= 0.1 * float(np.linalg.norm(real)) + 4 * noise


def _not_judged(row: VerifiedRow) -> VerifiedRow:
    is_number = row.verdict in (judgment.KEPT, judgment.BROKEN)
    return dataclasses.replace(row, verdict=judgment.OWN_RULE) if is_number else row


def _in_current_phase(row: Row, parts: Sequence[PartState]) -> Row:
    """The row with the settings of the current phase."""
    for part in parts:
        if part.plan is None or row.variable not in part.plan or row.frozen:
            continue
        now, whole = part.plan.row(row.variable), part.plan.whole.row(row.variable)
        axes = (*AXES, "schedule_start", "hyperparameters")
        by_phase = {axis: getattr(now, axis) for axis in axes if getattr(now, axis) != getattr(whole, axis)}
        return dataclasses.replace(row, **by_phase)
    return row


def _factors(row: Row, part: PartState) -> tuple[float, float]:
    """The plan's factors on the base rate in this step, for the update and for weight decay."""
    planned = row.multiplier * schedule_at(row.schedule, batch_of(row, part))
    planned = max(planned, row.min_learning_rate / part.base_rate)
    start = part.starts.get(id(row.variable), LateStart())
    updates = keras.ops.convert_to_tensor(part.step, "float32")
    betas = keras_private.bias_correction(part.optimizer, hyperparameters_at(row, part))
    rate, for_decay = (
        planned * float(keras.ops.convert_to_numpy(start.factor(updates, betas, for_decay=is_for_decay)))
        for is_for_decay in (False, True)
    )
    follows = getattr(part.optimizer, "weight_decay_follows", FOLLOWS[0]) == FOLLOWS[0]
    return rate, row.weight_decay_multiplier * (for_decay if follows else 1.0)

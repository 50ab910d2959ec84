"""Likely causes when a plan is not kept."""

import math
from collections.abc import Sequence

import numpy as np

from difflr.checks import listed
from difflr.plan import Plan, Row
from difflr.verification import judgment
from difflr.verification.judgment import VerifiedRow
from difflr.verification.observation import Observation, PartState
from difflr.verification.reference import stock_class


def culprits(rows: Sequence[Row], parts: Sequence[PartState], judged: Sequence[VerifiedRow]) -> list[str]:
    """The likely causes, one sentence each.

    Args:
        rows: The rows of the plan.
        parts: The observed optimizers.
        judged: The results, one for each row.
    """
    by_verdict: dict[str, list[str]] = {}
    for row in judged:
        by_verdict.setdefault(row.verdict, []).append(row.path)
    faults = []
    trained = {id(v) for part in parts for v in part.variables}
    forgotten = [row.path for row in rows if not row.frozen and id(row.variable) not in trained]
    if forgotten:
        faults.append(
            f"The optimizer was built with other variables: it does not train {listed(forgotten)}. Compile the "
            "model with a new optimizer after changing its variables or what is trainable."
        )
    if moving := by_verdict.get(judgment.MOVES):
        faults.append(
            f"The plan freezes {listed(moving)}, and they move: they were made trainable again, or the optimizer "
            "has another plan or none."
        )
    if unused := by_verdict.get(judgment.UNUSED):
        faults.append(f"No gradient reaches {listed(unused)}, at any weights: the loss does not depend on them.")
    if not_finite := by_verdict.get(judgment.NOT_FINITE):
        faults.append(
            f"The gradients or the weights are not all finite: {listed(not_finite)}. No rate can be measured; check "
            "the data and the loss."
        )
    if judgment.BROKEN in by_verdict:
        for part in parts:
            faults += _about_optimizer(part, rows)
        faults += judgment.patterns([row for row in judged if row.path not in forgotten])
    return faults


def _about_optimizer(part: PartState, rows: Sequence[Row]) -> list[str]:
    optimizer = part.optimizer
    name = f"{type(optimizer).__module__.split('.')[0]}'s {type(optimizer).__name__}"
    if part.plan is None:
        ours = stock_class(type(optimizer)).__name__
        return [
            f"The optimizer is {name}, which has no plan. Use "
            f"difflr.optimizers.{ours}(..., multipliers=plan), or difflr.optimizers.differential of its class."
        ]
    now = part.plan
    other = [
        f"{row.path} {now.row(row.variable).multiplier:g} instead of {row.multiplier:g}"
        for row in rows
        if row.variable in now and not math.isclose(now.row(row.variable).multiplier, row.multiplier, rel_tol=1e-6)
    ]
    if not other:
        return []
    return [
        f"The optimizer has other multipliers than this plan: {listed(other)}. It was made with another plan, or "
        "`optimizer.multipliers` was set since, by you or by a callback."
    ]


def statistics_faults(plan: Plan, observation: Observation) -> list[str]:
    """Faults of the moving statistics of frozen BatchNormalization layers.

    Args:
        plan: The plan.
        observation: The update.
    """
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
    promised, found = (
        ("keeps", "moved: the layers are trainable") if keep else ("updates", "did not move: the layers are frozen")
    )
    return [
        f"The plan {promised} the moving statistics of frozen BatchNormalization layers, and those of {listed(wrong)} "
        f"{found}. `layer.trainable` was set after the optimizer was made."
    ]

"""`Candidate`: one way to fine-tune, and the list of candidates for a model."""

import dataclasses
import warnings
from collections.abc import Callable
from typing import Literal

import keras

from difflr.depth.named_head import HEAD, Target
from difflr.fine_tuning.fine_tune import default_plan
from difflr.fine_tuning.fine_tune_settings import FineTuneSettings, pretrained_statistics
from difflr.plan import Plan, Row
from difflr.recipes import head_and_backbone, layerwise_decay, lora_plus, no_decay

STEP = 3.0  # the factor between neighboring rates
HEAD_ALONE = "head alone"


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One way to fine-tune.

    Args:
        profile: The name of the rate profile over the layers. Candidates with the same profile share a compiled step.
        learning_rate: The base rate.
        plan: The plan.
        head_first: Whether the head trains alone first.
    """

    profile: str
    learning_rate: float
    plan: Plan
    head_first: bool = True

    @property
    def name(self) -> str:
        """The profile and the rate, as text."""
        return f"{self.profile}, rate {self.learning_rate:.2g}"


def candidates_for(
    model: keras.Model,
    settings: FineTuneSettings,
    *,
    plan: Plan | None = None,
    rules: Plan | None = None,
    learning_rate: float | None = None,
    head: Target = HEAD,
    without_decay: bool = True,
    number: int = 1,
) -> list[Candidate]:
    """The candidates: the defaults of `fine_tune` first, then those that were better most often on other tasks.

    Args:
        model: A built model.
        settings: The settings of `fine_tune`.
        plan: The user's plan, if there is one. Then candidates differ only in the rate.
        rules: The user's rules as a plan. They apply to every candidate.
        learning_rate: The user's rate, if there is one. Then candidates differ only in the profile.
        head: The target of the head.
        without_decay: Whether biases and norms have no weight decay, as with `fine_tune`'s own optimizer.
        number: Integer, the maximum number of candidates.
    """
    rate = settings.learning_rate if learning_rate is None else learning_rate
    rates = [1.0] if learning_rate is not None else [1.0, 1 / STEP, STEP]
    if plan is not None:
        head_first = bool(settings.freeze_epochs)
        return [Candidate("the given plan", rate * factor, plan, head_first) for factor in rates][:number]
    ratio, norms = settings.rate_ratio or 1.0, settings.normalization or "trained"

    def graded(ratio: float, norms: Literal["frozen", "trained"]) -> Callable[[], Plan]:
        return lambda: default_plan(model, ratio, head, norms)

    default = f"rates 1 : {ratio:.3g}"
    makers: list[tuple[str, float, Callable[[], Plan]]] = [
        (default, 1.0, graded(ratio, norms)),
        (default, STEP, graded(ratio, norms)),
        (HEAD_ALONE, STEP, lambda: head_and_backbone(model, 0, head=head)),
        (default, 1 / STEP, graded(ratio, norms)),
        ("one rate", 1 / STEP, graded(1.0, norms)),
        ("rates 1 : 100", STEP, graded(100.0, norms)),
        ("one rate", 1.0, graded(1.0, norms)),
        ("layer-wise decay 0.75", 1.0, lambda: layerwise_decay(model, 0.75, head=head)),
        (HEAD_ALONE, 1.0, lambda: head_and_backbone(model, 0, head=head)),
    ]
    if pretrained_statistics(model, head):
        other: Literal["frozen", "trained"] = "trained" if norms == "frozen" else "frozen"
        makers.insert(4, (f"{default}, normalization {other}", 1.0, graded(ratio, other)))
    if has_lora(model):
        faster = [(f"LoRA+ 1 : {by:g}", 1.0, lambda by=by: lora_plus(model, by)) for by in (4.0, 16.0)]
        makers[1:1] = faster  # type: ignore[arg-type]
    made: dict[str, Plan | None] = {}
    found: list[Candidate] = []
    for profile, factor, make in makers:
        if len(found) == number or (learning_rate is not None and profile in made):
            continue
        if profile not in made:
            made[profile] = _made(make, rules, model if without_decay else None)
        own, head_first = made[profile], bool(settings.freeze_epochs) and profile != HEAD_ALONE
        if own is not None:
            found.append(Candidate(profile, rate if learning_rate is not None else rate * factor, own, head_first))
    return found


def _made(make: Callable[[], Plan], rules: Plan | None, without_decay: keras.Model | None) -> Plan | None:
    """The plan of a profile; `None` if the model has no such profile, or the rules freeze everything."""
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # such as "layer-wise decay has no effect": then it is no better than the default
        try:
            plan = make()
        except ValueError:
            return None
    plan = _with_rules(plan if without_decay is None else plan * no_decay(without_decay), rules)
    return plan if any(not row.frozen for row in plan.rows) else None


def has_lora(model: keras.Model) -> bool:
    """Whether the model has trainable LoRA weights.

    Args:
        model: A built model.
    """
    return any(row.path.rpartition("/")[2].startswith("lora_") and not row.frozen for row in Plan(model).rows)


def _with_rules(plan: Plan, rules: Plan | None) -> Plan:
    """The plan, with the user's rules applied on top."""
    if rules is None:
        return plan

    def ruled(row: Row) -> Row:
        own = rules.row(row.variable)
        if own.frozen or "multiplier" in own.decided:
            return own
        return dataclasses.replace(
            row,
            schedule=own.schedule,
            weight_decay_multiplier=row.weight_decay_multiplier * own.weight_decay_multiplier,
        )

    return plan.changed(ruled)

"""`Candidate`: one way to fine-tune, and the candidates for a model."""

import dataclasses
import warnings
from collections.abc import Callable, Iterator
from typing import Literal

import keras

from difflr.choosing.fine_tune_settings import FineTuneSettings, pretrained_statistics
from difflr.choosing.stages import default_plan
from difflr.depth.named_head import HEAD, Target
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
) -> Iterator[Candidate]:
    """The candidates: the defaults of `fine_tune` first, then those that were better most often on other tasks.

    Args:
        model: A built model.
        settings: The settings of `fine_tune`.
        plan: The user's plan, if there is one. Then candidates differ only in the rate.
        rules: The user's rules as a plan. They apply to every candidate.
        learning_rate: The user's rate, if there is one. Then candidates differ only in the profile.
        head: The target of the head.
        without_decay: Whether biases and norms have no weight decay, as with `fine_tune`'s own optimizer.
    """
    head_first = bool(settings.freeze_epochs)
    made: dict[str, Plan | None] = {}
    for profile, factor, make in _profiles(model, settings, head) if plan is None else _rates_of(plan):
        if profile not in made:
            made[profile] = plan or _made(make, rules, model if without_decay else None)
        elif learning_rate is not None:
            continue  # it would differ in the rate only
        own, rate = made[profile], learning_rate or settings.learning_rate * factor
        if own is not None:
            yield Candidate(profile, rate, own, head_first and profile != HEAD_ALONE)


Profile = tuple[str, float, Callable[[], Plan]]  # its name, the factor on the default rate, and its plan


def _rates_of(plan: Plan) -> list[Profile]:
    return [("the given plan", factor, lambda: plan) for factor in (1.0, 1 / STEP, STEP)]


def _profiles(model: keras.Model, settings: FineTuneSettings, head: Target) -> list[Profile]:
    ratio, norms = settings.rate_ratio or 1.0, settings.normalization or "trained"

    def graded(ratio: float, norms: Literal["frozen", "trained"] = norms) -> Callable[[], Plan]:
        return lambda: default_plan(model, ratio, head, norms)

    def head_alone() -> Plan:
        return head_and_backbone(model, 0, head=head)

    default = f"rates 1 : {ratio:.3g}"
    found: list[Profile] = [
        (default, 1.0, graded(ratio)),
        (default, STEP, graded(ratio)),
        (HEAD_ALONE, STEP, head_alone),
        (default, 1 / STEP, graded(ratio)),
        ("one rate", 1 / STEP, graded(1.0)),
        ("rates 1 : 100", STEP, graded(100.0)),
        ("one rate", 1.0, graded(1.0)),
        ("layer-wise decay 0.75", 1.0, lambda: layerwise_decay(model, 0.75, head=head)),
        (HEAD_ALONE, 1.0, head_alone),
    ]
    if pretrained_statistics(model, head):
        other: Literal["frozen", "trained"] = "trained" if norms == "frozen" else "frozen"
        found.insert(4, (f"{default}, normalization {other}", 1.0, graded(ratio, other)))
    if any(row.path.rpartition("/")[2].startswith("lora_") and not row.frozen for row in Plan(model).rows):
        found.insert(1, ("LoRA+ 1 : 4", 1.0, lambda: lora_plus(model, 4.0)))
        found.insert(2, ("LoRA+ 1 : 16", 1.0, lambda: lora_plus(model, 16.0)))
    return found


def _made(make: Callable[[], Plan], rules: Plan | None, without_decay: keras.Model | None) -> Plan | None:
    """The plan of a profile; `None` if the model has no such profile, or the rules freeze everything."""
    with warnings.catch_warnings():
        # Such as "layer-wise decay has no effect": then it is no better than the default.
        warnings.simplefilter("ignore")
        try:
            plan = make()
        except ValueError:
            return None
    plan = plan if without_decay is None else plan * no_decay(without_decay)
    plan = plan if rules is None else plan.changed(lambda row: _with_rule(row, rules.row(row.variable)))
    return plan if any(not row.frozen for row in plan.rows) else None


def _with_rule(row: Row, rule: Row) -> Row:
    """A row with the user's rule on top."""
    if rule.frozen or "multiplier" in rule.decided:
        return rule
    decay = row.weight_decay_multiplier * rule.weight_decay_multiplier
    return dataclasses.replace(row, schedule=rule.schedule, weight_decay_multiplier=decay)

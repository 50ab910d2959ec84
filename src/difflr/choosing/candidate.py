"""`Candidate`: one way to fine-tune that is tried; and which ones are."""

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

STEP = 3.0  # between two rates that are tried
HEAD_ALONE = "head alone"


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One way to fine-tune.

    Args:
        profile: How the rates differ between layers, in words: candidates of one profile share one compiled step.
        learning_rate: The base rate.
        plan: The plan.
        head_first: Whether the head trains alone before everything does.
    """

    profile: str
    learning_rate: float
    plan: Plan
    head_first: bool = True

    @property
    def name(self) -> str:
        """Both in words."""
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
    """The candidates, what `fine_tune` does by itself first, then by how often they were better elsewhere.

    Args:
        model: A built model.
        settings: What `fine_tune` uses.
        plan: The user's plan, where there is one: only rates are tried then.
        rules: The user's rules as a plan: what they decide is in every candidate.
        learning_rate: The user's rate: only profiles are tried then.
        head: The target that is the head.
        without_decay: Whether biases and norms have no weight decay, as with `fine_tune`'s own optimizer.
        number: Integer, at most so many.
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
    """The plan of a profile; `None` if the model has none such, or the rules leave nothing of it to train."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that layer-wise decay has no effect, say: then it is not better either
        try:
            plan = make()
        except ValueError:
            return None
    plan = _with_rules(plan if without_decay is None else plan * no_decay(without_decay), rules)
    return plan if any(not row.frozen for row in plan.rows) else None


def has_lora(model: keras.Model) -> bool:
    """Whether there is an adapter in the model.

    Args:
        model: A built model.
    """
    return any(row.path.rpartition("/")[2].startswith("lora_") and not row.frozen for row in Plan(model).rows)


def _with_rules(plan: Plan, rules: Plan | None) -> Plan:
    """The plan where no rule says something else."""
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

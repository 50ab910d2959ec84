"""difflr: differential learning rates for Keras 3.

Five ideas. A `Rule` gives variables a rate of their own. A `Plan` is rules, resolved for one model. An optimizer from
`difflr.optimizers` trains by a plan. `Phases` change the plan during training. A `Choice` is rates found by measuring.
"""

try:
    import keras as _keras  # noqa: F401 - to say which backend is missing
except ModuleNotFoundError as error:
    raise ImportError(
        f"Keras cannot start: {error}. Install a backend and choose it: pip install jax, tensorflow or torch, and set "
        "KERAS_BACKEND to its name (Keras's default is tensorflow)."
    ) from error

from difflr import data, interop, layers, optimizers, recipes, schedules
from difflr.models import Model, Sequential, new_head
from difflr.optimizers.plan_of import plan_of
from difflr.optimizers.replan import replan
from difflr.plan import FROZEN, TRAINABLE, Plan, Rule, VariableMapping, everything_but
from difflr.recipes import (
    bias_double,
    discriminative,
    head_and_backbone,
    layerwise_decay,
    lora_plus,
    mup,
    no_decay,
    surgical,
)
from difflr.verification import PlanNotKept, Verification, VerifyPlan, verify
from difflr import phases
from difflr.phases import Phase, Phases, PhaseScheduler, freeze_to, unfreeze
from difflr.callbacks import BackupAndRestore, GroupLogger, ReduceLROnPlateau, TerminateOnNaN
from difflr.report import (
    evaluation,
    plot_log,
    plot_phases,
    plot_plan,
    plot_rate_map,
    plot_schedule,
    read_report,
    summary,
    write_report,
)
from difflr.choosing import (
    Choice,
    FineTuneSettings,
    LearningRateCurve,
    find_learning_rate,
    fine_tune_settings,
    suggest,
)
from difflr.fine_tuning import fine_tune

__version__ = "0.2.0"

__all__ = [
    "Rule",
    "FROZEN",
    "TRAINABLE",
    "Plan",
    "VariableMapping",
    "everything_but",
    "plan_of",
    "replan",
    "layerwise_decay",
    "discriminative",
    "head_and_backbone",
    "surgical",
    "bias_double",
    "no_decay",
    "lora_plus",
    "mup",
    "recipes",
    "layers",
    "Model",
    "Sequential",
    "new_head",
    "optimizers",
    "schedules",
    "data",
    "interop",
    "Phase",
    "Phases",
    "PhaseScheduler",
    "phases",
    "BackupAndRestore",
    "ReduceLROnPlateau",
    "TerminateOnNaN",
    "fine_tune",
    "fine_tune_settings",
    "FineTuneSettings",
    "suggest",
    "Choice",
    "find_learning_rate",
    "LearningRateCurve",
    "freeze_to",
    "unfreeze",
    "summary",
    "verify",
    "VerifyPlan",
    "Verification",
    "PlanNotKept",
    "GroupLogger",
    "plot_plan",
    "plot_schedule",
    "plot_rate_map",
    "plot_phases",
    "plot_log",
    "write_report",
    "read_report",
    "evaluation",
]

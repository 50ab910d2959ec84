"""difflr: differential learning rates for Keras 3.

Five ideas. A `Rule` gives variables a rate of their own. A `Plan` is rules, resolved for one model. An optimizer from
`difflr.optimizers` trains by a plan. `Phases` change the plan during training. A `Choice` is rates found by measuring.
"""

from typing import TYPE_CHECKING
from importlib import import_module as _import_module
from sys import modules as _modules

try:
    import keras as _keras  # noqa: F401 - to say which backend is missing
except ModuleNotFoundError as error:
    raise ImportError(
        f"Keras cannot start: {error}. Install a backend and choose it: pip install jax, tensorflow or torch, and set "
        "KERAS_BACKEND to its name (Keras's default is tensorflow)."
    ) from error

from difflr import data, layers, optimizers, schedules
from difflr.models import Model, Sequential, new_head
from difflr.optimizers.plan_of import plan_of
from difflr.optimizers.replan import replan
from difflr.plan import FROZEN, TRAINABLE, Plan, Rule, VariableMapping, everything_but

# What a saved model does not need is imported when it is first used, lower floors first: `import difflr` is quick.
_LATE = ("recipes", "phases", "callbacks", "verification", "report", "choosing", "fine_tuning", "interop")

if TYPE_CHECKING:
    from difflr import interop, phases, recipes
    from difflr.callbacks.backup_and_restore import BackupAndRestore
    from difflr.callbacks.group_logger import GroupLogger
    from difflr.callbacks.reduce_lr_on_plateau import ReduceLROnPlateau
    from difflr.callbacks.terminate_on_nan import TerminateOnNaN
    from difflr.choosing.choice import Choice
    from difflr.choosing.find_learning_rate import find_learning_rate
    from difflr.choosing.fine_tune_settings import FineTuneSettings, fine_tune_settings
    from difflr.choosing.learning_rate_curve import LearningRateCurve
    from difflr.choosing.suggest import suggest
    from difflr.fine_tuning.fine_tune import fine_tune
    from difflr.phases.freeze_to import freeze_to, unfreeze
    from difflr.phases.phase import Phase
    from difflr.phases.phase_scheduler import PhaseScheduler
    from difflr.phases.phases import Phases
    from difflr.recipes.biases_and_norms import bias_double, no_decay
    from difflr.recipes.discriminative import discriminative
    from difflr.recipes.head_and_backbone import head_and_backbone
    from difflr.recipes.layerwise_decay import layerwise_decay
    from difflr.recipes.lora_plus import lora_plus
    from difflr.recipes.mup import mup
    from difflr.recipes.surgical import surgical
    from difflr.report.evaluation import evaluation
    from difflr.report.plot_log import plot_log
    from difflr.report.plot_phases import plot_phases
    from difflr.report.plot_plan import plot_plan
    from difflr.report.plot_rate_map import plot_rate_map
    from difflr.report.plot_schedule import plot_schedule
    from difflr.report.read_report import read_report
    from difflr.report.summary import summary
    from difflr.report.write_report import write_report
    from difflr.verification.judgment import PlanNotKept, Verification
    from difflr.verification.verify import verify
    from difflr.verification.verify_plan import VerifyPlan
else:

    def __getattr__(name: str) -> object:
        if name in _LATE:
            return _import_module(f"difflr.{name}")
        if name in __all__:
            folders = (_import_module(f"difflr.{folder}") for folder in _LATE)
            return next(getattr(folder, name) for folder in folders if name in folder.__all__)
        raise AttributeError(f"module 'difflr' has no attribute {name!r}", name=name, obj=_modules[__name__])


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


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_LATE})

"""The peers of `difflr import` whose settings are one file or one expression: what is read of them."""

import dataclasses
import re
from collections.abc import Collection
from typing import Any

import keras

import difflr
from difflr import interop
from difflr.checks import check_fields, checked_rate, shown, wrong_type
from difflr.interop import Translation
from difflr.interop.translation import NORMS

# Of detectron2's `SOLVER`: the argument of `get_default_optimizer_params`, and `detectron2/config/defaults.py`.
_SOLVER = {
    "BASE_LR": 0.001,
    "WEIGHT_DECAY": 0.0001,
    "WEIGHT_DECAY_NORM": 0.0,
    "BIAS_LR_FACTOR": 1.0,
    "WEIGHT_DECAY_BIAS": None,
}
_TIMM = (
    "layer_decay",
    "layer_decay_min_scale",
    "layer_decay_no_opt_scale",
    "no_weight_decay",
    "weight_decay_exclude_1d",
    "head",
    "lr",
    "weight_decay",
)
# The other arguments of keras-adamw's optimizers.
_KERAS_ADAMW = (
    *("beta_1", "beta_2", "epsilon", "amsgrad", "momentum", "nesterov", "decay", "batch_size", "init_verbose"),
    *("total_iterations_wd", "use_cosine_annealing", "eta_min", "eta_max", "eta_t", "t_cur"),
)
# Of a config of MMEngine or MMCV 1, what else decides about steps.
_BESIDE_OPTIMIZER = ("param_scheduler", "lr_config", "optimizer_config", "momentum_config", "custom_hooks")
# The other arguments of timm's script that say how it optimizes; the rest is about the data, the model and the machine.
_OPTIMIZING = re.compile("opt|lr|sched|momentum|warmup|min_lr|cooldown|decay|clip|grad_accum|epochs|patience|model_ema")


def translated(peer: str, settings: Any, model: keras.Model) -> Translation:
    """The plan of the settings of `peer`.

    Args:
        peer: A name in `difflr_command.import_settings.PEERS`.
        settings: What `read_settings` returned.
        model: A built Keras model.

    Raises:
        ValueError: If they are of another form, or do not fit the model.
    """
    if peer == "fastai":
        return interop.from_fastai(settings, model)
    if not isinstance(settings, dict):
        raise ValueError(f"The settings for {peer} are a dictionary. Received: {shown(settings)}.")
    readers = {
        "timm": _timm,
        "mmengine": _mmengine,
        "detectron2": _detectron2,
        "big-vision": _big_vision,
        "lr-multiplier": interop.from_lr_multiplier,
        "keras-adamw": _keras_adamw,
        "param-groups": _param_groups,
    }
    return readers[peer](settings, model)


def _timm(settings: dict[str, Any], model: keras.Model) -> Translation:
    """Of the `args.yaml` of timm's `train.py`, or of the arguments of `create_optimizer_v2`."""
    rest = {}
    if "opt" in settings:  # all arguments of the script
        rest = {name: value for name, value in settings.items() if name not in _TIMM and _OPTIMIZING.match(name)}
        settings = {name: settings[name] for name in _TIMM if settings.get(name) is not None}
    check_fields(settings, _TIMM, "The dictionary for timm")
    arguments = {name: value for name, value in settings.items() if name not in ("lr", "weight_decay")}
    return _with_base(interop.from_timm(model, **arguments), settings, rest)


def _mmengine(settings: dict[str, Any], model: keras.Model) -> Translation:
    """Of a whole config of MMEngine or MMCV 1, or of `paramwise_cfg`."""
    wrapper = settings.get("optim_wrapper") or settings.get("optimizer")
    if wrapper is not None and not isinstance(wrapper, dict):
        raise wrong_type("`optim_wrapper`", "a dictionary", wrapper)
    if wrapper is None:
        if "paramwise_cfg" not in settings and "_base_" in settings:
            raise ValueError(
                "The config has no `optim_wrapper`, which its `_base_` may have. Dump it whole: cfg.dump()."
            )
        return interop.from_mmengine(settings.get("paramwise_cfg", settings), model)
    several = [name for name, part in wrapper.items() if isinstance(part, dict) and "optimizer" in part]
    if several:
        raise ValueError(
            f"The config has several optimizers: {', '.join(several)}. Pass the settings of one, as dict(optim_wrapper=...)."
        )
    if not wrapper.get("paramwise_cfg"):
        raise ValueError("The config has no `paramwise_cfg`: there, everything trains at one rate.")
    optimizer = wrapper.get("optimizer", wrapper)
    if not isinstance(optimizer, dict):
        raise wrong_type("`optimizer`", "a dictionary", optimizer)
    rest = {**wrapper, **optimizer, **{name: settings.get(name) for name in _BESIDE_OPTIMIZER}}
    rest = _without(rest, ("optimizer", "paramwise_cfg", "lr", "weight_decay"))
    translation = interop.from_mmengine(wrapper["paramwise_cfg"], model)
    if "_base_" in settings:
        note = "the `_base_` of the config is not read, and may say more of the optimizer: cfg.dump() writes all"
        translation = dataclasses.replace(translation, notes=(*translation.notes, note))
    return _with_base(translation, optimizer, rest)


def _detectron2(settings: dict[str, Any], model: keras.Model) -> Translation:
    """Of a whole config, or of the arguments of `get_default_optimizer_params`."""
    rest = {}
    if "_BASE_" in settings:
        raise ValueError("The config builds on `_BASE_`, which is not read. Take the whole one: cfg.dump().")
    if "SOLVER" in settings:
        frozen = (settings.get("MODEL") or {}).get("BACKBONE") or {}
        rest = {**_without(settings["SOLVER"], _SOLVER), "FREEZE_AT": frozen.get("FREEZE_AT")}
        solver = {**_SOLVER, **settings["SOLVER"]}
        if not any(isinstance(row.layer, NORMS) for row in difflr.Plan(model).rows):
            solver["WEIGHT_DECAY_NORM"] = None
        settings = {name.lower(): solver[name] for name in _SOLVER}
    known = (*(name.lower() for name in _SOLVER), "overrides")
    check_fields(settings, known, "The dictionary for detectron2")
    if "base_lr" not in settings:
        raise ValueError("detectron2's settings need `base_lr`.")
    return _with_base(interop.from_detectron2(model, **settings), {**settings, "lr": settings["base_lr"]}, rest)


def _big_vision(settings: dict[str, Any], model: keras.Model) -> Translation:
    return _with_base(interop.from_big_vision(settings, model), {"lr": settings.get("lr")})


def _keras_adamw(settings: dict[str, Any], model: keras.Model) -> Translation:
    known = ("learning_rate", "lr_multipliers", "weight_decays", "total_iterations")
    check_fields(settings, (*known, *_KERAS_ADAMW), "The dictionary for keras-adamw")
    translation = interop.from_keras_adamw(model, **_without(settings, _KERAS_ADAMW))
    return _with_base(translation, {"lr": translation.learning_rate}, _without(settings, known))


def _param_groups(settings: dict[str, Any], model: keras.Model) -> Translation:
    settings = {"learning_rate" if name == "lr" else name: value for name, value in settings.items()}
    check_fields(settings, ("groups", "learning_rate", "weight_decay"), "The dictionary for param-groups")
    if not {"groups", "learning_rate"} <= set(settings):
        raise ValueError("Parameter groups need 'groups', a list, and 'learning_rate', the optimizer's.")
    translation = interop.from_param_groups(model=model, **settings)
    return _with_base(translation, {**settings, "lr": settings["learning_rate"]})


def _with_base(translation: Translation, optimizer: dict[str, Any], rest: dict[str, Any] | None = None) -> Translation:
    """The translation with the base rate; with the weight decay, and what is not taken over, as notes."""
    decay, rate = optimizer.get("weight_decay"), optimizer.get("lr")
    rate = None if rate is None else checked_rate(rate, "lr")
    left_out = [
        f"{name}={shown(value)}" for name, value in (rest or {}).items() if value not in (None, False, "", [], {})
    ]
    notes = [] if decay is None else [f"the base weight decay is {decay:g}"]
    notes += [f"not in the plan: {', '.join(left_out)}"] if left_out else []
    return dataclasses.replace(translation, learning_rate=rate, notes=(*translation.notes, *notes))


def _without(settings: dict[str, Any], names: Collection[str]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name not in names}

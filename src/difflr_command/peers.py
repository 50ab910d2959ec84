"""The peers of `difflr import` whose settings are one file or one expression: what is read of them."""

import dataclasses
from typing import Any

import keras

from difflr import interop
from difflr.checks import check_fields, shown
from difflr.interop import Translation

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
        "big-vision": interop.from_big_vision,
        "lr-multiplier": interop.from_lr_multiplier,
        "keras-adamw": _keras_adamw,
        "param-groups": _param_groups,
    }
    return readers[peer](settings, model)


def _timm(settings: dict[str, Any], model: keras.Model) -> Translation:
    """Of the `args.yaml` of timm's `train.py`, or of the arguments of `create_optimizer_v2`."""
    if "opt" in settings:  # all arguments of the script
        settings = {name: settings[name] for name in _TIMM if name in settings}
    check_fields(settings, _TIMM, "timm's settings")
    arguments = {name: value for name, value in settings.items() if name not in ("lr", "weight_decay")}
    return _with_base(interop.from_timm(model, **arguments), settings)


def _mmengine(settings: dict[str, Any], model: keras.Model) -> Translation:
    """Of a whole config of MMEngine or MMCV 1, or of `paramwise_cfg`."""
    wrapper = settings.get("optim_wrapper") or settings.get("optimizer")
    if wrapper is None:
        if "paramwise_cfg" not in settings and "_base_" in settings:
            raise ValueError(
                "The config has no `optim_wrapper`, which its `_base_` may have. Dump it whole: cfg.dump()."
            )
        return interop.from_mmengine(settings.get("paramwise_cfg", settings), model)
    if not wrapper.get("paramwise_cfg"):
        raise ValueError("The config has no `paramwise_cfg`: there, everything trains at one rate.")
    return _with_base(interop.from_mmengine(wrapper["paramwise_cfg"], model), wrapper.get("optimizer", wrapper))


def _detectron2(settings: dict[str, Any], model: keras.Model) -> Translation:
    """Of a whole config, or of the arguments of `get_default_optimizer_params`."""
    if "_BASE_" in settings:
        raise ValueError("The config builds on `_BASE_`, which is not read. Take the whole one: cfg.dump().")
    if "SOLVER" in settings:
        solver = {**_SOLVER, **settings["SOLVER"]}
        settings = {name.lower(): solver[name] for name in _SOLVER}
    known = (*(name.lower() for name in _SOLVER), "overrides")
    check_fields(settings, known, "detectron2's settings")
    if "base_lr" not in settings:
        raise ValueError("detectron2's settings need `base_lr`.")
    return _with_base(interop.from_detectron2(model, **settings), {**settings, "lr": settings["base_lr"]})


def _keras_adamw(settings: dict[str, Any], model: keras.Model) -> Translation:
    known = ("learning_rate", "lr_multipliers", "weight_decays", "total_iterations")
    check_fields(settings, known, "keras-adamw's settings")
    return interop.from_keras_adamw(model, **settings)


def _param_groups(settings: dict[str, Any], model: keras.Model) -> Translation:
    check_fields(settings, ("groups", "learning_rate", "weight_decay"), "The settings")
    if not {"groups", "learning_rate"} <= set(settings):
        raise ValueError("Parameter groups need 'groups', a list, and 'learning_rate', the optimizer's.")
    translation = interop.from_param_groups(model=model, **settings)
    return _with_base(translation, {**settings, "lr": settings["learning_rate"]})


def _with_base(translation: Translation, optimizer: dict[str, Any]) -> Translation:
    """The translation with the base rate, and the weight decay as a note."""
    decay = optimizer.get("weight_decay")
    notes = (*translation.notes, *([] if decay is None else [f"the base weight decay is {decay:g}"]))
    return dataclasses.replace(translation, learning_rate=optimizer.get("lr"), notes=notes)

"""big_vision: `lr_mults`, `wd_mults` and `schedule`, three lists of regular expressions."""

from collections.abc import Mapping
from typing import Any

import keras

from difflr.checks import checked_number, did_you_mean, nearest, shown, wrong_type
from difflr.interop.translation import Decision, Translation, full_match, translate
from difflr.plan import Row

_FIELDS = ("lr", "wd", "lr_mults", "wd_mults", "schedule")
_OPTIMIZER = ("optax", "grad_clip")
_FLAX_NAMES = {"gamma": "scale", "beta": "bias", "embeddings": "embedding"}


def from_big_vision(config: Mapping[str, Any], model: keras.Layer) -> Translation:
    """Convert a big_vision config to a plan.

    In each list the first pattern that matches the whole name wins. Names are Flax's: the layer-tree path, with `scale`
    and `bias` for `gamma` and `beta`. Variables not matched in `lr_mults` get 1; variables not matched in `wd_mults` get
    no decay (without `wd_mults`, only kernels decay). `schedule` must match every variable; `None` freezes.

    Args:
        config: A dictionary or `ml_collections.ConfigDict` with `lr_mults`, `wd_mults`,
            `schedule`, and `lr` and `wd` for the report. The report names the optimizer's other fields (`optax`,
            `grad_clip_norm`); fields about data and model are ignored.
        model: A built Keras model.

    Returns:
        A `difflr.interop.Translation`. Its notes name the optimizer that takes the same steps: in big_vision, decay is
        independent of the learning rate.

    Raises:
        ValueError: If a multiplier is 0 (as in big_vision), or `schedule` misses a variable or has two different schedules.

    Example:

    ```python
    config = {
        "lr": 1e-3,
        "wd": 1e-4,
        "lr_mults": [("head/.*", 10.0), (".*", 1.0)],
        "schedule": [("backbone/stem/.*", None), (".*", dict(warmup_steps=100))],
    }
    translation = difflr.interop.from_big_vision(config, model)
    print(translation)
    ```

    Reference: `make` in `big_vision/optax.py`, `make_mask_trees` in `big_vision/utils.py`.
    """
    for name in config:
        if name not in _FIELDS and nearest(str(name), _FIELDS, 1, 0.8):
            raise ValueError(f"big_vision has no setting {shown(name)}.{did_you_mean(str(name), _FIELDS, 1)}")
    lr_mults = _pairs(config, "lr_mults")
    wd_mults = _pairs(config, "wd_mults") or [(".*/kernel$", 1.0)]
    one_schedule = not isinstance(config.get("schedule"), (list, tuple))
    schedule = [(".*", config.get("schedule") or {})] if one_schedule else _pairs(config, "schedule")
    zero = [pattern for pattern, value in lr_mults if checked_number(value, f"lr_mults['{pattern}']") == 0]
    if zero:
        raise ValueError(
            f"`lr_mults` must be above 0, as in big_vision. Received: 0 for '{zero[0]}'. To freeze, use schedule `None`."
        )
    for _, value in schedule:
        if value is not None and not hasattr(value, "keys"):  # a ConfigDict is no Mapping
            raise wrong_type(
                "A `schedule`", "a mapping such as dict(decay_type='cosine'), or None, which freezes", value
            )
    different = {repr(dict(sorted(dict(value).items()))) for _, value in schedule if value is not None}
    if len(different) > 1:
        raise ValueError(
            "`schedule` has several different schedules. Write them as Keras schedules and pass them in rules: "
            "difflr.Rule(pattern, schedule=...)."
        )

    def decide(row: Row) -> Decision:
        scheduled = _first("schedule", schedule, row)
        if scheduled is None:
            raise ValueError(f"`schedule` must match every variable. None of its patterns matches '{flax_name(row)}'.")
        if scheduled[1] is None:
            return {"frozen": True}, [scheduled[0]]
        rate, decay = _first("lr_mults", lr_mults, row), _first("wd_mults", wd_mults, row)
        axes = {"multiplier": rate[1] if rate else 1.0, "weight_decay_multiplier": decay[1] if decay else 0.0}
        return axes, [setting for setting, _ in (scheduled, *filter(None, (rate, decay)))]

    settings = [
        f"{name} {pattern}"
        for name, pairs in (("schedule", schedule), ("lr_mults", lr_mults), ("wd_mults", _pairs(config, "wd_mults")))
        for pattern, _ in pairs
    ]
    return translate("big_vision", model, decide, settings, notes=_notes(config, different), name_of=flax_name)


def flax_name(row: Row) -> str:
    """The name of the variable in Flax."""
    *layers, name = row.path.split("/")
    return "/".join([*layers, _FLAX_NAMES.get(name, name)])


def _pairs(config: Mapping[str, Any], name: str) -> list[tuple[str, Any]]:
    """A list of patterns and values."""
    pairs = config.get(name) or []
    if not isinstance(pairs, (list, tuple)) or not all(
        isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in pairs
    ):
        raise wrong_type(f"`{name}`", "a list of pairs, such as [('head/.*', 10.0)]", pairs)
    return [(pattern, value) for pattern, value in pairs]


def _first(name: str, pairs: list[Any], row: Row) -> tuple[str, Any] | None:
    """The first pair whose pattern matches, with the name of the setting."""
    flax = flax_name(row)
    return next(
        ((f"{name} {pattern}", value) for pattern, value in pairs if full_match(pattern, flax, f"`{name}`")), None
    )


def _notes(config: Mapping[str, Any], schedules: set[str]) -> list[str]:
    notes = [f"the base rate follows this schedule: {schedule}" for schedule in schedules if schedule != "{}"]
    others = [f"{name}={shown(config[name])}" for name in config if str(name).startswith(_OPTIMIZER)]
    notes += [f"not in the plan: {', '.join(others)}"] if others else []
    for name in ("lr", "wd"):
        checked_number(config.get(name) or 0.0, name)
    if config.get("wd") and config.get("lr"):
        notes.append(
            f"decay does not follow the rate: AdamW({config['lr']}, weight_decay={config['wd'] / config['lr']:g}, "
            "weight_decay_follows='base_rate', multipliers=translation.plan)"
        )
    return notes

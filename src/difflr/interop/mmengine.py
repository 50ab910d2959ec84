"""MMEngine and MMPretrain: `paramwise_cfg`."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras

from difflr.checks import check_fields, listed, wrong_type
from difflr.interop.timm import from_timm, is_vector, rates_by_depth
from difflr.interop.translation import NORMS, Decision, Translation, torch_name, translate
from difflr.plan import Row
from difflr.recipes import layerwise_decay
from difflr.signatures import check_keywords

_KINDS = (
    "bias_lr_mult",
    "bias_decay_mult",
    "norm_decay_mult",
    "flat_decay_mult",
    "dwconv_decay_mult",
    "dcn_offset_lr_mult",
)
_KEYS = ("custom_keys", *_KINDS, "bypass_duplicate", "layer_decay_rate")
_CUSTOM = ("lr_mult", "decay_mult")


def from_mmengine(paramwise_cfg: Mapping[str, Any], model: keras.Layer, **layers: Any) -> Translation:
    """Convert MMEngine's `paramwise_cfg` to a plan.

    A custom key matches variables whose PyTorch name (`backbone.norm.weight`) contains it. The longest key wins; among
    equally long keys, the first in alphabetical order. Where one matches, `bias_lr_mult`, `norm_decay_mult` and similar
    settings are ignored.

    With `layer_decay_rate` the config is that of MMPretrain's `LearningRateDecayOptimWrapperConstructor`, which ignores
    `lr_mult`, `bias_lr_mult` and `dwconv_decay_mult`. With `decay_rate` it is that of the
    `LearningRateDecayOptimizerConstructor` of MMDetection and MMSegmentation, and with `num_layers` and
    `layer_decay_rate` that of BEiT's `LayerDecayOptimizerConstructor`: both turn off decay for vectors and ignore all other
    settings.

    Args:
        paramwise_cfg: The dictionary.
        model: A built Keras model.
        **layers: With `layer_decay_rate` or `decay_rate`: `depth` and `head`, as for `difflr.layerwise_decay`, instead
            of the model's `get_layer_depth`.

    Returns:
        A `difflr.interop.Translation`.

    Raises:
        ValueError: If there is an unknown field, also in a custom key (where MMEngine allows any optimizer argument), or
            nothing matches.

    Example:

    ```python
    cfg = dict(custom_keys={"backbone": dict(lr_mult=0.1, decay_mult=0.9)}, bias_lr_mult=2.0, flat_decay_mult=0.0)
    translation = difflr.interop.from_mmengine(cfg, model)
    optimizer = difflr.optimizers.SGD(0.01, weight_decay=1e-4, multipliers=translation.plan)
    ```

    Reference: `add_params` in `mmengine/optim/optimizer/default_constructor.py`, and in
    `mmpretrain/engine/optimizers/layer_decay_optim_wrapper_constructor.py` and
    `mmdet/engine/optimizers/layer_decay_optimizer_constructor.py`.
    """
    check_keywords("from_mmengine", layers, from_mmengine, layerwise_decay)
    if not isinstance(paramwise_cfg, Mapping):
        raise wrong_type("`paramwise_cfg`", "a mapping, such as dict(norm_decay_mult=0.0)", paramwise_cfg)
    if layers and not {"decay_rate", "layer_decay_rate", "num_layers"} & set(paramwise_cfg):
        raise ValueError(f"{listed(list(layers))} needs `layer_decay_rate` or `decay_rate` in `paramwise_cfg`.")
    if "decay_rate" in paramwise_cfg or "num_layers" in paramwise_cfg:
        return _by_decay_rate(paramwise_cfg, model, layers)
    check_fields(paramwise_cfg, _KEYS, "`paramwise_cfg`")
    custom = paramwise_cfg.get("custom_keys") or {}
    if not isinstance(custom, Mapping):
        raise wrong_type("`custom_keys`", "a mapping, such as {'norm': dict(decay_mult=0.0)}", custom)
    for key, values in custom.items():
        check_fields(values, _CUSTOM, f"The custom key '{key}'")
    by_length = sorted(sorted(custom), key=len, reverse=True)
    decay_rate = paramwise_cfg.get("layer_decay_rate")
    kinds = {name: paramwise_cfg[name] for name in _KINDS if paramwise_cfg.get(name) is not None}
    rates = None if decay_rate is None else rates_by_depth(model, decay_rate, **layers)

    def decide(row: Row) -> Decision:
        *prefix, name = torch_name(row).split(".")
        key = next((key for key in by_length if key in f"{'.'.join(prefix)}.{name}"), None)
        if key is None:
            axes, settings = _by_kind(row, name, kinds, by_depth=rates is not None)
        else:
            axes = {
                "multiplier": custom[key].get("lr_mult", 1.0),
                "weight_decay_multiplier": custom[key].get("decay_mult", 1.0),
            }
            settings = [key]
        return (axes, settings) if rates is None else ({**axes, **rates(row)}, settings)

    notes = [f"custom key '{key}': its lr_mult is ignored here" for key in custom if rates and "lr_mult" in custom[key]]
    return translate("MMEngine", model, decide, [*custom, *kinds], notes=notes, name_of=torch_name)


def _by_decay_rate(paramwise_cfg: Mapping[str, Any], model: keras.Layer, layers: dict[str, Any]) -> Translation:
    known = ("decay_rate", "layer_decay_rate", "num_layers", "decay_type")
    check_fields(paramwise_cfg, (*known, *_KEYS), "`paramwise_cfg` with `decay_rate` or `num_layers`")
    if paramwise_cfg.get("decay_type", "layer_wise") != "layer_wise" and "depth" not in layers:
        raise ValueError(
            "Blocks are found in the model only with decay_type='layer_wise'. Pass the stages as `depth=`."
        )
    rate = next((paramwise_cfg[name] for name in known[:2] if name in paramwise_cfg), None)
    if rate is None:
        raise ValueError("`num_layers` needs `layer_decay_rate` beside it in `paramwise_cfg`.")
    translation = from_timm(model, layer_decay=rate, **layers)
    ignored = [f"{name} is ignored by this constructor" for name in paramwise_cfg if name not in known]
    return dataclasses.replace(translation, peer="MMEngine", notes=(*translation.notes, *ignored))


def _by_kind(row: Row, name: str, kinds: dict[str, float], by_depth: bool) -> tuple[dict[str, float], list[str]]:
    """The settings for the kinds of a variable, in order: norm, bias, depthwise convolution, vector."""
    norm, bias = isinstance(row.layer, NORMS), name == "bias"
    applies = {
        "norm_decay_mult": norm,
        "bias_decay_mult": bias,
        "dwconv_decay_mult": _is_depthwise(row) and not by_depth,
        "flat_decay_mult": is_vector(row),
    }
    rule = next((rule for rule, matches in applies.items() if matches and rule in kinds), None)
    axes, settings = ({}, []) if rule is None else ({"weight_decay_multiplier": kinds[rule]}, [rule])
    if bias and not norm and not by_depth and "bias_lr_mult" in kinds:
        return {**axes, "multiplier": kinds["bias_lr_mult"]}, [*settings, "bias_lr_mult"]
    return axes, settings


def _is_depthwise(row: Row) -> bool:
    if isinstance(row.layer, keras.layers.DepthwiseConv2D):
        return True
    return isinstance(row.layer, keras.layers.Conv2D) and row.layer.kernel.shape[-2] == 1 and row.layer.groups > 1

"""fastai: a `slice` of learning rates."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import keras

from difflr.checks import is_number, shown
from difflr.interop.translation import NORMS, Decision, Translation, translate
from difflr.plan import Plan, Row
from difflr.recipes import discriminative


def from_fastai(
    lr: slice | float, model: keras.Layer, *, groups: Sequence[Any] | None = None, wd_bn_bias: bool = False
) -> Translation:
    """Convert the rates of fastai's `learn.fit_one_cycle(n, lr)` to a plan.

    `slice(low, high)` grows by the same factor from group to group, `slice(high)` gives a tenth to all groups but the
    last, and a number applies to all.

    Args:
        lr: A slice or a number.
        model: A built Keras model with a head.
        groups: From bottom to top, as for `difflr.discriminative`: what fastai's `splitter` returns. `None`: the
            blocks that difflr finds.
        wd_bn_bias: Whether weight decay applies to biases and normalization layers.

    Returns:
        A `difflr.interop.Translation`; its `learning_rate` is the highest.

    Raises:
        ValueError: If a rate is not above 0, or the groups do not match the model.

    Example:

    ```python
    translation = difflr.interop.from_fastai(slice(1e-5, 1e-3), model, groups=["backbone/stem", "backbone/block", "head"])
    optimizer = difflr.optimizers.Adam(translation.learning_rate, multipliers=translation.plan)
    assert [group.multiplier for group in translation.plan.groups[::2]] == [0.01, 0.1, 1.0]
    ```

    Reference: `set_hyper` in `fastai/optimizer.py`, `even_mults` in `fastai/learner.py`; `wd_bn_bias` of `Learner`.
    """
    low: Any
    high: Any
    low, high = (None, lr) if not isinstance(lr, slice) else (lr.start, lr.stop) if lr.step is None else (None, None)
    if not (is_number(high) and 0 < high < math.inf and (low is None or is_number(low))):
        hint = "" if isinstance(lr, (slice, str)) or is_number(lr) else " For a rate per group, use from_param_groups."
        raise ValueError(
            f"`lr` must be a number above 0, slice(high) or slice(low, high). Received: {shown(lr)}.{hint}"
        )
    relative = low / high if low else None
    plan = discriminative(model, relative, groups=groups) if isinstance(lr, slice) else Plan(model)

    def decide(row: Row) -> Decision:
        decays = wd_bn_bias or not (_is_norm(row) or row.path.endswith("bias"))
        return {"multiplier": plan.row(row.variable).multiplier, "weight_decay_multiplier": float(decays)}, ["lr"]

    return dataclasses.replace(translate("fastai", model, decide, ["lr"]), learning_rate=high)


def _is_norm(row: Row) -> bool:
    """Whether the layer is one of fastai's `norm_types`, which include InstanceNorm but not GroupNorm."""
    group_norm = isinstance(row.layer, keras.layers.GroupNormalization) and row.layer.groups != row.shape[-1]
    return isinstance(row.layer, NORMS) and not group_norm

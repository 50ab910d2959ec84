"""Common conventions: double the learning rate of biases; no weight decay on biases and norms."""

import keras

from difflr.depth.named_head import Target
from difflr.plan import Plan
from difflr.plan.targets import Targets
from difflr.recipes.plan_from_decisions import plan_from_decisions


def bias_double(model: keras.Layer) -> Plan:
    """Train biases at twice the base rate, without weight decay.

    Args:
        model: A built model.

    Returns:
        A `difflr.Plan`.

    Raises:
        ValueError: If the model is not built or has no biases.

    Example:

    ```python
    plan = difflr.layerwise_decay(model, 0.75) * difflr.bias_double(model)
    ```

    Reference: Jia et al., "Caffe: Convolutional Architecture for Fast Feature Embedding" (2014), whose reference models
    have `param { lr_mult: 1 decay_mult: 1 } param { lr_mult: 2 decay_mult: 0 }`.
    """
    biases = _matched(model, "kind:bias")
    axes = {"multiplier": 2.0, "weight_decay_multiplier": 0.0}
    return plan_from_decisions(model, lambda row: (axes, "bias_double") if id(row.variable) in biases else None)


def no_decay(model: keras.Layer, *, also: Target = ()) -> Plan:
    """No weight decay on `"kind:no_decay"`: biases, norm weights and other vectors. Learning rates do not change.

    Args:
        model: A built model.
        also: More targets (layers, path patterns, kinds, ...; as in `difflr.Rule`) without decay, such as
            `["kind:embedding", "*/class_token"]`.

    Returns:
        A `difflr.Plan`.

    Raises:
        ValueError: If the model is not built, nothing in it is `"kind:no_decay"`, or one of `also` matches nothing.

    Example:

    ```python
    plan = difflr.layerwise_decay(model, 0.75) * difflr.no_decay(model)
    ```

    Reference: He et al., "Bag of Tricks for Image Classification with Convolutional Neural Networks" (CVPR 2019),
    section 3.1; timm's `param_groups_weight_decay` (`timm/optim/_param_groups.py`).
    """
    excluded = _matched(model, ["kind:no_decay", also] if also else "kind:no_decay")
    axes = {"weight_decay_multiplier": 0.0}
    return plan_from_decisions(model, lambda row: (axes, "no_decay") if id(row.variable) in excluded else None)


def _matched(model: keras.Layer, target: Target) -> set[int]:
    Plan(model)  # raises a clear error if the model is not built
    return Targets(model).ids(target)

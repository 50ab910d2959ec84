"""`head_and_backbone`: the head at the base rate, the backbone slower or frozen."""

import keras

from difflr.checks import checked_multiplier
from difflr.depth.named_head import HEAD, Target, named_head
from difflr.plan import Plan
from difflr.recipes.plan_from_decisions import factor_or_frozen, plan_from_decisions


def head_and_backbone(model: keras.Layer, backbone: float = 0.1, *, head: Target = HEAD) -> Plan:
    """Train the head at the base rate and the backbone slower, or freeze it.

    Args:
        model: A built model with a head: the last layer with weights before each output.
        backbone: Float >= 0, the multiplier of everything but the head. 0 freezes the backbone.
        head: The target (layer, path, kind, ...; as in `difflr.Rule`) of the head, or a list of targets, such as
            `model.layers[-3:]`. Layers that take all their inputs from it belong to it.

    Returns:
        A `difflr.Plan`.

    Raises:
        ValueError: If the model is not built or has no separate head, or its head cannot be found in the data flow.

    Example:

    ```python
    plan = difflr.head_and_backbone(model, 0.1)
    head_only = difflr.head_and_backbone(model, 0)
    ```

    Reference: Caffe's example "Fine-tuning CaffeNet for Style Recognition on Flickr Style Data", where the new layer has a
    larger `lr_mult` than the rest. With 0: the linear probing of Kumar et al., "Fine-Tuning can Distort Pretrained
    Features and Underperform Out-of-Distribution" (ICLR 2022).
    """
    multiplier = checked_multiplier(backbone, "backbone")
    rows = Plan(model).rows
    in_head = named_head(model, head)
    body = [row for row in rows if id(row.variable) not in in_head]
    if not body or len(body) == len(rows):
        why = "the whole model is the head" if not body else "the weights of its last layer are also used below it"
        raise ValueError(
            f"{type(model).__name__} '{model.name}' has no head separate from its backbone: {why}. "
            "Name the head, as in `head=model.get_layer(...)`."
        )
    axes = factor_or_frozen(multiplier)
    return plan_from_decisions(
        model,
        lambda row: ({"multiplier": 1.0}, "head") if id(row.variable) in in_head else (axes, "backbone"),
        lambda layer: not multiplier and id(layer) not in in_head,
    )

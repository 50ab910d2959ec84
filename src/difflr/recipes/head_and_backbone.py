"""`head_and_backbone`: the head at the base rate, the body below it slower or not at all."""

import keras

from difflr.checks import checked_multiplier
from difflr.depth.named_head import HEAD, Target, named_head
from difflr.plan import Plan
from difflr.recipes.plan_from_decisions import factor_or_frozen, plan_from_decisions


def head_and_backbone(model: keras.Layer, backbone: float = 0.1, *, head: Target = HEAD) -> Plan:
    """A plan in which the head trains at the base rate and everything below it slower, or not at all.

    Args:
        model: A built model of any kind with a head: the last layer with weights before each output.
        backbone: Float >= 0, the multiplier of everything but the head. 0 freezes it.
        head: The target (layer, path, kind, ...; as in `difflr.Rule`) that is the head, or a list of targets, such as
            `model.layers[-3:]`; with whatever takes all its inputs from it.

    Returns:
        A `difflr.Plan`.

    Raises:
        ValueError: If the model is not built, has no head of its own, or its head cannot be read off its data flow.

    Example:

    ```python
    plan = difflr.head_and_backbone(model, 0.1)
    head_only = difflr.head_and_backbone(model, 0)
    ```

    Reference: Caffe's example "Fine-tuning CaffeNet for Style Recognition on Flickr Style Data", where the new layer has a
    larger `lr_mult` than the rest; with 0, the linear probing of Kumar et al., "Fine-Tuning can Distort Pretrained
    Features and Underperform Out-of-Distribution" (ICLR 2022).
    """
    multiplier = checked_multiplier(backbone, "backbone")
    rows = Plan(model).rows
    in_head = named_head(model, head)
    body = [row for row in rows if id(row.variable) not in in_head]
    if not body or len(body) == len(rows):
        why = "everything in it is the head" if not body else "the weights of its last layer are used below as well"
        raise ValueError(
            f"{type(model).__name__} '{model.name}' has no head that could train apart from its body: {why}. "
            "Say which layer is the head, as in `head=model.get_layer(...)`."
        )
    axes = factor_or_frozen(multiplier)
    return plan_from_decisions(
        model,
        lambda row: ({"multiplier": 1.0}, "head") if id(row.variable) in in_head else (axes, "backbone"),
        lambda layer: not multiplier and id(layer) not in in_head,
    )

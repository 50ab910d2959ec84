"""`mup`: transfer a learning rate from a narrow model to a wide one."""

import math
from collections.abc import Sequence

import keras

from difflr.checks import checked_option
from difflr.plan import Plan, Row
from difflr.recipes.plan_from_decisions import plan_from_decisions
from difflr.text_table import counted

OPTIMIZERS = ("adam", "sgd")


def mup(model: keras.Layer, base_model: keras.Layer, optimizer: str = "adam") -> Plan:
    """Scale learning rates so that a rate tuned on a narrow model works on a wide one.

    Use the base rate that is best for `base_model`. If a kernel has `r_in` times the inputs and `r_out` times the outputs
    it has in `base_model`, its multiplier is `1 / r_in` for Adam-like optimizers and `r_out / r_in` for SGD. Vectors have
    `r_in = 1`. Variables of the same shape get 1.

    The plan is half of muP; the other half is how you build the model: kernels with variance `1 / fan_in` (Keras's
    `LecunNormal`; `GlorotUniform` where a layer is square), output layers with `1 / fan_in ** 2` or zeros, and attention
    logits divided by the head size rather than its square root. Weight decay does not change.

    Args:
        model: The wide model, built.
        base_model: The same model with smaller widths, built. Only its shapes are used.
        optimizer: `"adam"` for Adam-like optimizers, whose step does not depend on the gradient's scale (AdamW, Nadam,
            RMSprop, Lion, ...); `"sgd"` for SGD, with or without momentum.

    Returns:
        A `difflr.Plan`.

    Raises:
        ValueError: If the two models differ in structure, or `optimizer` is not one of the two.

    Example:

    ```python
    def network(width):
        return keras.Sequential(
            [
                keras.Input((4,)),
                keras.layers.Dense(width, activation="relu", kernel_initializer="lecun_normal"),
                keras.layers.Dense(width, activation="relu", kernel_initializer="lecun_normal"),
                keras.layers.Dense(3, kernel_initializer="zeros"),
            ]
        )

    plan = difflr.mup(network(512), base_model=network(64))
    assert [row.multiplier for row in plan.rows][::2] == [1, 1 / 8, 1 / 8]
    ```

    Reference: Yang et al., "Tensor Programs V: Tuning Large Neural Networks via Zero-Shot Hyperparameter Transfer"
    (2022). The rates are those of `MuAdam` and `MuSGD` (`mup/optim.py`), with the output multiplier of its
    `MuReadout` folded into the rate of the output layer.
    """
    checked_option(optimizer, "optimizer", OPTIMIZERS)
    rows, base_rows = Plan(model).rows, Plan(base_model).rows
    _check_structure(rows, base_rows)
    factors: dict[int, float] = {}
    for row, base in zip(rows, base_rows, strict=True):
        wider = [size / base_size for size, base_size in zip(row.shape, base.shape, strict=True)]
        inputs = _input_axes(row)
        r_in = math.prod(wider[axis] for axis in inputs)
        r_out = math.prod(factor for axis, factor in enumerate(wider) if axis not in inputs)
        factors[id(row.variable)] = 1 / r_in if optimizer == "adam" else r_out / r_in

    return plan_from_decisions(model, lambda row: ({"multiplier": factors[id(row.variable)]}, f"mup: {optimizer}"))


def _check_structure(rows: Sequence[Row], base_rows: Sequence[Row]) -> None:
    problem = ""
    for row, base in zip(rows, base_rows, strict=False):
        names = [item.path.rpartition("/")[2] for item in (row, base)]
        if names[0] != names[1] or len(row.shape) != len(base.shape) or type(row.layer) is not type(base.layer):
            problem = f"`model` has {row.path} {row.shape} where `base_model` has {base.path} {base.shape}"
            break
    if not problem and len(rows) != len(base_rows):
        longer, shorter = sorted([rows, base_rows], key=len, reverse=True)
        extra = longer[len(shorter)]
        problem = f"one has {counted(len(rows), 'variable')}, the other {len(base_rows)}; only one has {extra.path}"
    if problem:
        raise ValueError(
            f"`base_model` must have the structure of `model` and differ only in width, but {problem}. Create both with "
            "one function of the width."
        )


def _input_axes(row: Row) -> tuple[int, ...]:
    """The axes of a variable that are the inputs of its layer."""
    rank, layer, name = len(row.shape), row.layer, row.path.rpartition("/")[2]
    if isinstance(layer, keras.layers.EinsumDense) and name == "kernel":
        inputs, kernel, output = layer.equation.replace("...", "").replace("->", ",").split(",")
        return tuple(axis for axis, letter in enumerate(kernel) if letter in inputs and letter not in output)
    depthwise = isinstance(layer, (keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D)) or "depthwise" in name
    is_kernel = name == "kernel" or name.endswith("_kernel") or name.startswith("lora_")
    if not is_kernel or rank < 2 or depthwise:
        return ()
    transposed = isinstance(
        layer, (keras.layers.Conv1DTranspose, keras.layers.Conv2DTranspose, keras.layers.Conv3DTranspose)
    )
    return (rank - 1,) if transposed else (rank - 2,)

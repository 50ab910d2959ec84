"""`lora_plus`: a higher learning rate for LoRA's B matrices than for A."""

import keras

from difflr.checks import checked_multiplier
from difflr.plan import Plan
from difflr.recipes.plan_from_decisions import plan_from_decisions


def lora_plus(model: keras.Layer, ratio: float = 16.0) -> Plan:
    """Train the B matrix of each LoRA adapter at `ratio` times the base rate.

    LoRA adds `A @ B` to a frozen kernel, with B initialized to zero. B should train faster than A. Keras creates
    A and B with `layer.enable_lora(rank)`: `lora_kernel_a`, `lora_kernel_b` of Dense, EinsumDense and convolutions,
    `lora_embeddings_a`, `lora_embeddings_b` of Embedding. Everything else keeps the base rate.

    Args:
        model: A built model with LoRA enabled in at least one layer.
        ratio: Float > 0. The paper recommends 16 for RoBERTa; the best value depends on the model and grows with the
            difficulty of the task.

    Returns:
        A `difflr.Plan`.

    Raises:
        ValueError: If the model has no LoRA variables, or `ratio` is not above 0.

    Example:

    ```python
    model.get_layer("head").enable_lora(2)
    plan = difflr.lora_plus(model, ratio=16)
    ```

    Reference: Hayou, Ghosh and Yu, "LoRA+: Efficient Low Rank Adaptation of Large Models" (ICML 2024); PEFT's
    `create_loraplus_optimizer` (`peft/optimizers/loraplus.py`), which also gives vectors the higher rate; this function
    does not.
    """
    if checked_multiplier(ratio, "ratio") == 0:
        raise ValueError(f"`ratio` must be above 0, such as 16. Received: {ratio!r}.")
    names = {id(row.variable): row.path.rpartition("/")[2] for row in Plan(model).rows}
    second = {variable for variable, name in names.items() if name.startswith("lora_") and name.endswith("_b")}
    if not second:
        raise ValueError(
            f"{type(model).__name__} '{model.name}' has no LoRA variables. Call `layer.enable_lora(rank)` on the built "
            "layers to adapt (Dense, EinsumDense, Embedding, convolutions), then create the plan."
        )
    return plan_from_decisions(
        model, lambda row: ({"multiplier": float(ratio)}, "lora_plus: B") if id(row.variable) in second else None
    )

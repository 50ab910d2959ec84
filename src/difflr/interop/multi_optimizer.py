"""Convert from and to Keras 3.15's `MultiOptimizer` and `OptimizerMap`."""

import re
from collections.abc import Mapping
from typing import Any

import keras

from difflr import keras_private
from difflr.checks import wrong_type
from difflr.interop.effective import check_axes, check_plan, group_decay
from difflr.interop.same_class import SameClass, one_optimizer
from difflr.interop.translation import Decision, Translation, full_match, translate
from difflr.plan import Plan, Row


def from_multi_optimizer(optimizer: Any, model: keras.Layer) -> Translation:
    """Convert a `MultiOptimizer` of one class with several learning rates to a plan and one optimizer.

    A key matches a variable if it equals `variable.path` or fully matches it as a regular expression. If two keys match,
    Keras raises an error.

    Args:
        optimizer: A `keras.optimizers.MultiOptimizer`, an `OptimizerMap`, or a function variable -> optimizer.
        model: A built Keras model.

    Returns:
        A `difflr.interop.Translation`, with an optimizer: one for all variables, with one base rate that callbacks can
        change.

    Raises:
        ValueError: If the optimizers differ in more than `learning_rate` and `weight_decay`, or have different schedules,
            or two keys match one variable.
        TypeError: If it is anything else.

    Example:

    ```python
    slow, fast = keras.optimizers.Adam(1e-5), keras.optimizers.Adam(1e-3)
    translation = difflr.interop.from_multi_optimizer(lambda v: slow if "backbone" in v.path else fast, model)
    assert translation.learning_rate == 1e-3
    assert translation.plan.rows[0].multiplier == 0.01
    ```

    Reference: `OptimizerMap.__getitem__` in `keras/src/optimizers/multi_optimizer.py`.
    """
    choose = _map_of(optimizer)
    chosen = {id(row.variable): one_optimizer(choose(row.variable)) for row in Plan(model).rows}
    keys = list(choose) if isinstance(choose, Mapping) else []
    default = getattr(choose, "default_optimizer", None)
    merged = SameClass([*([default] if default is not None else []), *chosen.values()])

    def decide(row: Row) -> Decision:
        path = row.variable.path
        matching = [path] if path in keys else [key for key in keys if full_match(key, path, "A key")]
        return merged.axes(chosen[id(row.variable)], row.variable), matching

    found = translate("MultiOptimizer", model, decide, keys, name_of=lambda row: row.variable.path)
    return merged.complete(found)


def _map_of(optimizer: Any) -> Any:
    """The map or function of a MultiOptimizer, or `optimizer` if it is one."""
    choose = keras_private.optimizer_map(optimizer)
    if not callable(choose):
        raise wrong_type(
            "`optimizer`", "a MultiOptimizer, an OptimizerMap or a function variable -> optimizer", optimizer
        )
    for key in choose if isinstance(choose, Mapping) else ():
        full_match(key, "", "A key")
    return choose


def to_multi_optimizer(plan: Plan, optimizer: Any) -> Any:
    """Convert a plan to a `keras.optimizers.MultiOptimizer` with a copy of `optimizer` for every group.

    Frozen variables get `trainable = False`, as if the user had set it. The limits of a MultiOptimizer apply: each group
    clips separately, and there is no overall `learning_rate`.

    Args:
        plan: A plan for a Keras model.
        optimizer: An unbuilt stock optimizer with the base rate and weight decay.

    Returns:
        A `keras.optimizers.MultiOptimizer`.

    Raises:
        ValueError: If a MultiOptimizer cannot express the plan: the base rate or a group has a schedule, or two variables
            in different groups have the same `variable.path`.

    Example:

    ```python
    plan = difflr.Plan(model, {"backbone": 0.1})
    if hasattr(keras.optimizers, "MultiOptimizer"):  # since Keras 3.15
        optimizer = difflr.interop.to_multi_optimizer(plan, keras.optimizers.SGD(1e-2))
        model.compile(optimizer, loss="sparse_categorical_crossentropy")
    ```
    """
    check_plan(plan)
    config = one_optimizer(optimizer).get_config()
    if isinstance(config["learning_rate"], dict) or any(group.schedule is not None for group in plan.groups):
        raise ValueError("A MultiOptimizer has one number per group and cannot express a schedule times a multiplier.")
    numbers = [
        name for name, value in config.items() if isinstance(value, (int, float)) and not isinstance(value, bool)
    ]
    check_axes(
        plan,
        {*numbers, "weight_decay"} - {"learning_rate", "clipnorm"},
        "a MultiOptimizer has only one optimizer with fixed numbers per group",
        "Keep difflr's optimizer, or leave it out of the plan.",
    )
    paths = [row.variable.path for row in plan.rows if not row.frozen]
    twice = sorted({path for path in paths if paths.count(path) > 1})
    if twice and len(plan.groups) > 1:
        raise ValueError(
            f"A MultiOptimizer identifies variables by `variable.path`, but several have the same: {twice[0]}."
        )
    copies = {}
    for group in plan.groups:
        decay = group_decay(group, config.get("weight_decay") or 0.0, "effective_rate")
        own = {**group.hyperparameters, "learning_rate": config["learning_rate"] * group.multiplier}
        own["weight_decay"] = decay or None
        copies["|".join(re.escape(row.variable.path) for row in group.rows)] = _copy(optimizer, config, own)
    _freeze(plan)
    return keras.optimizers.MultiOptimizer(keras.optimizers.OptimizerMap(_copy(optimizer, config, {}), copies))


def _freeze(plan: Plan) -> None:
    for row in plan.rows:
        if row.frozen:
            row.variable.trainable = False
    for layer in plan.kept_statistics() if plan.frozen_statistics == "keep" else ():
        layer.trainable = False


def _copy(optimizer: Any, config: dict[str, Any], own: dict[str, Any]) -> Any:
    if not own.get("weight_decay", True) and config.get("weight_decay") is not None:
        own = {**own, "weight_decay": 0.0}  # AdamW takes no None
    copy = type(optimizer).from_config({**config, **own})
    keras_private.copy_weight_decay_exclusions(optimizer, copy)
    return copy

"""Convert plans to and from plain data and YAML, row by row, keyed by layer-tree path."""

import json
from typing import Any

import keras

from difflr.plan import Plan
from difflr.yaml_text import read_yaml, write_yaml


def plan_to_dict(plan: Plan) -> dict[str, Any]:
    """Convert a plan to plain data, the content of `plan.to_json()`.

    Args:
        plan: A plan.

    Example:

    ```python
    plan = difflr.Plan(model, {"backbone": 0.1})
    assert difflr.interop.plan_from_dict(model, difflr.interop.plan_to_dict(plan)) == plan
    ```
    """
    return json.loads(plan.to_json())


def plan_from_dict(model: keras.Layer, data: dict[str, Any]) -> Plan:
    """Restore a plan for `model` from the output of `plan_to_dict`.

    Args:
        model: A built model with the same layer tree.
        data: Plain data.

    Raises:
        ValueError: If it is not a plan, or the model has changed.
    """
    try:
        text = json.dumps(data)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"`data` is not a plan: {error}") from None
    return Plan.from_json(model, text)


def plan_to_yaml(plan: Plan) -> str:
    """Convert a plan to YAML, to read and edit by hand.

    Args:
        plan: A plan.

    Raises:
        ImportError: If PyYAML is not installed: `pip install "difflr[yaml]"`.

    Example:

    ```python
    plan = difflr.Plan(model, {"backbone": 0.1})
    text = difflr.interop.plan_to_yaml(plan)
    assert difflr.interop.plan_from_yaml(model, text.replace("multiplier: 0.1", "multiplier: 0.2")) != plan
    ```
    """
    return write_yaml(plan_to_dict(plan))


def plan_from_yaml(model: keras.Layer, text: str) -> Plan:
    """Restore a plan for `model` from the output of `plan_to_yaml`.

    Args:
        model: A built model with the same layer tree.
        text: YAML without aliases (`*name`): plans do not need them, and they let small files expand to huge ones.

    Raises:
        ValueError: If it is not a plan, or the model has changed.
        ImportError: If PyYAML is not installed: `pip install "difflr[yaml]"`.
    """
    return plan_from_dict(model, read_yaml(text))

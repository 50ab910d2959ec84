"""A plan as plain data and as YAML, row by row, keyed by layer-tree path."""

import json
from typing import Any

import keras

from difflr.plan import Plan
from difflr.yaml_text import read_yaml, write_yaml


def plan_to_dict(plan: Plan) -> dict[str, Any]:
    """The plan as plain data: what `plan.to_json()` writes.

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
    """The plan that `plan_to_dict` wrote, for `model`.

    Args:
        model: A built model with the same layer tree.
        data: Plain data.

    Raises:
        ValueError: If it is no plan, or the model has changed.
    """
    try:
        text = json.dumps(data)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"This is not the data of a plan: {error}") from None
    return Plan.from_json(model, text)


def plan_to_yaml(plan: Plan) -> str:
    """The plan as YAML, to be read and edited by people.

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
    """The plan that `plan_to_yaml` wrote, for `model`.

    Args:
        model: A built model with the same layer tree.
        text: YAML, without aliases (`*name`), which plans do not need and with which small files can mean huge ones.

    Raises:
        ValueError: If it is no plan, or the model has changed.
        ImportError: If PyYAML is not installed: `pip install "difflr[yaml]"`.
    """
    return plan_from_dict(model, read_yaml(text))

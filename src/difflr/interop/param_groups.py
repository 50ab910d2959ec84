"""Lists of parameter groups, as in `torch.optim` and Hugging Face's trainers."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import keras

from difflr.checks import checked_number, checked_rate, did_you_mean, shown, wrong_type
from difflr.interop.big_vision import flax_name
from difflr.interop.translation import Decision, Translation, torch_name, translate
from difflr.plan import Plan, Row

_FIELDS = ("params", "param_names", "lr", "initial_lr", "lr_scale", "weight_decay", "name", "group_name")
# Arguments of torch's optimizers that a plan can set for each group, and their names in Keras.
_HYPERPARAMETERS = {"betas": ("beta_1", "beta_2"), "momentum": ("momentum",), "eps": ("epsilon",)}
# Arguments of torch's optimizers that apply to all groups of a plan, and those that change only the speed.
_OF_OPTIMIZER = ("amsgrad", "nesterov", "dampening", "maximize", "alpha", "centered", "lr_decay", "momentum_decay")
_SPEED = ("foreach", "fused", "capturable", "differentiable", "decoupled_weight_decay")
_KNOWN = (*_FIELDS, *_HYPERPARAMETERS, *_OF_OPTIMIZER, *_SPEED)


def from_param_groups(
    groups: Any, model: keras.Layer, *, learning_rate: float | None = None, weight_decay: float | None = None
) -> Translation:
    """Convert a list of parameter groups to a plan, such as Hugging Face's `optimizer_grouped_parameters`.

    Groups inherit unset values from the optimizer. The plan freezes variables in no group, which torch never trains.

    Args:
        groups: Dictionaries with `params`, and `lr` and `weight_decay`, absolute numbers; timm's and BEiT's `lr_scale`;
            `betas`, `eps` and `momentum`. `params` is a list of Keras variables, their names (PyTorch's, Flax's, or
            layer-tree paths), torch parameters of the model, or pairs of a name and a parameter. Or an optimizer of
            `torch.optim`.
        model: A built Keras model.
        learning_rate: Float > 0, the optimizer's `lr`. Not needed with an optimizer of `torch.optim`.
        weight_decay: Float, the optimizer's `weight_decay`. Default: 0, or that of the optimizer.

    Returns:
        A `difflr.interop.Translation`. Its notes name what belongs to the optimizer, not to a group.

    Raises:
        ValueError: If a group sets anything else, a variable is in two groups, a decay differs while the base is 0, or a
            number is out of range.
        TypeError: If `groups` or a parameter is anything else.

    Example:

    ```python
    names = [row.path for row in difflr.Plan(model).rows]
    groups = [
        {"params": [name for name in names if not name.endswith("bias")], "weight_decay": 0.01},
        {"params": [name for name in names if name.endswith("bias")], "weight_decay": 0.0},
    ]
    translation = difflr.interop.from_param_groups(groups, model, learning_rate=5e-5, weight_decay=0.01)
    optimizer = difflr.optimizers.AdamW(5e-5, weight_decay=0.01, multipliers=translation.plan)
    ```

    Reference: `Optimizer.add_param_group` in `torch/optim/optimizer.py`; `create_optimizer` in Hugging Face's
    `trainer.py`; `get_parameter_groups` in BEiT's `optim_factory.py`.
    """
    listed = _listed(groups)
    notes = []
    if hasattr(groups, "param_groups"):
        rates = [group.get("initial_lr", group["lr"]) for group in listed]
        learning_rate = float(groups.defaults["lr"] or max(rates)) if learning_rate is None else learning_rate
        decays = [groups.defaults.get("weight_decay", 0.0), *(group.get("weight_decay", 0.0) for group in listed)]
        weight_decay = (decays[0] or max(decays)) if weight_decay is None else weight_decay
        notes = _notes_on(groups, weight_decay)
    base, decay = checked_rate(learning_rate, "learning_rate"), checked_number(weight_decay or 0.0, "weight_decay")
    shared = _shared(listed)
    notes += [f"arguments of the optimizer, not in the plan: {', '.join(shared)}"] if shared else []
    axes = [_axes(number, group, base, decay, shared) for number, group in enumerate(listed)]
    rows = _Rows(model)
    decided: dict[int, Decision] = {}
    settings: list[str] = []
    for number, group in enumerate(listed):
        for parameter in _parameters(number, group):
            row, name = rows.find(parameter)
            settings.append(f"{name} (group {number})")
            if row is not None and id(row.variable) in decided:
                raise ValueError(f"{settings[-1]} is in a group already: {', '.join(decided[id(row.variable)][1])}.")
            if row is not None:
                decided[id(row.variable)] = axes[number], settings[-1:]

    if settings and not decided:
        hint = did_you_mean(settings[0].split(" (")[0], [torch_name(row) for row in Plan(model).rows], 1)
        raise ValueError(f"None of the parameters in the groups is in the model: {settings[0]}, ... .{hint}")

    def decide(row: Row) -> Decision:
        return decided.get(id(row.variable), ({"frozen": True}, ["in no group: not trained"]))

    translation = translate("parameter groups", model, decide, settings, notes=notes, name_of=torch_name)
    return dataclasses.replace(translation, learning_rate=base)


class _Rows:
    """The rows of a model, by variable, torch parameter and name."""

    def __init__(self, model: keras.Layer):
        self._found: dict[Any, Row] = {}
        for row in Plan(model).rows:
            names = (row.path, *row.aliases, torch_name(row), flax_name(row))
            keys = (id(row.variable), id(row.variable.value), *names)
            self._found.update(dict.fromkeys(keys, row))

    def find(self, parameter: Any) -> tuple[Row | None, str]:
        """The row of a parameter, and the name to report it by."""
        for key in parameter if isinstance(parameter, tuple) else (parameter,):
            row = self._found.get(key if isinstance(key, str) else id(key))
            if row is not None:
                return row, key if isinstance(key, str) else row.path
        name = parameter[0] if isinstance(parameter, tuple) else parameter
        if isinstance(name, str):
            return None, name
        if hasattr(name, "path"):
            return None, name.path
        raise wrong_type("`params`", "variables of the model or their names", name)


def _listed(groups: Any) -> list[Mapping[str, Any]]:
    """The groups of a list, of an optimizer of torch, or of a dictionary from name to group."""
    groups = getattr(groups, "param_groups", groups)
    if isinstance(groups, Mapping) and "params" not in groups:
        groups = groups.values()
    if isinstance(groups, (str, Mapping)) or not isinstance(groups, Iterable):
        raise wrong_type("`groups`", "a list of dictionaries with `params`, or an optimizer of torch.optim", groups)
    listed = list(groups)
    for number, group in enumerate(listed):
        if not isinstance(group, Mapping) or "params" not in group:
            raise wrong_type(f"Group {number}", "a dictionary with `params`", group)
        unknown = next((name for name in group if name not in _KNOWN), None)
        if unknown is not None:
            raise ValueError(f"Group {number} has the unknown field {shown(unknown)}.{did_you_mean(unknown, _KNOWN)}")
    return listed


def _parameters(number: int, group: Mapping[str, Any]) -> Iterator[Any]:
    """The parameters of a group, as pairs where it has their names."""
    parameters = group["params"]
    if isinstance(parameters, keras.Layer):
        raise wrong_type(f"`params` of group {number}", "a list, such as layer.trainable_variables", parameters)
    if (
        isinstance(parameters, (str, keras.Variable))
        or not isinstance(parameters, Iterable)
        or hasattr(parameters, "grad")
    ):
        parameters = [parameters]
    names = group.get("param_names")
    if names:
        parameters = list(parameters)
        if len(names) != len(parameters):
            raise ValueError(f"Group {number} has {len(names)} `param_names` for {len(parameters)} `params`.")
    for position, parameter in enumerate(parameters):
        if names:
            yield names[position], parameter
        elif isinstance(parameter, int):
            raise ValueError(
                f"Group {number} has numbers instead of parameters, as in `optimizer.state_dict()`. Pass the optimizer, or "
                "add `param_names`."
            )
        else:
            yield tuple(parameter) if isinstance(parameter, list) else parameter


def _shared(groups: list[Mapping[str, Any]]) -> list[str]:
    """The arguments that all groups set alike, which are the optimizer's; its speed is left out."""
    names = [name for name in groups[0] if name not in _FIELDS] if groups else []
    alike = [name for name in names if all(group.get(name, groups) == groups[0][name] for group in groups)]
    return [
        f"{name}={groups[0][name]}" for name in alike if name not in _SPEED and groups[0][name] not in (None, False, 0)
    ]


def _axes(number: int, group: Mapping[str, Any], base: float, decay: float, shared: list[str]) -> dict[str, Any]:
    """What a group sets for its variables."""
    own = {name: value for name, value in group.items() if name not in (*_FIELDS, *_SPEED)}
    own = {name: value for name, value in own.items() if f"{name}={value}" not in shared}
    fixed = next((name for name, value in own.items() if name not in _HYPERPARAMETERS and value), None)
    if fixed is not None:
        raise ValueError(f"Group {number} sets {fixed}, which in Keras applies to all variables.")
    rate = checked_number(group.get("initial_lr", group.get("lr", base)), f"lr of group {number}")
    scale = checked_number(group.get("lr_scale", 1.0), f"lr_scale of group {number}")
    axes: dict[str, Any] = {"multiplier": rate * scale / base}
    own_decay = checked_number(group.get("weight_decay", decay), f"weight_decay of group {number}")
    if own_decay and not decay:
        raise ValueError(f"`weight_decay` is 0, so no multiplier gives {own_decay:g} (group {number}). Set the base.")
    if decay:
        axes["weight_decay_multiplier"] = own_decay / decay
    betas = own.get("betas", (0, 0))
    if not isinstance(betas, (list, tuple)) or len(betas) != 2:
        raise wrong_type(f"`betas` of group {number}", "a pair of numbers", betas)
    hyperparameters = {
        keras_name: number
        for name, value in own.items()
        if name in _HYPERPARAMETERS
        for keras_name, number in zip(_HYPERPARAMETERS[name], value if name == "betas" else (value,), strict=True)
    }
    return {**axes, "hyperparameters": hyperparameters} if hyperparameters else axes


def _notes_on(optimizer: Any, weight_decay: float) -> list[str]:
    """What there is to know about an optimizer of torch."""
    name = type(optimizer).__name__
    decoupled = optimizer.defaults.get("decoupled_weight_decay", name == "AdamW")
    notes = [f"the optimizer is torch.optim.{name}: take difflr's with the rate below; a scheduler is not read"]
    notes += [f"the base weight decay is {weight_decay:g}"] if weight_decay else []
    notes += (
        []
        if decoupled or not weight_decay
        else [f"in torch's {name} weight decay is part of the gradient, in Keras's not"]
    )
    return notes

"""The parameters of a Caffe training net: their multipliers and which layers share them."""

import dataclasses
from collections.abc import Iterable
from typing import Any

TRAIN = 0  # of the enum `Phase`
_TYPES_WITH_WEIGHTS = ("Convolution", "Deconvolution", "InnerProduct", "Embed", "Scale", "PReLU", "LSTM")
RATES = ("lr_mult", "decay_mult")


@dataclasses.dataclass
class CaffeParameter:
    """The values of `param { ... }`, with Caffe's default of 1 for unset ones.

    Args:
        name: `conv1 param 0`, for reports.
        lr_mult: The learning-rate multiplier.
        decay_mult: The weight-decay multiplier.
        explicit: Which of the two the file sets.
    """

    name: str
    lr_mult: float = 1.0
    decay_mult: float = 1.0
    explicit: set[str] = dataclasses.field(default_factory=set)


@dataclasses.dataclass(frozen=True)
class CaffeLayer:
    """A layer of the net.

    Args:
        name: Its name.
        type: Its type, empty in old formats.
        parameters: The parameters with their own `param`, by index: 0 for weights, 1 for the bias.
        normalizes: For a Scale layer, the BatchNorm layer it follows; in Keras the two are one layer.
        stops_gradient: Whether it has `propagate_down: false` for an input other than data.
        fixed_statistics: Whether it normalizes by stored statistics while training (`use_global_stats: true`).
    """

    name: str
    type: str
    parameters: tuple[CaffeParameter, ...]
    normalizes: str | None = None
    stops_gradient: bool = False
    fixed_statistics: bool = False

    @property
    def has_weights(self) -> bool:
        """Whether its parameters can have a learning rate; BatchNorm statistics have none."""
        return bool(self.parameters or self.type in _TYPES_WITH_WEIGHTS) and self.type != "BatchNorm"


def layers_in_training(net: Any, solver: Any = None) -> list[CaffeLayer]:
    """The layers of the training net, with the multipliers of their parameters.

    Args:
        net: The result of `read_net`.
        solver: The result of `read_solver`. Its `train_state` also selects layers.

    Raises:
        ValueError: If layers that share a parameter set different values; Caffe refuses this too.

    Reference: `FilterNet` and `AppendParam` in Caffe's `net.cpp`; `UpgradeV0LayerParameter` and
    `UpgradeV1LayerParameter` in `upgrade_proto.cpp`.
    """
    states = [net.state] + ([solver.train_state] if solver is not None else [])
    shared: dict[str, CaffeParameter] = {}
    producers: dict[str, Any] = {}
    data: set[str] = set()  # the blobs that no weights come before, such as labels
    result = []
    for layer in [*net.layer, *net.layers]:
        if not _is_included(layer, states):
            continue
        # In the oldest format (V0) the layer is nested in `layers`, next to its bottoms and tops.
        own = layer.layer if hasattr(layer, "layer") and layer.HasField("layer") else layer
        kind = getattr(layer, "type", "")
        below = producers.get(layer.bottom[0]) if layer.bottom else None
        completes = below.name if kind == "Scale" and below is not None and below.type == "BatchNorm" else None
        parameters = [
            _shared(shared, shared_name, CaffeParameter(f"{own.name} param {position}", explicit=set(rates), **rates))
            for position, (shared_name, rates) in enumerate(_specs(layer, own))
        ]
        propagates = [*getattr(layer, "propagate_down", ()), *(True for _ in layer.bottom)]
        stops = any(blob not in data and not flag for blob, flag in zip(layer.bottom, propagates, strict=False))
        settings = [getattr(layer, name, None) for name in ("batch_norm_param", "bn_param")]
        fixed = any(part is not None and (part.use_global_stats or part.frozen) for part in settings)
        result.append(CaffeLayer(own.name, kind, tuple(parameters), completes, stops, fixed))
        producers.update(dict.fromkeys(layer.top, layer))
        if not result[-1].has_weights and data.issuperset(layer.bottom):
            data.update(layer.top)
    return result


def _specs(layer: Any, own: Any) -> list[tuple[str, dict[str, float]]]:
    """For each parameter of a layer, in any format: its name and the rates in the file."""
    if hasattr(own, "blobs_lr"):
        number = max(len(own.blobs_lr), len(own.weight_decay), len(layer.param))
        return [
            (
                layer.param[position] if position < len(layer.param) else "",
                {
                    axis: values[position]
                    for axis, values in zip(RATES, (own.blobs_lr, own.weight_decay), strict=True)
                    if position < len(values)
                },
            )
            for position in range(number)
        ]
    return [(spec.name, {axis: getattr(spec, axis) for axis in RATES if spec.HasField(axis)}) for spec in layer.param]


def _shared(known: dict[str, CaffeParameter], name: str, parameter: CaffeParameter) -> CaffeParameter:
    """The parameter with that name; later layers can set what the first left unset."""
    if not name:
        return parameter
    owner = known.setdefault(name, parameter)
    for axis in parameter.explicit:
        if axis in owner.explicit and getattr(owner, axis) != getattr(parameter, axis):
            raise ValueError(
                f"The shared parameter '{name}' has different values of `{axis}`: {owner.name} sets "
                f"{getattr(owner, axis):g}, {parameter.name} sets {getattr(parameter, axis):g}. Caffe refuses this too."
            )
        setattr(owner, axis, getattr(parameter, axis))
        owner.explicit.add(axis)
    return owner


def _is_included(layer: Any, states: Iterable[Any]) -> bool:
    if layer.include:
        return any(_meets(rule, states) for rule in layer.include)
    return not any(_meets(rule, states) for rule in layer.exclude)


def _meets(rule: Any, states: Iterable[Any]) -> bool:
    """Whether the training net meets an `include` or `exclude` rule."""
    with_level = [state for state in states if state.HasField("level")]
    level = with_level[-1].level if with_level else 0
    stages = {stage for state in states for stage in state.stage}
    return (
        not (rule.HasField("phase") and rule.phase != TRAIN)
        and not (rule.HasField("min_level") and level < rule.min_level)
        and not (rule.HasField("max_level") and level > rule.max_level)
        and stages.issuperset(rule.stage)
        and stages.isdisjoint(rule.not_stage)
    )

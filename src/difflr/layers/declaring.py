"""Keras layers that declare their own multipliers: mixins, and the classes to mix them into."""

import inspect
import numbers
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from difflr import keras_private
from difflr.checks import checked_multiplier, did_you_mean, shown
from difflr.plan import declared, freezing
from difflr.plan.layer_tree import walk
from difflr.plan.variable_mapping import VariableMapping
from difflr.signatures import joined_signature, with_nearest_argument

_FIXED = ("learning_rate_multiplier", "W_learning_rate_multiplier", "b_learning_rate_multiplier", "multipliers")


class DeclaresMultipliers(keras_private.AfterBuild):
    """Add `learning_rate_multiplier` to a Keras layer and change nothing else.

    Args:
        learning_rate_multiplier: Float >= 0 for all trainable weights of the layer and its sublayers, or a
            mapping from weight name (`"gamma"`, `"recurrent_kernel"`) to float. The effective rate of a weight is the
            optimizer's rate times this. 0 freezes. Defaults to `None`: no multiplier.

    Raises:
        ValueError: If a multiplier is negative, not finite or not a number; on build, if a named weight does not exist or
            the layer has no trainable weights.

    Example:

    ```python
    import difflr
    from difflr.layers import LayerNormalization

    layer = LayerNormalization(learning_rate_multiplier={"gamma": 0.1, "beta": 0.0})
    layer.build((None, 4))
    assert layer.multipliers[layer.gamma] == 0.1
    ```

    Reference: the original request for Keras 2; Caffe's `param { lr_mult: ... }` in the layer (`ParamSpec` in
    caffe.proto).
    """

    def __init__(self, *args: Any, learning_rate_multiplier: Any = None, **kwargs: Any):
        declaration = _checked_declaration(learning_rate_multiplier)
        try:
            super().__init__(*args, **kwargs)
        except (TypeError, ValueError) as error:
            known = inspect.signature(type(self)).parameters
            raise with_nearest_argument(error, kwargs, known) from None
        self._declare({"learning_rate_multiplier": declaration})

    def _declare(self, declarations: dict[str, Any]) -> None:
        given = {name: value for name, value in declarations.items() if value is not None}
        self._multiplier_declarations = _Declarations(given)
        if self.built:
            self._check_declarations()

    def after_build(self) -> None:
        """Checks that every declared weight exists, and records on the weights that the layer declares them."""
        if hasattr(self, "_multiplier_declarations"):  # a layer without `build` is built in its constructor
            self._check_declarations()

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _FIXED and not _is_same(value, getattr(self, name, None)):
            raise AttributeError(
                f"`{name}` of {type(self).__name__} cannot be set: a layer declares its multipliers when it is made. "
                f"Received: {shown(value)}. Give it to the constructor, super().__init__({name}=...), or give the optimizer "
                "a rule: multipliers={layer: ...}."
            )
        if name not in _FIXED:
            super().__setattr__(name, value)
        declares = getattr(self, "_multiplier_declarations", None)
        if isinstance(value, keras.Variable) and declares and declares.given:
            declared.stamp([value], self)  # `enable_lora` and similar add weights after the build

    @property
    def learning_rate_multiplier(self) -> Any:
        """The argument; it cannot be set later."""
        return self._multiplier_declarations.given.get("learning_rate_multiplier")

    @property
    def multipliers(self) -> VariableMapping:
        """Variable -> declared multiplier, for the weights that have one. Empty before the layer is built."""
        return VariableMapping(
            [
                (variable, value)
                for variable, names in _weights(self)
                if (value := self._declared_for(names)) is not None
            ]
        )

    def _declared_for(self, names: tuple[str, ...]) -> float | None:
        """The multiplier of the weight with these `names` (its name and its path inside the layer)."""
        declaration = self._multiplier_declarations.given.get("learning_rate_multiplier")
        if isinstance(declaration, Mapping):
            return next((declaration[name] for name in names if name in declaration), None)
        return declaration

    def _check_declarations(self) -> None:
        given = self._multiplier_declarations.given
        if not given:
            return
        weights = _weights(self)
        declared.stamp([variable for variable, _ in weights], self)
        name = f"{type(self).__name__} '{self.name}'"
        if not weights:
            raise ValueError(f"{name} has no trainable weights, so `{next(iter(given))}` would have no effect.")
        declaration = given.get("learning_rate_multiplier")
        known = [name for _, names in weights for name in names]
        for weight in declaration if isinstance(declaration, Mapping) else ():
            if weight not in known:
                hint = did_you_mean(str(weight), dict.fromkeys(known))
                raise ValueError(
                    f"{name} has no trainable weight named '{weight}'. Expected: {', '.join(dict.fromkeys(known))}.{hint}"
                )
        for variable, multiplier in self.multipliers.items():
            if multiplier == 0:
                freezing.set_frozen(variable, True)
        for leaf in walk(self):  # frozen completely: do not update moving statistics, as in a plan
            layer = leaf.layer
            if isinstance(layer, keras.layers.BatchNormalization) and freezing.layer_frozen_by_plan(layer):
                freezing.set_frozen(layer, True)

    def get_config(self) -> dict[str, Any]:
        """The layer's config with its declared multipliers, 0.0 included."""
        return {**super().get_config(), **self._multiplier_declarations.as_config()}


class DeclaresKernelAndBias(DeclaresMultipliers):
    """Add the two arguments of the original request to a convolution or `Dense`.

    Args:
        W_learning_rate_multiplier: Float >= 0 for the kernel (both kernels of a separable convolution).
        b_learning_rate_multiplier: Float >= 0 for the bias.
        learning_rate_multiplier: As in all layers. The two above are more specific and override a number here.

    Raises:
        ValueError: As in all layers; also if a weight is declared twice by name, or `b_learning_rate_multiplier` is
            set but the layer has no bias.

    Example:

    ```python
    from difflr.layers import Dense

    layer = Dense(4, W_learning_rate_multiplier=0.1, b_learning_rate_multiplier=0.2)
    layer.build((None, 3))
    assert layer.multipliers[layer.kernel] == 0.1
    assert layer.multipliers[layer.bias] == 0.2
    ```
    """

    def __init__(
        self,
        *args: Any,
        W_learning_rate_multiplier: float | None = None,
        b_learning_rate_multiplier: float | None = None,
        learning_rate_multiplier: Any = None,
        **kwargs: Any,
    ):
        short = {
            name: None if value is None else checked_multiplier(value, name)
            for name, value in (
                ("W_learning_rate_multiplier", W_learning_rate_multiplier),
                ("b_learning_rate_multiplier", b_learning_rate_multiplier),
            )
        }
        if isinstance(learning_rate_multiplier, Mapping):
            for weight in learning_rate_multiplier:
                name = "b_learning_rate_multiplier" if weight == "bias" else "W_learning_rate_multiplier"
                if short[name] is not None:
                    raise ValueError(
                        f"The weight '{weight}' is declared twice: by `learning_rate_multiplier` and by `{name}`. "
                        "Leave one out."
                    )
        super().__init__(*args, learning_rate_multiplier=learning_rate_multiplier, **kwargs)
        self._declare({**short, **self._multiplier_declarations.given})

    @property
    def W_learning_rate_multiplier(self) -> float | None:
        """The argument; it cannot be set later."""
        return self._multiplier_declarations.given.get("W_learning_rate_multiplier")

    @property
    def b_learning_rate_multiplier(self) -> float | None:
        """The argument; it cannot be set later."""
        return self._multiplier_declarations.given.get("b_learning_rate_multiplier")

    def _declared_for(self, names: tuple[str, ...]) -> float | None:
        short = "b_learning_rate_multiplier" if names[0] == "bias" else "W_learning_rate_multiplier"
        value = self._multiplier_declarations.given.get(short)
        return super()._declared_for(names) if value is None else value

    def _check_declarations(self) -> None:
        super()._check_declarations()
        declares_bias = "b_learning_rate_multiplier" in self._multiplier_declarations.given
        if declares_bias and not any(names[0] == "bias" for _, names in _weights(self)):
            raise ValueError(
                f"{type(self).__name__} '{self.name}' has no bias (use_bias=False), "
                "so `b_learning_rate_multiplier` would have no effect."
            )


class _Declarations:
    """The declared multipliers, in a plain object because Keras would track and wrap a dict."""

    def __init__(self, given: dict[str, Any]):
        self.given = given

    def as_config(self) -> dict[str, Any]:
        """Plain data for `get_config`."""
        return {name: dict(value) if isinstance(value, Mapping) else value for name, value in self.given.items()}


def _is_same(value: Any, declared_value: Any) -> bool:
    return value is declared_value or (isinstance(value, (numbers.Real, dict)) and value == declared_value)


def _checked_declaration(declaration: Any) -> Any:
    if declaration is None:
        return None
    if isinstance(declaration, Mapping):
        if not declaration:
            raise ValueError(
                "`learning_rate_multiplier` must name at least one weight, such as {'kernel': 0.1}. Received: {}."
            )
        return {
            str(name): checked_multiplier(value, f"learning_rate_multiplier of '{name}'")
            for name, value in declaration.items()
        }
    return checked_multiplier(declaration, "learning_rate_multiplier")


def _weights(layer: Any) -> list[tuple[keras.Variable, tuple[str, ...]]]:
    """The trainable variables of `layer` and its sublayers: `(variable, (name, path inside the layer))`."""
    return [
        (leaf.variable, tuple(dict.fromkeys([leaf.path.split("/")[-1], leaf.path])))
        for leaf in walk(layer)
        if leaf.variable is not None
    ]


# Keras creates weights in `build`, so a layer class without its own `build` has none. Exceptions,
# which `tests/layers/test_layer_classes.py` compares with the installed Keras:
WITHOUT_WEIGHTS = {  # these only check or configure in `build`
    *("Add", "Average", "Concatenate", "Dot", "Maximum", "Minimum", "Multiply", "Subtract"),
    *("AugMix", "RandAugment", "RandomColorJitter", "TextVectorization"),
}
WITHOUT_BUILD = {"TFSMLayer", "TorchModuleWrapper"}  # these have weights from outside Keras


def owns_weights(cls: type[keras.layers.Layer]) -> bool:
    """Whether layers of `cls`, a class of `keras.layers`, have weights, directly or in sublayers."""
    builds = cls.build is not keras.layers.Layer.build
    return (builds or cls.__name__ in WITHOUT_BUILD) and cls.__name__ not in WITHOUT_WEIGHTS


def classes_with_weights() -> dict[str, type[keras.layers.Layer]]:
    """The classes of `keras.layers` with weights, under all their names (`Conv2D`, `Convolution2D`)."""
    return {
        name: cls
        for name, cls in vars(keras.layers).items()
        if inspect.isclass(cls)
        and issubclass(cls, keras.layers.Layer)
        and not issubclass(cls, keras.Model)
        and owns_weights(cls)
    }


def declaring_class(base: type) -> type:
    """The class `base` with declared multipliers.

    Args:
        base: A Keras layer class. If it has `kernel` and `bias` (convolutions, `Dense`), the two
            original arguments are added too.
    """
    kernel_and_bias = (
        "use_bias" in inspect.signature(base.__init__).parameters
        and ("Conv" in base.__name__ or base.__name__ == "Dense")
        and "LSTM" not in base.__name__
    )
    mixin = DeclaresKernelAndBias if kernel_and_bias else DeclaresMultipliers
    name = base.__name__
    namespace = {
        "__module__": "difflr.layers",
        "__qualname__": name,
        "__doc__": _doc(base, mixin),
        "__signature__": joined_signature(base, mixin),
    }
    cls = type(name, (mixin, base), namespace)
    return keras.saving.register_keras_serializable(package="difflr")(cls)


def _doc(base: type, mixin: type) -> str:
    own = inspect.cleandoc(mixin.__doc__ or "")
    names = "`W_learning_rate_multiplier`, `b_learning_rate_multiplier` and " if mixin is DeclaresKernelAndBias else ""
    return (
        f"`keras.layers.{base.__name__}` that also takes {names}`learning_rate_multiplier`.\n\n"
        f"{own.split(chr(10), 1)[1].strip()}\n\nEverything else is as in Keras:\n\n{inspect.cleandoc(base.__doc__ or '')}"
    )


def warn_if_ignored(optimizer: keras.optimizers.Optimizer, variables: Sequence[keras.Variable]) -> None:
    """Warn that `optimizer` will ignore multipliers.

    Args:
        optimizer: An optimizer that is about to be built, not a differential one. A wrapper ignores nothing.
        variables: What it will train.
    """
    if any(hasattr(optimizer, name) for name in ("inner_optimizer", "optimizers")):
        return
    trained = {id(variable) for variable in variables}
    names = [
        layer.name
        for layer in declared.declaring_layers(variables)
        if any(id(variable) in trained and value not in (0, 1) for variable, value in layer.multipliers.items())
    ]
    if names:
        who = f"'{names[0]}' declares" if len(names) == 1 else f"'{names[0]}' and {len(names) - 1} more declare"
        warnings.warn(
            f"Layer {who} learning-rate multipliers, which Keras's {type(optimizer).__name__} ignores. Train with "
            "`difflr.optimizers.differential(optimizer)`, or use `difflr.Model` or `difflr.Sequential`, which convert it.",
            stacklevel=2,
        )

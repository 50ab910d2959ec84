"""`Model` and `Sequential` that report their multipliers and never ignore them."""

from typing import Any

import keras

from difflr import keras_private
from difflr.optimizers import DifferentialOptimizer, differential
from difflr.optimizers.unwrap import parts
from difflr.plan.declared import declared_multipliers
from difflr.plan.layer_tree import walk
from difflr.plan.variable_mapping import VariableMapping
from difflr.signatures import check_keywords


class UsesMultipliers:
    """The additions of `difflr.Model` and `difflr.Sequential` to Keras's classes."""

    @property
    def multipliers(self) -> VariableMapping:
        """Variable -> the multiplier its layer declares, for all layers, nested ones included.

        Raises:
            ValueError: If two layers declare different multipliers for one variable.
        """
        leaves = [leaf for leaf in walk(self) if leaf.variable is not None]  # type: ignore[arg-type]
        paths = {id(leaf.variable): leaf.path for leaf in leaves}
        declared = declared_multipliers([leaf.variable for leaf in leaves])
        return VariableMapping(
            [(leaves[position].variable, value) for position, (value, _) in sorted(declared.items())],
            paths=lambda variable: paths[id(variable)],
        )

    def compile(self, optimizer: Any = "rmsprop", *args: Any, **kwargs: Any) -> None:
        """Compile as in Keras, with the differential version of `optimizer`.

        Args:
            optimizer: A difflr optimizer, or a stock optimizer or its name, which is converted so that declared
                multipliers are never silently ignored. A stock instance must not be built.
            *args: As in Keras.
            **kwargs: As in Keras.

        Raises:
            ValueError: If two layers declare different multipliers for one variable, or a stock optimizer is built.
        """
        check_keywords("compile", kwargs, UsesMultipliers.compile, keras.Model.compile)
        self.multipliers  # noqa: B018 - raises on conflicting declarations before anything is compiled
        optimizer = None if optimizer is None else differential(optimizer)
        for part in [] if optimizer is None else parts(optimizer):
            if isinstance(part, DifferentialOptimizer):
                part.bind(self)  # type: ignore[arg-type]
        super().compile(optimizer, *args, **kwargs)  # type: ignore[misc]

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compile a loaded model.

        Args:
            config: The result of `get_compile_config`.
        """
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.optimizer is not None and self.built:  # type: ignore[attr-defined]
            self.optimizer.build(self.trainable_variables)  # type: ignore[attr-defined]


@keras.saving.register_keras_serializable(package="difflr")
class Model(UsesMultipliers, keras.Model):
    """`keras.Model` with `.multipliers` and a `compile` that never ignores declared multipliers.

    Use it like `keras.Model`: with inputs and outputs, or as a base class.

    Args:
        *args: As in `keras.Model`.
        **kwargs: As in `keras.Model`.

    Example:

    ```python
    import keras
    import difflr
    from difflr.layers import Dense

    inputs = keras.Input((4,))
    x = Dense(8, activation="relu", W_learning_rate_multiplier=0.1, b_learning_rate_multiplier=0.2)(inputs)
    model = difflr.Model(inputs, Dense(2)(x))
    print(model.multipliers)
    model.compile("sgd", loss="mse")
    ```

    Reference: the original request's `Model.multipliers`.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:  # noqa: D102 - as in Keras
        if cls is Model and keras_private.functional_init_arguments(args, kwargs):
            return keras_private.Functional.__new__(Functional, *args, **kwargs)
        return super().__new__(cls, *args, **kwargs)

    def __init__(self, *args: Any, **kwargs: Any):
        if keras_private.functional_init_arguments(args, kwargs):
            _make_functional(type(self))
            keras_private.Functional.__init__(self, *args, **kwargs)
        else:
            super().__init__(*args, **kwargs)


def _make_functional(cls: type) -> type:
    """Insert `Functional` between a subclass and `Model`, as Keras does for its own classes.

    Keras would insert it below `Model` itself, and every other subclass would become functional.
    """
    if cls is Model:
        return Functional
    if issubclass(cls, Model) and not issubclass(cls, Functional):
        cls.__bases__ = tuple(map(_make_functional, cls.__bases__))
    return cls


@keras.saving.register_keras_serializable(package="difflr")
class Functional(Model, keras_private.Functional):
    """The class of `difflr.Model(inputs, outputs)`."""

    # Keras compares a class's constructor with this one to decide whether to save its layers.
    __init__ = keras_private.Functional.__init__


@keras.saving.register_keras_serializable(package="difflr")
class Sequential(UsesMultipliers, keras.Sequential):
    """`keras.Sequential` with `.multipliers` and a `compile` that never ignores declared multipliers.

    Args:
        *args: As in `keras.Sequential`.
        **kwargs: As in `keras.Sequential`.

    Example:

    ```python
    import keras
    import difflr
    from difflr.layers import Dense

    model = difflr.Sequential([keras.Input((4,)), Dense(8, learning_rate_multiplier=0.1), Dense(2)])
    print(model.multipliers)
    model.compile("adam", loss="mse")
    ```

    Reference: the original request's `Model.multipliers`.
    """

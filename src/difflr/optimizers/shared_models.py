"""A warning for a model that is trained by itself while the plan of a larger model freezes a part of it, as in a GAN."""

import functools
import warnings
import weakref
from typing import Any

import keras

from difflr.checks import listed
from difflr.plan import Plan
from difflr.plan.freezing import marked_frozen
from difflr.plan.targets import layers_inside

_WATCHED: weakref.WeakSet[Any] = weakref.WeakSet()


def watch_shared_models(plan: Plan) -> None:
    """Makes models inside the plan's model warn if they are trained by themselves while the plan freezes a part of them.

    A variable is frozen for all models that share it, and Keras says nothing if a step trains the rest of them.

    Args:
        plan: A plan that an optimizer has got.
    """
    if plan.model is None:
        return
    for model in layers_inside(plan.model):
        if isinstance(model, keras.Model) and model not in _WATCHED:
            _WATCHED.add(model)
            vars(model)["make_train_function"] = functools.partial(_make_train_function, model, plan.model.name)


def _make_train_function(model: keras.Model, outer: str, force: bool = False) -> Any:
    is_kept = keras.backend.backend() == "tensorflow" and model.train_function is not None and not force
    frozen = [] if is_kept else [variable.path for variable in model.variables if marked_frozen(variable)]
    if frozen:
        warnings.warn(
            f"'{model.name}' is trained without {listed(frozen)}: the plan of '{outer}', which contains it, freezes them. A "
            "variable is frozen for all models that share it. To train both in turns, write one training step with two "
            "optimizers, as in examples/gan.py.",
            stacklevel=3,
        )
    return type(model).make_train_function(model, force=force)

"""Layers and models: the layer tree, and who owns which variable."""

import functools

import keras
from keras.src.backend import compute_output_spec
from keras.src.models.functional import (
    Functional,  # the class behind `keras.Model(inputs, outputs)`
    functional_like_constructor,
)
from keras.src.models.model import functional_init_arguments
from keras.src.utils.naming import to_snake_case

__all__ = ["Functional", "functional_init_arguments", "to_snake_case"]


def sublayers(layer: keras.Layer) -> list[keras.Layer]:
    """The layers directly below `layer`, in Keras's order.

    The public `Model.layers` does not exist for plain layers with sublayers (`MultiHeadAttention`, `Bidirectional`,
    `LSTM`), and in a functional model it leaves out layers outside the graph.
    """
    return list(layer._flatten_layers(include_self=False, recursive=False))


def saves_its_layers(model: keras.Layer) -> bool:
    """Whether the config of `model` contains its layers with their names, as in functional and Sequential models.

    A subclass with its own constructor creates its layers in code.
    """
    if isinstance(model, Functional):
        return functional_like_constructor(type(model))
    return isinstance(model, keras.Sequential) and type(model).__init__ is keras.Sequential.__init__


def own_trainable_variables(layer: keras.Layer) -> list[keras.Variable]:
    """The variables that `layer` itself created as trainable, frozen ones included.

    `layer.trainable_variables` is empty once `layer.trainable = False`; a plan has to see frozen variables too.
    """
    return list(layer._trainable_variables)


def weights_with_lora(model: keras.Model) -> list[keras.Variable]:
    """All weights of the layers in which `enable_lora` was called."""
    layers = [layer for layer in model._flatten_layers() if getattr(layer, "lora_enabled", False)]
    return [weight for layer in layers for weight in layer.weights]


def base_of_lora(layer: keras.Layer) -> keras.Variable | None:
    """The variable that `layer.enable_lora` froze.

    It counts as frozen by the user, even if a plan had frozen the variable before.
    """
    if not getattr(layer, "lora_enabled", False):
        return None
    return layer._embeddings if isinstance(layer, keras.layers.Embedding) else layer._kernel


class AfterBuild:
    """Calls `after_build` at the end of a layer's build, also if a subclass overrides `build`."""

    def _post_build(self):
        super()._post_build()
        self.after_build()


def trace(model, shapes):
    """Calls a model on symbolic tensors, so that every layer in it is called.

    `model.compute_output_spec` only follows the graph of a functional model, not the layers inside layers.
    """
    tensors = [keras.KerasTensor(shape, dtype=tensor.dtype, name=tensor.name) for shape, tensor in shapes]
    several = isinstance(model, Functional) and isinstance(model.input, (list, tuple, dict))
    inputs = keras.tree.pack_sequence_as(model.input, tensors) if several else tensors[0]
    return compute_output_spec(functools.partial(model.call, training=False), inputs)


def let_trainable_be_set():
    """Makes `layer.trainable = True` reach the layers below it, also on TensorFlow.

    There `AutoTrackable.__setattr__` does nothing if an attribute already has the value, so `model.trainable = True` on a
    model whose own flag is `True` would not unfreeze the layers below, as it does on JAX and torch.
    """
    if keras.backend.backend() != "tensorflow" or "trainable" in getattr(keras.Layer.__setattr__, "always_sets", ()):
        return
    set_attribute = keras.Layer.__setattr__

    def __setattr__(self, name, value):
        if name == "trainable":
            keras.Layer.trainable.fset(self, value)
        else:
            set_attribute(self, name, value)

    __setattr__.always_sets = ("trainable",)
    keras.Layer.__setattr__ = __setattr__


def attributes(layer: keras.Layer) -> dict:
    """The attributes in which the code of `layer` keeps its layers and variables: name -> value.

    Without the attributes in which Keras and torch's `Module` store them a second time.
    """
    everything = {**vars(layer), **vars(layer).get("_modules", {})}
    return {name: value for name, value in everything.items() if name not in _KERAS_STORES}


# The attributes in which Keras and torch's Module store layers and variables a second time.
_KERAS_STORES = {
    "_layers",
    "_operations",
    "_operations_by_depth",
    "_tracked",
    "_modules",
    "_parameters",
    "_torch_params",
    "_trainable_variables",
    "_non_trainable_variables",
    "_metrics",
    "_seed_generators",
    "_losses",
    "_obj_reference_counts_dict",
    "_self_unconditional_dependency_names",
}

"""`fit`: compiled functions, callbacks, weights files."""

import contextlib
import functools
import inspect
import io

import keras
from keras.src.saving import saving_lib
from keras.src.utils.tracking import DotNotTrackScope

from difflr.keras_private.layers import weights_with_lora
from difflr.keras_private.optimizers import trained


def compile_arguments(model: keras.Model) -> dict:
    """The arguments with which a model was compiled, to compile it again; empty if it is not compiled.

    The public `get_compile_config` has them serialised, which losses and metrics that are plain functions do not survive.
    """
    return dict(model._compile_config.config) if model.compiled and hasattr(model, "_compile_config") else {}


def forget_metrics(model):
    """Takes away the metrics that `compile` was given, which another `compile` without any would leave in place."""
    if getattr(model, "_compile_metrics", None) is not None:
        vars(model)["_compile_metrics"] = None


def forget_step(model):
    """Makes Keras rebuild a model's compiled functions for the variables that its optimizer trains now.

    Needed beyond `train_function = None`: a `LossScaleOptimizer` has a list of its own; JAX would take a function that was
    compiled for variables of the same shapes in another order; and since Keras 3.16 `fit` in several processes of
    torch keeps a `DistributedDataParallel`, which waits for the gradients of those who were trainable when it was made.
    """
    if hasattr(model.optimizer, "inner_optimizer"):
        wrapper = model.optimizer
        trainable = trained(wrapper.inner_optimizer)
        with DotNotTrackScope():  # else the variables of the model would become variables of the optimizer
            wrapper._trainable_variables = trainable
        wrapper._trainable_variables_indices = {wrapper._var_key(v): position for position, v in enumerate(trainable)}
    model.train_function = model.test_function = model.predict_function = None
    if getattr(model, "ddp_model", None) is not None:
        model.ddp_model = None


def renew_step(model):
    """Rebuilds the compiled step for the variables that the optimizer trains now, also inside `fit`.

    `fit` calls `model.train_function`, and makes it only when it begins.
    """
    in_fit = model.train_function is not None
    forget_step(model)
    if in_fit:
        model.make_train_function(force=True)


def sync_state(model):
    """Writes JAX's state back into the variables: between batches, `fit` holds weights and optimizer state itself."""
    if hasattr(model, "jax_state_sync"):
        model.jax_state_sync()


def load_apart(wrapper):
    """Loads a `LossScaleOptimizer`'s own numbers, whatever its inner optimizer trains at that moment.

    Keras saves the state of the inner optimizer twice, and leaves out all of it, the loss scale too, if its length
    differs from that of the optimizer in memory; the inner one finds its state by itself.
    """
    wrapper.load_own_variables = functools.partial(_load_own_variables, wrapper)


def _load_own_variables(wrapper, store):
    for number, variable in enumerate(wrapper._variables):
        variable.assign(store[str(number)])


def callback_list():
    """The `CallbackList` that is calling a callback's `set_model` at this moment, or `None`.

    Keras shows a callback neither its neighbours nor its place among them, and what a callback adds to the logs is seen only
    by those after it. A required order could not be checked without the list either. So it is read from the caller.
    """
    caller = inspect.currentframe()
    while caller is not None and caller.f_code is not keras.callbacks.CallbackList.set_model.__code__:
        caller = caller.f_back
    return None if caller is None else caller.f_locals["self"]


def values_in_state(model: keras.Model, state: tuple) -> list:
    """`(variable, value)` for each variable in the state that a train function takes and returns on JAX.

    Inside `fit` the variables themselves hold no values there.
    """
    variables = (model.trainable_variables, model.non_trainable_variables, model.optimizer.variables)
    return [pair for group, values in zip(variables, state, strict=False) for pair in zip(group, values, strict=True)]


def weights_file(model):
    """The weights file of `model.save_weights`, as bytes.

    Needed because HDF5 crashes the whole process when the disk is full under a file of its own. Keras makes the
    weights inside a `.keras` file in memory as well.
    """
    memory = io.BytesIO()
    store = saving_lib.H5IOStore(memory, mode="w")
    saving_lib._save_state(model, weights_store=store, assets_store=None, inner_path="", visited_saveables=set())
    adapted = weights_with_lora(model)
    if adapted:
        entry = store.make(_LORA)
        for number, weight in enumerate(adapted):
            entry[str(number)] = keras.ops.convert_to_numpy(weight)
    store.close()
    return memory.getvalue()


_LORA = "difflr_lora"


def load_lora(model, path):
    """Loads what `weights_file` saved of layers with LoRA.

    Keras saves kernel and factors merged, and sets both factors to 0 when it loads: neither would have a gradient again.
    """
    adapted = weights_with_lora(model)
    if adapted:
        store = saving_lib.H5IOStore(path, mode="r")
        entry = store.get(_LORA)
        for number, weight in enumerate(adapted):
            weight.assign(entry[str(number)])
        store.close()


def begin_with_epoch(model, epoch):
    """Sets the epoch with which the next `fit` starts; `None`: its own `initial_epoch`.

    That is how Keras's own `BackupAndRestore` does it; it leaves the number behind, and the next `fit` takes it for its own.
    """
    model._initial_epoch = epoch


def strategy_scope(model):
    """The scope of TensorFlow's distribution strategy: an optimizer's new variables must be created in it."""
    strategy = getattr(model, "_distribute_strategy", None)
    return contextlib.nullcontext() if strategy is None else strategy.scope()

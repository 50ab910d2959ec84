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
    """The arguments of `compile`, to compile the model again; empty if it is not compiled.

    The public `get_compile_config` serializes them, which fails for losses and metrics that are plain functions.
    """
    return dict(model._compile_config.config) if model.compiled and hasattr(model, "_compile_config") else {}


def forget_metrics(model):
    """Removes the metrics of `compile`, which another `compile` without metrics would keep."""
    if getattr(model, "_compile_metrics", None) is not None:
        vars(model)["_compile_metrics"] = None


def renew_step(model):
    """Rebuilds the compiled functions for the variables that the optimizer trains now.

    `fit`, `evaluate` and `predict` make theirs only when they begin, and a callback may be inside one of them.

    `train_function = None` is not enough. A `LossScaleOptimizer` has its own list of variables. JAX would reuse a function
    compiled for variables of the same shapes in another order. Since Keras 3.16, `fit` in several torch processes
    keeps a `DistributedDataParallel`, which waits for the gradients of the variables that were trainable at its creation.
    """
    if hasattr(model.optimizer, "inner_optimizer"):
        wrapper = model.optimizer
        trainable = trained(wrapper.inner_optimizer)
        with DotNotTrackScope():  # otherwise the model's variables would become variables of the optimizer
            wrapper._trainable_variables = trainable
        wrapper._trainable_variables_indices = {wrapper._var_key(v): position for position, v in enumerate(trainable)}
    made = [name for name in ("train", "test", "predict") if getattr(model, f"{name}_function") is not None]
    model.train_function = model.test_function = model.predict_function = None
    if getattr(model, "ddp_model", None) is not None:
        model.ddp_model = None
    for name in made:
        getattr(model, f"make_{name}_function")(force=True)


def sync_state(model):
    """On JAX, writes the state back into the variables: between batches, `fit` holds weights and optimizer state."""
    if hasattr(model, "jax_state_sync"):
        model.jax_state_sync()


def load_apart():
    """Makes every `LossScaleOptimizer` around a differential optimizer load only its own state.

    Keras saves the state of the inner optimizer twice. The wrapper would load it by position, whatever the inner one
    trains at that moment: nothing, not even the loss scale, if the number differs, and otherwise the state of other
    variables. The inner optimizer loads its own state.
    """
    load = keras.optimizers.LossScaleOptimizer.load_own_variables

    @functools.wraps(load)
    def load_own_variables(self, store):
        own = self._variables
        first = [*own, *self.inner_optimizer.variables[:1]]  # in the file of another optimizer a slot comes third
        names = [str(number) for number in range(len(first))]
        known = set(store.keys())
        saved = [tuple(store[name].shape) if name in known else None for name in names]
        if hasattr(self.inner_optimizer, "replan") and own and saved == [tuple(v.shape) for v in first]:
            for name, variable in zip(names, own, strict=False):
                variable.assign(store[name])
        else:
            load(self, store)

    keras.optimizers.LossScaleOptimizer.load_own_variables = load_own_variables


def callback_list():
    """The `CallbackList` that is calling a callback's `set_model`, or `None`; read from the caller's frame.

    Keras does not give a callback the list it is in. The list is needed to check the order of callbacks, and because logs
    that a callback adds are seen only by those after it.
    """
    caller = inspect.currentframe()
    while caller is not None and caller.f_code is not keras.callbacks.CallbackList.set_model.__code__:
        caller = caller.f_back
    return None if caller is None else caller.f_locals["self"]


def values_in_state(model: keras.Model, state: tuple) -> list:
    """`(variable, value)` for each variable in the state of a train function on JAX.

    Inside `fit` the variables themselves hold no values.
    """
    variables = (model.trainable_variables, model.non_trainable_variables, model.optimizer.variables)
    return [pair for group, values in zip(variables, state, strict=False) for pair in zip(group, values, strict=True)]


def weights_file(model):
    """The weights file of `model.save_weights`, as bytes.

    Created in memory, as Keras does inside a `.keras` file: if the disk is full, HDF5 crashes the process.
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
    """Loads the weights of layers with LoRA from a file of `weights_file`.

    Keras saves the kernel merged with the factors and loads both factors as 0, so that neither would get a gradient again.
    """
    adapted = weights_with_lora(model)
    if adapted:
        store = saving_lib.H5IOStore(path, mode="r")
        entry = store.get(_LORA)
        for number, weight in enumerate(adapted):
            weight.assign(entry[str(number)])
        store.close()


def begin_with_epoch(model, epoch):
    """Sets the epoch at which the next `fit` starts; `None`: its argument `initial_epoch`.

    Keras's `BackupAndRestore` does the same but does not reset it, so a later `fit` starts there, too.
    """
    model._initial_epoch = epoch


def strategy_scope(model):
    """The scope of TensorFlow's distribution strategy: an optimizer's new variables must be created in it."""
    strategy = getattr(model, "_distribute_strategy", None)
    return contextlib.nullcontext() if strategy is None else strategy.scope()

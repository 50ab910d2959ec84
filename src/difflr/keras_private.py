"""The one file that knows Keras's private names.

Everything difflr needs from Keras beyond its public API passes through here. Each entry says why it is needed;
`tests/test_keras_private.py` fails with one clear line per entry when Keras changes it.
"""

import contextlib
import functools
import importlib
import inspect
import io

import keras
from keras.src.backend import compute_output_spec
from keras.src.backend.common.stateless_scope import in_stateless_scope
from keras.src.backend.common.variables import get_autocast_scope
from keras.src.models.functional import (
    Functional,  # the class behind `keras.Model(inputs, outputs)`
    functional_like_constructor,
)
from keras.src.models.model import functional_init_arguments
from keras.src.saving import saving_lib
from keras.src.utils.naming import to_snake_case
from keras.src.utils.tracking import DotNotTrackScope

__all__ = [
    "ACCUMULATORS",
    "AVERAGES",
    "MULTI_OPTIMIZERS",
    "Functional",
    "OptimizerHooks",
    "SGD_SCALES_FIRST",
    "applications",
    "base_of_lora",
    "bases_below",
    "begin_with_epoch",
    "bias_correction",
    "callback_list",
    "calls",
    "clock",
    "compile_arguments",
    "clipped",
    "copy_of",
    "copy_weight_decay_exclusions",
    "decays",
    "fast_class",
    "functional_init_arguments",
    "forget_step",
    "graph",
    "is_away",
    "live_learning_rate",
    "load_apart",
    "nadam_product",
    "output_layers",
    "own_trainable_variables",
    "public_class",
    "saves_its_layers",
    "set_applications",
    "shared_state",
    "slots",
    "strategy_scope",
    "sublayers",
    "to_snake_case",
    "torch_values",
    "trace",
    "trained",
    "unbuild",
    "weights_file",
]


def sublayers(layer: keras.Layer) -> list[keras.Layer]:
    """The layers directly below `layer`, in Keras's order.

    `Model.layers` is public, but plain layers with sublayers (`MultiHeadAttention`, `Bidirectional`, `LSTM` with its
    cell) only have the private `_flatten_layers`; and a functional model's `layers` leaves out those outside its graph.
    """
    return list(layer._flatten_layers(include_self=False, recursive=False))


def saves_its_layers(model: keras.Layer) -> bool:
    """Whether the config of `model` holds its layers, names and all, as of a functional or Sequential model.

    A subclass with a constructor of its own makes them by its code again.
    """
    if isinstance(model, Functional):
        return functional_like_constructor(type(model))
    return isinstance(model, keras.Sequential) and type(model).__init__ is keras.Sequential.__init__


def output_layers(model: keras.Layer) -> list[keras.Layer]:
    """For each output of a functional model, the last layer with weights on the way to it.

    The graph is public only as `tensor._keras_history` and the operations' inbound nodes.
    """
    if not isinstance(model, Functional):
        return []
    inside = set(map(id, model.operations))
    found: dict[int, keras.Layer] = {}
    seen: set[int] = set()
    tensors = list(model.outputs)
    while tensors:
        tensor = tensors.pop(0)
        operation, node_index, _ = tensor._keras_history
        if id(operation) not in inside or id(tensor) in seen:
            continue
        seen.add(id(tensor))
        if isinstance(operation, keras.Layer) and operation.weights:
            found[id(operation)] = operation
        else:
            tensors.extend(operation._inbound_nodes[node_index].input_tensors)
    return list(found.values())


def calls(model: Functional) -> list[tuple[keras.Operation, list[keras.KerasTensor], list[keras.KerasTensor]]]:
    """The calls in a functional model, each after those it needs: (operation, its input tensors, its output tensors).

    `layer.output` is no substitute: it is that of the layer's first call, which may be in another model.
    """
    by_depth = sorted(model._nodes_by_depth.items(), reverse=True)
    return [(node.operation, list(node.input_tensors), list(node.outputs)) for _, nodes in by_depth for node in nodes]


def graph(model: Functional) -> list[tuple[keras.Operation, list[int], list[int]]]:
    """The calls in a functional model, each after those it needs: (operation, input tensors, output tensors), by id.

    Public are only `model.operations`, without the edges between them.
    """
    return [(operation, list(map(id, inputs)), list(map(id, outputs))) for operation, inputs, outputs in calls(model)]


def own_trainable_variables(layer: keras.Layer) -> list[keras.Variable]:
    """The variables that `layer` itself made to be trained, whether they are frozen now or not.

    `layer.trainable_variables` is empty once `layer.trainable = False`; a plan has to see frozen variables too.
    """
    return list(layer._trainable_variables)


def base_of_lora(layer: keras.Layer) -> keras.Variable | None:
    """The variable that `layer.enable_lora` froze.

    Needed as it means what `trainable = False` by hand means, whoever had frozen the variable before.
    """
    if not getattr(layer, "lora_enabled", False):
        return None
    return layer._embeddings if isinstance(layer, keras.layers.Embedding) else layer._kernel


def decays(optimizer, variable) -> bool:
    """Whether `variable` decays, that is `exclude_from_weight_decay` does not name it, asked before `optimizer` is built.

    Until Keras 3.15 `_use_weight_decay` answers at any time, since 3.16 of a built optimizer only.
    """
    excluded = getattr(optimizer, "_is_excluded_from_weight_decay", None)
    return optimizer._use_weight_decay(variable) if excluded is None else not excluded(variable)


def fast_class(optimizer_class: type) -> type:
    """The class an instance of `optimizer_class` really has on this backend.

    On torch `TorchOptimizer.__new__` swaps exact classes only (`keras.optimizers.Adam`) for their vectorised
    versions; a subclass of `keras.optimizers.Adam` silently loses the fast path, a subclass of this does not.
    """
    return type(optimizer_class.__new__(optimizer_class))


def public_class(optimizer_class: type) -> type:
    """The class of `keras.optimizers` behind a backend's version of it (torch: `torch_adam.Adam`), or itself."""
    for parent in optimizer_class.__mro__:
        if vars(keras.optimizers).get(parent.__name__) is parent:
            return parent
    return optimizer_class


# Whether SGD on torch rounds `rate * gradient` before it adds it, as it does since Keras 3.16.
SGD_SCALES_FIRST = tuple(map(int, keras.__version__.split(".")[:2])) >= (3, 16)

# Wrappers around several optimizers (since Keras 3.15).
MULTI_OPTIMIZERS = tuple(cls for cls in [getattr(keras.optimizers, "MultiOptimizer", None)] if cls is not None)


def live_learning_rate(optimizer: keras.optimizers.Optimizer):
    """The schedule or callable given as `learning_rate`, or the current number as a float."""
    rate = optimizer._learning_rate
    if isinstance(rate, keras.Variable):
        return float(keras.ops.convert_to_numpy(rate))
    return rate


def compile_arguments(model: keras.Model) -> dict:
    """The arguments with which a model was compiled, to compile it again; empty if it is not compiled.

    The public `get_compile_config` has them serialised, which losses and metrics that are plain functions do not survive.
    """
    return dict(model._compile_config.config) if model.compiled and hasattr(model, "_compile_config") else {}


def copy_weight_decay_exclusions(source, target) -> None:
    """Carries what `exclude_from_weight_decay` set on `source` to `target`; it is in no config (Keras 3.15)."""
    for name in ("_exclude_from_weight_decay", "_exclude_from_weight_decay_pattern"):
        if hasattr(source, name):
            setattr(target, name, getattr(source, name))


class _Seen:
    """An optimizer seen with other attributes: everything else is the optimizer itself.

    Changing an attribute of the optimizer for the length of a call is not safe where replicas run in threads
    (`tf.distribute.MirroredStrategy`); a view is.
    """

    def __init__(self, optimizer, **attributes):
        vars(self).update(_optimizer=optimizer, **attributes)

    @property
    def __class__(self):  # `super()` inside the optimizer's own methods accepts the view
        return type(self._optimizer)

    def __getattr__(self, name):
        return getattr(self._optimizer, name)

    def _get_current_learning_rate(self):
        return self.learning_rate


def _is_one_of_several_replicas():
    """Whether this runs as one of the replicas of a strategy of `tf.distribute`, which meet in a `merge_call`."""
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    if tf.__internal__.distribute.strategy_supports_no_merge_call() or tf.distribute.in_cross_replica_context():
        return False
    return tf.distribute.get_strategy().num_replicas_in_sync > 1


def scaled(rate, factors):
    """`rate` times each of `factors` (a dict); the Python number 1 costs nothing.

    TensorFlow compiles with XLA's fast-math, which would reassociate `rate * factor * gradient / ...` and so round a
    factor of 1 differently from no factor (seen in Adagrad and RMSprop). It cannot reach through the rounding of a
    product taken in float64. (One product of vectors is quicker in a graph, but XLA then compiles each update apart.)
    """
    products = {key: rate for key, factor in factors.items() if isinstance(factor, float) and factor == 1.0}
    others = {key: factor for key, factor in factors.items() if key not in products}
    if keras.backend.backend() != "tensorflow":
        return products | {key: rate * factor for key, factor in others.items()}
    rate = keras.ops.convert_to_tensor(rate)
    exact = keras.ops.cast(rate, "float64")
    for key, factor in others.items():
        products[key] = keras.ops.cast(exact * keras.ops.cast(factor, "float64"), rate.dtype)
    return products


@functools.cache
def torch_pass_of(optimizer_class):
    """The name of the Keras optimizer whose vectorised update and decay on torch `optimizer_class` has, or `None`.

    Our passes replace these two. What somebody else wrote is not replaced: it is called once for each group.
    """
    update = _first_with(optimizer_class, "_parallel_update_step")
    decay = _first_with(optimizer_class, "_apply_weight_decay")
    own = update is not None and update.__module__.startswith("keras.src.backend.torch.optimizers.")
    return update.__name__ if own and decay.__name__ == "TorchOptimizer" else None


@functools.cache
def _first_with(optimizer_class, name):
    """Which class below our hooks defines the method `name`."""
    return next((c for c in optimizer_class.__mro__ if name in vars(c) and c is not OptimizerHooks), None)


@functools.cache
def _torch_core():
    """The module of Keras's backend that knows torch's devices; `ops.core` since Keras 3.16."""
    try:
        return importlib.import_module("keras.src.backend.torch.ops.core")
    except ModuleNotFoundError:
        return importlib.import_module("keras.src.backend.torch.core")


def torch_values(variables):
    """The tensors of Keras variables, on torch.

    `Variable.value` asks for Keras's scopes and the device each time, 4 microseconds: a third of a step of 150 small
    weights. Here they are asked for once.
    """
    if in_stateless_scope() or get_autocast_scope() is not None or str(_torch_core().get_device()) == "meta":
        return [variable.value for variable in variables]
    return [variable.value if variable._value is None else variable._value for variable in variables]


def nadam_product(optimizer):
    """Nadam's product of momenta: one variable of the whole optimizer, stepped inside its collective update."""
    return optimizer._u_product


class _SparesEmptyLists(keras.optimizers.Optimizer):
    """Stands between a third-party optimizer and torch's weight decay, which fails for an empty list of variables.

    A decay that picks its variables hands one on as soon as it picks none of a group.
    """

    def _apply_weight_decay(self, variables):
        if len(variables):
            super()._apply_weight_decay(variables)


def bases_below(optimizer_class):
    """What a class derived from `optimizer_class` has to have as further bases on this backend."""
    decay = optimizer_class._apply_weight_decay
    own = not decay.__module__.startswith("keras.src.")
    return (_SparesEmptyLists,) if own and keras.backend.backend() == "torch" else ()


def is_away(variable):
    """Whether JAX's `fit` has taken the value of `variable` into its own state, as it does between the batches."""
    return variable._value is None


# The lists of an optimizer with `use_ema` and with `gradient_accumulation_steps`: no public name leads to them.
AVERAGES = "_model_variables_moving_average"
ACCUMULATORS = "_accumulated_gradients"


def slots(optimizer, count):
    """The lists in which a built optimizer keeps its state, one entry for each of the `count` variables it trains.

    Keras's optimizers find the state of a variable by its position in such lists, under names of their own
    (`_momentums`, `_velocities`, ...). An entry may be `None`. Muon of Keras 3.12 finds it by the path in dictionaries.
    """
    own = set(map(id, optimizer.variables))

    def is_slot(name, value):
        if name == "_variables" or not isinstance(value, list) or len(value) != count:
            return False
        return any(each is not None for each in value) and all(each is None or id(each) in own for each in value)

    by_path = {name: value for name, value in vars(optimizer).items() if isinstance(value, dict)}
    listed = {name: [value.get(each.path) for each in trained(optimizer)] for name, value in by_path.items()}
    return {name: value for name, value in {**vars(optimizer), **listed}.items() if is_slot(name, value)}


def shared_state(optimizer, before_build):
    """The variables that `build` made and that belong to no variable of the model, such as Nadam's `_u_product`."""
    known = set(map(id, before_build))
    return {
        name: value
        for name, value in vars(optimizer).items()
        if isinstance(value, keras.Variable) and id(value) not in known and any(value is v for v in optimizer.variables)
    }


def unbuild(optimizer, before_build):
    """Takes an optimizer back to where it was before `build`, its step and its rate excepted.

    Keras means an optimizer to be built once: there is no public way to train other variables with it.
    """
    kept = set(map(id, before_build))
    for variable in optimizer.variables:
        if id(variable) not in kept:
            optimizer._untrack_variable(variable)
    optimizer._trainable_variables_indices = {}
    optimizer.built = False


def forget_step(model):
    """Lets Keras make the functions of a compiled model anew, for the variables that its optimizer trains now.

    Needed beyond `train_function = None`: a `LossScaleOptimizer` has a list of its own; JAX would take a function that was
    compiled for variables of the same shapes in another order; and since Keras 3.16 `fit` in several processes of
    torch keeps a `DistributedDataParallel`, which waits for the gradients of those who were live when it was made.
    """
    if hasattr(model.optimizer, "inner_optimizer"):
        wrapper = model.optimizer
        live = trained(wrapper.inner_optimizer)
        with DotNotTrackScope():  # else the variables of the model would become variables of the optimizer
            wrapper._trainable_variables = live
        wrapper._trainable_variables_indices = {wrapper._var_key(v): position for position, v in enumerate(live)}
    model.train_function = model.test_function = model.predict_function = None
    if getattr(model, "ddp_model", None) is not None:
        model.ddp_model = None


def load_apart(wrapper):
    """Lets a `LossScaleOptimizer` load its own numbers whatever the optimizer inside trains at that moment.

    Keras saves the state of the inner optimizer twice, and leaves out all of it, the loss scale too, if its length
    differs from that of the optimizer in memory; the inner one finds its state by itself.
    """
    wrapper.load_own_variables = functools.partial(_load_own_variables, wrapper)


def _load_own_variables(wrapper, store):
    for number, variable in enumerate(wrapper._variables):
        variable.assign(store[str(number)])


def trained(optimizer):
    """The variables that an optimizer was built with; `optimizer.variables` are those of its own state."""
    return list(optimizer._trainable_variables) if optimizer.built else []


def clock(optimizer):
    """What Keras gives a schedule as the step: a count of batches, where `optimizer.iterations` counts updates.

    They differ where gradients are accumulated.
    """
    return optimizer._iterations


def applications(optimizer):
    """How many gradients an optimizer was given; `optimizer.iterations` counts updates, where gradients are accumulated."""
    return int(keras.ops.convert_to_numpy(optimizer._iterations))


def set_applications(optimizer, number):
    """Makes an optimizer take its next step for the one after `number` gradients."""
    optimizer._iterations.assign(number)


def clipped(optimizer, gradients):
    """The gradients as the optimizer clips them: one norm over all of them, or each for itself."""
    return optimizer._clip_gradients(gradients)


def copy_of(variable, value):
    """A variable with another value that an optimizer takes for `variable`: Muon chooses its update by the path."""
    copy = keras.Variable(value, dtype=variable.dtype, name=variable.name)
    copy._path = variable.path
    copy.constraint = variable.constraint
    return copy


def trace(model, shapes):
    """Calls a model on tensors that are nothing but shapes, so that every layer in it is called, at no cost.

    `model.compute_output_spec` asks only the graph of a functional model, which ends at layers that hold layers.
    """
    tensors = [keras.KerasTensor(shape, dtype=tensor.dtype, name=tensor.name) for shape, tensor in shapes]
    several = isinstance(model, Functional) and isinstance(model.input, (list, tuple, dict))
    inputs = keras.tree.pack_sequence_as(model.input, tensors) if several else tensors[0]
    return compute_output_spec(functools.partial(model.call, training=False), inputs)


def callback_list():
    """The `CallbackList` that is handing the model to a callback's `set_model` at this moment, or `None`.

    What a callback adds to the logs is seen by those after it only, and there is no way to its neighbours but this.
    """
    frame = inspect.currentframe()
    for _ in range(8):
        frame = frame.f_back if frame is not None else None
        caller = frame.f_locals.get("self") if frame is not None else None
        if isinstance(caller, keras.callbacks.CallbackList):
            return caller
    return None


def weights_file(model):
    """What `model.save_weights` writes into a file, as bytes.

    Needed because HDF5 crashes the whole process when the disk is full under a file of its own. Keras makes the
    weights inside a `.keras` file in memory as well.
    """
    memory = io.BytesIO()
    store = saving_lib.H5IOStore(memory, mode="w")
    saving_lib._save_state(model, weights_store=store, assets_store=None, inner_path="", visited_saveables=set())
    store.close()
    return memory.getvalue()


def begin_with_epoch(model, epoch):
    """Lets the `fit` that is about to begin start with this epoch; `None`: with the one it is told.

    That is how Keras's own `BackupAndRestore` does it; it leaves the number behind, and the next `fit` takes it for its own.
    """
    model._initial_epoch = epoch


def strategy_scope(model):
    """The scope of TensorFlow's distribution strategy, in which new variables of an optimizer have to be made."""
    strategy = getattr(model, "_distribute_strategy", None)
    return contextlib.nullcontext() if strategy is None else strategy.scope()


def bias_correction(optimizer):
    """`(beta_1, beta_2)` where the update is Keras's Adam, `(beta_1, None)` where it is Adamax, else `None`.

    These two multiply their rate by the correction of the bias, so that a factor on the rate can change it exactly.
    """
    for parent in type(optimizer).__mro__:
        if parent is OptimizerHooks or not {"update_step", "_parallel_update_step"} & set(vars(parent)):
            continue
        if parent.__module__.startswith("keras.src.") and issubclass(parent, keras.optimizers.Adam):
            return optimizer.beta_1, optimizer.beta_2
        if parent.__module__.startswith("keras.src.") and issubclass(parent, keras.optimizers.Adamax):
            return optimizer.beta_1, None
        return None
    return None


class OptimizerHooks:
    """The private places where Keras optimizers use their rate, led back to four questions about groups.

    A subclass answers them: the first four methods. The multiplier multiplies the rate, never the gradient: Adam would
    divide a scaled gradient by itself again.
    """

    def _rate_factors(self):
        """What the rate of each group is multiplied by at this step: group number -> factor."""
        raise NotImplementedError

    def _decay_factors(self):
        """The same for the weight decay, of the groups that decay."""
        raise NotImplementedError

    def _group_number(self, variable):
        """The number of the group of `variable`."""
        raise NotImplementedError

    def _places(self, variables):
        """Where the members of each group stand in `variables`: group number -> places."""
        raise NotImplementedError

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        # Once a step, not once a variable: on TensorFlow each product is an operation of the graph. Keras only hands
        # the rate on to `update_step`; whoever computes with it gets the base rate.
        if _first_with(type(self), "_backend_update_step").__name__ in ("BaseOptimizer", "TFOptimizer"):
            learning_rate = scaled(learning_rate, self._rate_factors())
        super()._backend_update_step(grads, trainable_variables, learning_rate)

    def update_step(self, gradient, variable, learning_rate):
        # JAX, TensorFlow, and torch optimizers without a vectorised version. TensorFlow hands over raw
        # `tf.Variable`s, so the variable is known by its index only.
        rates = learning_rate if isinstance(learning_rate, dict) else scaled(learning_rate, self._rate_factors())
        super().update_step(gradient, variable, rates[self._group_number(variable)])

    def _parallel_update_step(self, grads, variables, learning_rate):
        # torch's vectorised optimizers never call `update_step`; they take one rate for a list of variables.
        name = torch_pass_of(type(self))
        if name is not None:
            from difflr.optimizers import torch_passes

            torch_passes.run(name, self, variables, grads, learning_rate)
            return
        rates = scaled(learning_rate, self._rate_factors())
        for number, places in self._places(variables).items():
            super()._parallel_update_step([grads[i] for i in places], [variables[i] for i in places], rates[number])

    def _apply_weight_decay(self, variables):
        if not self.built:
            super()._apply_weight_decay(variables)
            return
        if torch_pass_of(type(self)) is not None:
            return  # the pass decays, too: one way through the memory less
        decay = super()._apply_weight_decay.__func__
        rates = scaled(self.learning_rate, self._decay_factors())
        for number, places in self._places(variables).items():
            if number in rates:
                # Keras's weight decay reads the rate from the optimizer.
                decay(_Seen(self, learning_rate=rates[number]), [variables[i] for i in places])

    def _backend_apply_gradients(self, grads, trainable_variables):
        if _is_one_of_several_replicas():
            self._apply_in_replica(grads, trainable_variables)
            return
        super()._backend_apply_gradients(grads, trainable_variables)
        if keras.backend.backend() == "torch":
            # Keras's `zero_grad` knows variables by path. Two towers with equal inner names have equal paths once the
            # model was loaded: the gradients of one of them would add up from step to step.
            for value in torch_values(trainable_variables):
                value.grad = None

    # Under `tf.distribute` Keras 3 clips and accumulates the gradients of each replica apart, and sums them when it has
    # done so: a global norm is then none (Keras 2 summed first). And its conditions, for the accumulation and for the
    # averages, are in the replicas, where TensorFlow lets none of their branches meet the other replicas
    # (keras-team/keras #20582). Here gradients are summed first, and the conditions are above the replicas.

    def _all_reduce_sum_gradients(self, grads_and_vars):
        return grads_and_vars if _is_one_of_several_replicas() else super()._all_reduce_sum_gradients(grads_and_vars)

    def _apply_in_replica(self, grads, trainable_variables):
        import tensorflow as tf

        pairs = super()._all_reduce_sum_gradients(list(zip(grads, trainable_variables, strict=True)))
        grads = [gradient for gradient, _ in pairs]
        if self.gradient_accumulation_steps or (self.use_ema and self.ema_overwrite_frequency):
            context = tf.distribute.get_replica_context()
            context.merge_call(self._apply_above_replicas, args=(grads, trainable_variables))
        else:
            super()._backend_apply_gradients(grads, trainable_variables)

    def _apply_above_replicas(self, strategy, grads, trainable_variables):
        each, arguments = strategy.extended.call_for_each_replica, (grads, trainable_variables)

        def update():
            each(self._update_in_replica, args=arguments)

        def accumulate():
            each(self._accumulate_in_replica, args=arguments)

        def overwrite():
            self._overwrite_model_variables_with_average_value(self._trainable_variables)

        if self.gradient_accumulation_steps:
            calls = self._iterations + 1
            keras.ops.cond(calls % self.gradient_accumulation_steps == 0, update, accumulate)
        else:
            update()
        if self.use_ema:
            each(self._update_model_variables_moving_average, args=(self._trainable_variables,))
            if self.ema_overwrite_frequency:
                steps = self.iterations + 1
                keras.ops.cond(steps % self.ema_overwrite_frequency == 0, overwrite, lambda: None)

    def _accumulators_of(self, variables):
        return [getattr(self, ACCUMULATORS)[self._variable_position(variable)] for variable in variables]

    def _update_in_replica(self, grads, trainable_variables):
        apply, steps = super()._backend_apply_gradients.__func__, self.gradient_accumulation_steps
        if steps:
            sums = self._accumulators_of(trainable_variables)
            grads = [(gradient + total) / steps for gradient, total in zip(grads, sums, strict=True)]
        apply(_Seen(self, gradient_accumulation_steps=None, use_ema=False), grads, trainable_variables)
        if steps:
            self._backend_reset_gradient_accumulators()

    def _accumulate_in_replica(self, grads, trainable_variables):
        self._backend_increment_gradient_accumulators(grads, self._accumulators_of(trainable_variables))

    def _variable_position(self, variable):
        """The position of `variable` in the list the optimizer was built with."""
        return self._get_variable_index(variable)

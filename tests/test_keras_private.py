"""What difflr needs of Keras's private parts, one test an entry: a failure here says what Keras changed."""

import functools
import importlib
import inspect
import pathlib
import tempfile
import warnings

import keras
import numpy as np
import pytest

import difflr
from difflr import keras_private
from difflr.keras_private import replicas, update

TORCH_UPDATE = "keras.src.backend.torch.optimizers.torch_adam:Adam._parallel_update_step"
REPLICAS = "keras:optimizers.Optimizer._all_reduce_sum_gradients"
DECAYS = "_is_excluded_from_weight_decay"  # since Keras 3.16
DECAYS = DECAYS if hasattr(keras.optimizers.Optimizer, DECAYS) else "_use_weight_decay"
CLIP = "keras.src.optimizers.base_optimizer:clip_by_global_norm"
CHECKS = []


def needs(entry, *names):
    """Says in one line which entry of `keras_private` failed, and which names of Keras it needs: `module:Class.name`."""

    def tell(check):
        @functools.wraps(check)
        def told():
            try:
                check()
            except Exception as error:
                what = next(iter(str(error).strip().splitlines()), "")
                line = f"Keras {keras.__version__}: keras_private.{entry} needs {', '.join(names)}."
                pytest.fail(f"{line} {type(error).__name__}: {what}", pytrace=False)

        CHECKS.append((told, entry, names))
        return told

    return tell


def test_every_entry_has_its_check():
    entries = {name for name, thing in vars(keras_private).items() if name[0] != "_" and not inspect.ismodule(thing)}
    assert {name for _, names, _ in CHECKS for name in names.split(", ")} == entries


@needs("sublayers", "keras:Layer._flatten_layers")
def test_flatten_layers_gives_the_sublayers_of_a_plain_layer():
    layer = keras.layers.MultiHeadAttention(2, 2)
    layer.build((None, 3, 4), (None, 3, 4))
    assert {"query", "key", "value", "attention_output"} <= {each.name for each in keras_private.sublayers(layer)}


@needs("set_random_seed", "keras.src.utils.module_utils:tensorflow._available")
def test_random_states_are_seeded_without_importing_tensorflow():
    def drawn(seed):
        seed(3)
        return [float(keras.ops.convert_to_numpy(keras.random.uniform(()))), np.random.uniform()]

    keras_private.set_global_seed(None)
    expected = drawn(keras.utils.set_random_seed)
    lazy = importlib.import_module("keras.src.utils.module_utils").tensorflow
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lazy, "_available", None)
        assert drawn(keras_private.set_random_seed) == expected
        if keras.backend.backend() != "tensorflow":
            assert lazy._available is None  # Keras has not looked for it: that would be an import


@needs("before_build", "keras:optimizers.Optimizer.build")
def test_every_optimizer_is_checked_once_before_it_is_built():
    found, variables = [], [keras.Variable(np.ones(2), name="v")]
    with pytest.MonkeyPatch.context() as patch:
        for cls in (keras.optimizers.Optimizer, *keras_private.MULTI_OPTIMIZERS):
            patch.setattr(cls, "build", cls.build)
        keras_private.before_build(lambda optimizer, given: found.append((optimizer, given)))
        for optimizer in (stock := keras.optimizers.Adam(), difflr.optimizers.SGD()):
            optimizer.build(variables)
        assert found == [(stock, variables)]  # a differential optimizer ignores nothing
        keras.optimizers.LossScaleOptimizer(inner := keras.optimizers.SGD()).build(variables)
        assert (inner, variables) in found[1:]


@needs("own_trainable_variables", "keras:Layer._trainable_variables")
def test_trainable_variables_keeps_frozen_ones():
    layer = keras.layers.Dense(2)
    layer.build((None, 3))
    layer.trainable = False
    assert layer.trainable_variables == []
    assert [variable.name for variable in keras_private.own_trainable_variables(layer)] == ["kernel", "bias"]


@needs("AfterBuild", "keras:Layer._post_build")
def test_the_end_of_a_build_is_noticed_whoever_builds():
    class Own(keras_private.AfterBuild, keras.layers.Layer):
        def build(self, shape):
            self.weight = self.add_weight(shape=(2,))

        def after_build(self):
            self.seen = len(self.variables)

    layer = Own()
    layer.build((None, 3))
    assert layer.seen == 1


@needs("base_of_lora", "keras:layers.Dense._kernel", "keras:layers.Embedding._embeddings")
def test_lora_freezes_one_variable():
    dense, embedding = keras.layers.Dense(2), keras.layers.Embedding(3, 2)
    for layer in (dense, embedding):
        layer.build((None, 3))
        assert keras_private.base_of_lora(layer) is None
        first = layer.trainable_variables[0]
        layer.enable_lora(1)
        assert keras_private.base_of_lora(layer) is first
        assert not first.trainable


@needs("load_lora", "keras:Layer._flatten_layers", "keras.src.saving.saving_lib:H5IOStore")
def test_lora_factors_are_loaded_as_they_were_saved():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.layers[0].enable_lora(1)
    model.layers[0].lora_kernel_b.assign([[1.0, 2.0]])
    before = model.get_weights()
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "model.weights.h5"
        path.write_bytes(keras_private.weights_file(model))
        model.load_weights(path)
        keras_private.load_lora(model, path)
    for weight, expected in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, expected)


@needs("hyperparameters, why_not, why_constant, in_step, Number, DECAY, CLIPNORM")
def test_the_update_reads_its_numbers_from_the_optimizer():
    optimizer = keras.optimizers.Adam(beta_1=0.5)
    numbers = keras_private.hyperparameters(optimizer)
    assert set(numbers) == {"beta_1", "beta_2", "epsilon", keras_private.DECAY, keras_private.CLIPNORM}
    assert keras_private.why_not(keras.optimizers.Nadam(), "beta_1")
    assert not keras_private.why_constant(optimizer, "beta_1")
    number = 0.5  # as torch takes it
    if keras.backend.backend() != "torch":
        number = keras_private.in_step(optimizer, "beta_1", keras_private.Number(0.5, keras.ops.zeros(())))
    variable = keras.Variable(np.ones(2, "float32"))
    moved = []
    for beta in (0.5, number):
        optimizer = keras.optimizers.Adam(0.1, beta_1=0.9)
        optimizer.build([variable])
        vars(optimizer)["beta_1"] = beta
        variable.assign(np.ones(2))
        optimizer.update_step(keras.ops.ones(2), variable, 0.1)
        moved.append(keras.ops.convert_to_numpy(variable))
    np.testing.assert_allclose(moved[0], moved[1], rtol=1e-6)


@needs("clipped_together", *([] if keras.backend.backend() == "tensorflow" else [CLIP]))
def test_gradients_are_clipped_by_their_common_norm():
    gradients = [keras.ops.convert_to_tensor(np.array(each, "float32")) for each in ([3.0], [4.0])]
    clipped = keras_private.clipped_together(gradients, 1.0)
    np.testing.assert_allclose(
        [float(each[0]) for each in map(keras.ops.convert_to_numpy, clipped)], [0.6, 0.8], rtol=1e-6
    )


@needs("factored_shape", "keras:optimizers.Adafactor")
def test_adafactor_keeps_factors_of_these_shapes():
    for shape in ((3,), (3, 4), (2, 3, 4)):
        optimizer = keras.optimizers.Adafactor()
        optimizer.build([keras.Variable(np.zeros(shape))])
        for name in ("_r", "_c"):
            assert tuple(vars(optimizer)[name][0].shape) == keras_private.factored_shape(optimizer, name, shape)
    assert keras_private.factored_shape(optimizer, "_v", (3, 4)) is None


@needs("decays_by_itself")
def test_a_decay_of_ones_own_is_known():
    class Own(keras.optimizers.SGD):
        def _apply_weight_decay(self, variables):
            pass

    assert keras_private.decays_by_itself(Own)
    assert not keras_private.decays_by_itself(difflr.optimizers.SGD)


@needs("begin_with_epoch", "keras:Model._initial_epoch")
def test_fit_begins_with_the_epoch_it_is_told_by_a_callback():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", loss="mse", run_eagerly=True)
    seen = []
    begin = keras.callbacks.LambdaCallback(
        on_train_begin=lambda logs: keras_private.begin_with_epoch(model, 3),
        on_epoch_begin=lambda epoch, logs: seen.append(epoch),
    )
    model.fit(np.ones((2, 2)), np.ones((2, 1)), epochs=5, verbose=0, callbacks=[begin])
    assert seen == [3, 4]


@needs("graph_of, Graph, Call", "keras:KerasTensor._keras_history", "keras:Operation._inbound_nodes")
def test_the_graph_is_where_it_was():
    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.ReLU()(keras.layers.Dense(2, name="last")(inputs)))
    for layer in (model, keras.Sequential(model.layers)):
        graph = keras_private.graph_of(layer)
        assert [call.operation for call in graph.calls] == model.layers[1:]
        assert [graph.inputs, *(call.outputs for call in graph.calls)][:-1] == [call.inputs for call in graph.calls]
        assert graph.outputs == graph.calls[-1].outputs


@needs(
    "graph_of, Arguments, UnreadableError, all_trainable_variables",
    "keras:Layer._build_shapes_dict",
    "keras:Layer._call_has_training_arg",
    "keras:Layer._tracker",
)
def test_a_call_can_be_traced():
    class Twice(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(3)

        def call(self, x):
            return self.dense(self.dense(x))

    model = Twice()
    with pytest.raises(keras_private.UnreadableError, match="shapes of its inputs are not known"):
        keras_private.graph_of(model)
    model(np.ones((2, 3)))
    assert [call.operation for call in keras_private.graph_of(model).calls] == [model.dense] * 2
    assert keras_private.all_trainable_variables(model) == model.dense.trainable_variables
    assert model.dense._inbound_nodes == []
    assert model.dense._outbound_nodes == []


@needs(
    "Functional, functional_init_arguments",
    "keras.src.models.functional:Functional",
    "keras.src.models.model:functional_init_arguments",
)
def test_functional_models_are_functional():
    inputs = keras.Input((3,))
    assert isinstance(keras.Model(inputs, keras.layers.ReLU()(inputs)), keras_private.Functional)
    assert keras_private.functional_init_arguments((inputs, inputs), {})
    assert not keras_private.functional_init_arguments((), {"name": "x"})


@needs("to_snake_case", "keras.src.utils.naming:to_snake_case")
def test_automatic_names_are_made_so():
    assert keras.layers.Conv2DTranspose(1, 1).name.startswith(keras_private.to_snake_case("Conv2DTranspose"))


@needs("fast_class, public_class", *([TORCH_UPDATE] if keras.backend.backend() == "torch" else []))
def test_torch_swaps_exact_classes_only():
    class Own(keras.optimizers.Adam):
        pass

    fast = keras_private.fast_class(keras.optimizers.Adam)
    assert fast is type(keras.optimizers.Adam())
    assert keras_private.public_class(fast) is keras.optimizers.Adam
    if keras.backend.backend() == "torch":
        assert fast is not keras.optimizers.Adam
        assert keras_private.fast_class(Own) is Own
        assert list(inspect.signature(fast._parallel_update_step).parameters) == [
            "self",
            "grads",
            "variables",
            "learning_rate",
        ]


@needs(
    "OptimizerHooks",
    "keras:optimizers.Optimizer._apply_weight_decay",
    "keras:optimizers.Optimizer._get_current_learning_rate",
)
def test_weight_decay_reads_the_rate_of_its_self():
    optimizer = difflr.optimizers.SGD(0.5, weight_decay=0.1)
    variable = keras.Variable([1.0])
    optimizer.build([variable])
    at_one = optimizer._with({}, keras.ops.convert_to_tensor(1.0))
    assert type(at_one) is type(optimizer)
    at_one._apply_weight_decay([variable])
    assert float(keras.ops.convert_to_numpy(variable)[0]) == pytest.approx(0.9)
    assert float(keras.ops.convert_to_numpy(optimizer.learning_rate)) == 0.5


@needs("OptimizerHooks", *([REPLICAS] if keras.backend.backend() == "tensorflow" else []))
def test_replicas_are_where_they_were():
    assert not replicas._is_one_of_several_replicas()
    if keras.backend.backend() != "tensorflow":
        return
    for name in (
        "_all_reduce_sum_gradients",
        "_backend_increment_gradient_accumulators",
        "_backend_reset_gradient_accumulators",
        "_overwrite_model_variables_with_average_value",
        "_update_model_variables_moving_average",
    ):
        assert callable(getattr(keras.optimizers.SGD, name)), name
    # Keras still leaves it to the update to sum gradients, after it has clipped and accumulated them.
    source = inspect.getsource(keras.optimizers.SGD._backend_apply_gradients)
    assert "gradient_accumulation_steps" in source
    assert "_all_reduce" not in source


@needs("position", "keras:optimizers.Optimizer._get_variable_index")
def test_variables_have_a_position():
    optimizer = keras.optimizers.SGD(0.5)
    variables = [keras.Variable([1.0]), keras.Variable([2.0])]
    optimizer.build(variables)
    assert [keras_private.position(optimizer, variable) for variable in variables] == [0, 1]
    if keras.backend.backend() == "tensorflow":
        assert keras_private.position(optimizer, variables[1].value) == 1


@needs("live_learning_rate", "keras:optimizers.Optimizer._learning_rate")
def test_the_rate_is_kept_in_learning_rate():
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 10)
    assert keras_private.live_learning_rate(keras.optimizers.SGD(schedule)) is schedule
    assert keras_private.live_learning_rate(keras.optimizers.SGD(0.5)) == 0.5


@needs(
    "optimizer_map",
    *(f"keras:optimizers.{cls.__name__}._optimizer_map" for cls in keras_private.MULTI_OPTIMIZERS),
)
def test_a_multi_optimizer_keeps_what_it_was_made_of():
    choose, stock = keras.optimizers.SGD, keras.optimizers.SGD(0.1)
    for cls in keras_private.MULTI_OPTIMIZERS:  # since Keras 3.15
        assert keras_private.optimizer_map(cls(choose)) is choose
    assert keras_private.optimizer_map(stock) is stock


@needs("copy_weight_decay_exclusions, decays", f"keras:optimizers.Optimizer.{DECAYS}")
def test_exclusions_are_where_they_were():
    source, target = keras.optimizers.SGD(0.1, weight_decay=0.1), keras.optimizers.SGD(0.1, weight_decay=0.1)
    source.exclude_from_weight_decay(var_names=["bias"])
    keras_private.copy_weight_decay_exclusions(source, target)
    bias, kernel = keras.Variable([1.0], name="bias"), keras.Variable([1.0], name="kernel")
    assert not keras_private.decays(target, bias)
    assert keras_private.decays(target, kernel)


@needs("sublayers", "keras:Layer._flatten_layers")
def test_flatten_layers_gives_what_a_functional_model_holds_beside_its_graph():
    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Dense(2, name="inside")(inputs))
    model.beside = keras.layers.Dense(2, name="beside")
    model.beside.build((None, 3))
    # Before 3.15 Keras forgets such a layer: neither `model.weights` nor `fit` knows it, and a plan need not.
    trained = any(weight is model.beside.kernel for weight in model.weights)
    assert [layer.name for layer in keras_private.sublayers(model)][1:] == ["inside", "beside"][: 1 + trained]
    assert "beside" not in [layer.name for layer in model.layers]


@needs("saves_its_layers", "keras.src.models.functional:functional_like_constructor")
def test_which_models_save_their_layers():
    class ByCode(keras.Model):
        def __init__(self, units):
            inputs = keras.Input((3,))
            super().__init__(inputs, keras.layers.Dense(units)(inputs))

    class SequentialByCode(keras.Sequential):
        def __init__(self):
            super().__init__([keras.Input((3,)), keras.layers.Dense(2)])

    inputs = keras.Input((3,))
    functional = keras.Model(inputs, keras.layers.Dense(2)(inputs))
    sequential = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    for model in (functional, sequential):
        assert keras_private.saves_its_layers(model)
        assert "layers" in model.get_config()
    for model in (ByCode(2), SequentialByCode(), keras.layers.Dense(2)):
        assert not keras_private.saves_its_layers(model)


def test_layers_of_a_stored_attribute_are_found_once():
    """`difflr.plan.layer_tree` passes over the attributes in which Keras keeps layers and variables once more."""
    from difflr.keras_private.layers import _KERAS_STORES

    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Dense(2)(inputs))
    holds = {
        name
        for name, value in vars(model).items()
        if isinstance(value, (list, tuple)) and any(isinstance(each, (keras.Layer, keras.Variable)) for each in value)
    }
    assert holds <= _KERAS_STORES, f"Keras keeps layers in {holds - _KERAS_STORES} now"


@needs("OptimizerHooks", "keras:optimizers.Optimizer._apply_weight_decay")
def test_a_gradient_step_goes_through_the_hooks():
    """`update_step`, or torch's `_parallel_update_step`, and `_apply_weight_decay` are still what `apply` calls."""
    called = []

    class Hooked(keras_private.fast_class(keras.optimizers.SGD)):
        def update_step(self, gradient, variable, learning_rate):
            called.append("update")
            super().update_step(gradient, variable, learning_rate)

        def _parallel_update_step(self, grads, variables, learning_rate):
            called.append("update")
            super()._parallel_update_step(grads, variables, learning_rate)

        def _apply_weight_decay(self, variables):
            called.append("decay")
            super()._apply_weight_decay(variables)

    variable = keras.Variable([1.0])
    Hooked(0.5, weight_decay=0.1).apply([keras.ops.convert_to_tensor([1.0])], [variable])
    assert sorted(called) == ["decay", "update"]


@needs("bases", "keras:optimizers.Nadam._backend_update_step")
def test_an_optimizer_stands_between_the_two_halves_of_the_hooks():
    base = keras_private.fast_class(keras.optimizers.Nadam)
    assert callable(vars(keras.optimizers.Nadam)["_backend_update_step"])
    order = type("Own", keras_private.bases(base), {}).__mro__
    assert (
        order.index(keras.optimizers.Nadam)
        < order.index(update.UpdateByGroup)
        < order.index(keras.optimizers.Optimizer)
    )
    assert keras.optimizers.Optimizer not in keras_private.bases(keras.optimizers.Optimizer)


@needs("is_away", "keras:Variable._value")
def test_a_variable_is_there_outside_of_fit():
    assert not keras_private.is_away(keras.Variable([1.0]))


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="about JAX")
def test_a_variable_is_away_inside_of_fit_until_the_state_is_synced():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", loss="mse")
    seen = []

    def look(batch, logs):
        seen.append(keras_private.is_away(model.weights[0]))
        with keras.StatelessScope([(each, keras.ops.ones(each.shape)) for each in model.weights]):
            seen.append(keras_private.is_away(model.weights[0]))
        keras_private.sync_state(model)
        seen.append(keras_private.is_away(model.weights[0]))

    watch = keras.callbacks.LambdaCallback(on_train_batch_end=look)
    model.fit(np.ones((2, 2)), np.ones((2, 1)), verbose=0, callbacks=[watch])
    assert seen == [True, False, False]


@needs("is_traced", "keras.src.backend.common.stateless_scope:in_stateless_scope")
def test_variables_are_traced_in_a_stateless_scope():
    assert not keras_private.is_traced()
    with keras.StatelessScope():
        assert keras_private.is_traced()


@needs("nadam_product", "keras:optimizers.Nadam._u_product")
def test_the_schedule_of_momenta_of_nadam_is_where_it_was():
    optimizer = keras.optimizers.Nadam(0.1)
    optimizer.build([keras.Variable([1.0])])
    assert float(keras.ops.convert_to_numpy(keras_private.nadam_product(optimizer))) == 1.0


@needs(
    "MULTI_OPTIMIZERS", *(["keras:optimizers.MultiOptimizer"] if hasattr(keras.optimizers, "MultiOptimizer") else [])
)
def test_multi_optimizers_are_known():
    known = [cls.__name__ for cls in keras_private.MULTI_OPTIMIZERS]
    assert known == [name for name in ("MultiOptimizer",) if hasattr(keras.optimizers, name)]


@needs("compile_arguments", "keras:Model._compile_config")
def test_compile_keeps_its_arguments():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    assert keras_private.compile_arguments(model) == {}

    def own(y, prediction):
        return y - prediction

    model.compile("sgd", loss=own, metrics=[own], steps_per_execution=2)
    found = keras_private.compile_arguments(model)
    assert (found["loss"], list(found["metrics"]), found["steps_per_execution"]) == (own, [own], 2)
    model.compile(**found)


def built(name, **settings):
    variables = [keras.Variable([[1.0, 2.0]]), keras.Variable([1.0])]
    optimizer = getattr(keras.optimizers, name)(0.1, **settings)
    before = list(optimizer.variables)
    optimizer.build(variables)
    return optimizer, before, variables


@needs("slots, AVERAGES, ACCUMULATORS", "keras:optimizers.Adam._momentums")
def test_state_is_in_lists_by_variable():
    optimizer, before, variables = built("Adam", use_ema=True, gradient_accumulation_steps=2)
    lists = keras_private.slots(optimizer, len(variables))
    assert set(lists) == {keras_private.AVERAGES, keras_private.ACCUMULATORS, "_momentums", "_velocities"}
    assert len(optimizer.variables) == len(before) + sum(map(len, lists.values()))


def test_state_in_dictionaries_by_path_is_found(monkeypatch):
    """As in Muon of Keras 3.12."""
    optimizer, _, variables = built("Adam")
    momenta = dict(zip([v.path for v in variables], optimizer._momentums, strict=True))
    monkeypatch.setattr(optimizer, "_momentums", dict(reversed(momenta.items())))
    found = keras_private.slots(optimizer, len(variables))["_momentums"]
    assert list(map(id, found)) == list(map(id, momenta.values()))


@needs("shared_state", "keras:optimizers.Nadam._u_product")
def test_state_of_no_variable_is_an_attribute():
    optimizer, before, _ = built("Nadam")
    assert list(keras_private.shared_state(optimizer, before)) == ["_u_product"]
    optimizer, before, _ = built("Adam")
    assert not keras_private.shared_state(optimizer, before)


@needs(
    "unbuild",
    "keras:optimizers.Optimizer._untrack_variable",
    "keras:optimizers.Optimizer._trainable_variables_indices",
)
def test_an_optimizer_can_be_built_again():
    optimizer, before, variables = built("Adam")
    keras_private.unbuild(optimizer, before)
    assert list(map(id, optimizer.variables)) == list(map(id, before))
    optimizer.build(variables[1:])
    assert len(optimizer.variables) == len(before) + 2
    optimizer.apply([keras.ops.convert_to_tensor([1.0])], variables[1:])


@needs("renew_step", "keras:optimizers.Optimizer._trainable_variables", "keras:optimizers.Optimizer._var_key")
def test_a_step_is_made_anew_for_those_who_are_live():
    wrapper = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1))
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(wrapper)
    variables = [keras.Variable([1.0]), keras.Variable([2.0])]
    wrapper.build(variables)
    inner = wrapper.inner_optimizer
    keras_private.unbuild(inner, inner.variables[:2])
    inner.build(variables[1:])
    number = len(wrapper.variables)
    model.make_train_function()
    before = model.train_function
    keras_private.renew_step(model)
    assert model.train_function is not before
    assert model.test_function is None
    assert [id(variable) for variable in wrapper._trainable_variables] == [id(variables[1])]
    assert len(wrapper.variables) == number
    if keras.backend.backend() != "jax":  # there Keras applies a loss scale in stateless steps only
        wrapper.apply([keras.ops.convert_to_tensor([1.0])], variables[1:])


@needs("load_apart", "keras:optimizers.LossScaleOptimizer._variables")
def test_a_loss_scale_is_loaded_apart():
    """`difflr.optimizers` has called it; a stock optimizer inside is not concerned, nor a file without a loss scale."""

    def scaled(inner, count, scale=4.0):
        wrapper = keras.optimizers.LossScaleOptimizer(inner, initial_scale=scale)
        wrapper.build([keras.Variable([1.0]) for _ in range(count)])
        return wrapper

    def scale_after(optimizer, saved):
        store = {}
        saved.save_own_variables(store)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # Keras skips what it cannot load, and warns
            optimizer.load_own_variables(store)
        return float(keras.ops.convert_to_numpy(optimizer.dynamic_scale))

    ours, stock = difflr.optimizers.SGD, keras.optimizers.SGD
    assert scale_after(scaled(ours(0.1, momentum=0.9), 2), scaled(ours(0.1), 1, 8.0)) == 8.0
    assert scale_after(scaled(stock(0.1, momentum=0.9), 2), scaled(stock(0.1), 1, 8.0)) == 4.0
    alone = stock(0.1, momentum=0.9)
    alone.build([keras.Variable([1.0])])
    assert scale_after(scaled(ours(0.1, momentum=0.9), 1), alone) == 4.0


@needs("bias_correction", "keras:optimizers.Adam.beta_1")
def test_the_bias_correction_of_adam_is_on_its_rate():
    class Own(keras.optimizers.Adam):
        def update_step(self, gradient, variable, learning_rate):
            pass

    assert keras_private.bias_correction(keras.optimizers.Adam(beta_1=0.8)) == (0.8, 0.999)
    assert keras_private.bias_correction(keras.optimizers.AdamW()) == (0.9, 0.999)
    assert keras_private.bias_correction(keras.optimizers.Adamax()) == (0.9, None)
    for other in (Own(), keras.optimizers.Nadam(), keras.optimizers.SGD(), keras.optimizers.Lamb()):
        assert keras_private.bias_correction(other) is None


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="about TensorFlow")
@needs("strategy_scope", "keras:Model._distribute_strategy")
def test_a_model_of_tensorflow_knows_its_strategy():
    import tensorflow as tf

    model = keras.Sequential()
    with keras_private.strategy_scope(model):
        assert not tf.distribute.has_strategy()
    with tf.distribute.OneDeviceStrategy("/cpu:0").scope():
        model = keras.Sequential()
    with keras_private.strategy_scope(model):
        assert tf.distribute.has_strategy()


@needs("values", "keras:Variable._value")
def test_values_are_what_value_says():
    variables = [keras.Variable([1.0]), keras.Variable([2.0])]
    found = keras_private.values(variables)
    assert all(tensor is variable.value for tensor, variable in zip(found, variables, strict=True))
    with keras.StatelessScope(state_mapping=[(variables[0], keras.ops.convert_to_tensor([5.0]))]):
        assert float(keras_private.values(variables)[0][0]) == 5.0


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="about torch")
@needs("state_of", "keras:optimizers.Adagrad._accumulators")
def test_the_state_of_vectorized_optimizers_is_where_it_was():
    """All of the state by variable, for the settings that ask for the most."""
    most = {"Adam": {"amsgrad": True}, "SGD": {"momentum": 0.9}}
    most["RMSprop"] = {"centered": True, "momentum": 0.9}
    for name in difflr.optimizers.DifferentialOptimizer.VECTORIZED_STEPS:
        optimizer, _, variables = built(name, **most.get(name, {}))
        assert update.vectorized_update(type(optimizer)) == name
        found = {id(slot) for slot in keras_private.state_of(optimizer, name)}
        assert found
        assert found == {id(slot) for slot in keras_private.slots(optimizer, len(variables)).values()}


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="about torch")
@needs("SGD_SCALES_FIRST", TORCH_UPDATE.replace("adam:Adam", "sgd:SGD"))
def test_how_sgd_on_torch_rounds():
    start, grads = ([(1 + each / 7) ** power for each in range(99)] for power in (1, -2))
    variable = keras.Variable(start)
    optimizer = keras.optimizers.SGD(0.3)
    optimizer.apply([keras.ops.convert_to_tensor(grads)], [variable])
    start, grads = keras.ops.convert_to_tensor(start), keras.ops.convert_to_tensor(grads)
    rate = optimizer.learning_rate.value.item()
    first, at_once = start + grads * -rate, start.add(grads, alpha=-rate)
    assert not bool((first == at_once).all())
    assert bool(((first if keras_private.SGD_SCALES_FIRST else at_once) == variable.value).all())


@needs("sync_state", *(["keras:Model.jax_state_sync"] if keras.backend.backend() == "jax" else []))
def test_a_model_has_its_values_outside_of_fit():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    keras_private.sync_state(model)
    assert not keras_private.is_away(model.weights[0])
    assert hasattr(model, "jax_state_sync") == (keras.backend.backend() == "jax")


@needs("values_in_state", "keras:Model.trainable_variables", "keras:Model.non_trainable_variables")
def test_the_state_of_a_train_function_on_jax():
    model = keras.Sequential([keras.Input((2,)), keras.layers.BatchNormalization(), keras.layers.Dense(1)])
    model.compile("adam", loss="mse")
    model.optimizer.build(model.trainable_variables)
    states = []
    if keras.backend.backend() == "jax":
        model.make_train_function()
        step = model.train_function

        def watched(state, iterator):
            states.append([[np.array(each) for each in part] for part in state])
            return step(state, iterator)

        model.train_function = watched
        model.fit(np.ones((2, 2)), np.ones((2, 1)), shuffle=False, verbose=0)
    parts = (model.trainable_variables, model.non_trainable_variables, model.optimizer.variables)
    state = states[0] if states else [[keras.ops.convert_to_numpy(each) for each in part] for part in parts]
    found = keras_private.values_in_state(model, state)
    assert [variable.path for variable, _ in found] == [each.path for part in parts for each in part]
    assert all(tuple(variable.shape) == value.shape for variable, value in found)


@needs("callback_list", "keras:callbacks.CallbackList.set_model")
def test_a_callback_finds_its_neighbors():
    found = []

    class Asks(keras.callbacks.Callback):
        def set_model(self, model):
            super().set_model(model)
            found.append(keras_private.callback_list())

    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    asks = Asks()
    everybody = keras.callbacks.CallbackList([asks], add_history=True, model=model)
    assert found == [everybody]
    assert everybody.callbacks[0] is asks
    assert keras_private.callback_list() is None


@needs(
    "trained, applications, clock",
    "keras:optimizers.Optimizer._trainable_variables",
    "keras:optimizers.Optimizer._iterations",
)
def test_the_variables_of_an_optimizer_and_its_gradients_are_counted():
    variable = keras.Variable([1.0])
    optimizer = keras.optimizers.SGD(0.1, gradient_accumulation_steps=2)
    assert keras_private.trained(optimizer) == []
    optimizer.build([variable])
    for _ in range(3):
        optimizer.apply([keras.ops.ones((1,))], [variable])
    assert keras_private.applications(optimizer) == int(keras_private.clock(optimizer)) == 3
    assert int(optimizer.iterations) == 1
    assert keras_private.trained(optimizer)[0] is variable


@needs(
    "copy_of, clipped, set_applications",
    "keras:optimizers.Optimizer._clip_gradients",
    "keras:optimizers.Optimizer._iterations",
)
def test_an_optimizer_is_followed_on_copies():
    variable = keras.Variable([3.0, 4.0], name="embedding")
    variable.constraint = keras.constraints.NonNeg()
    copy = keras_private.copy_of(variable, [1.0, 2.0])
    assert (copy.path, copy.constraint) == (variable.path, variable.constraint)
    optimizer = keras.optimizers.SGD(0.1, clipnorm=1.0)
    assert keras.ops.convert_to_numpy(keras_private.clipped(optimizer, [variable.value])[0]) == pytest.approx(
        [0.6, 0.8]
    )
    keras_private.set_applications(optimizer, 7)
    assert int(optimizer.iterations) == 7


@needs(
    "weights_file",
    "keras.src.saving.saving_lib:H5IOStore",
    "keras.src.saving.saving_lib:_save_state",
)
def test_weights_are_written_into_memory():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    kernel = keras.ops.convert_to_numpy(model.weights[0])
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "model.weights.h5"
        path.write_bytes(keras_private.weights_file(model))
        model.weights[0].assign(0 * kernel)
        model.load_weights(path)
    assert np.array_equal(keras.ops.convert_to_numpy(model.weights[0]), kernel)


@needs("trace")
def test_a_model_is_called_on_shapes_alone():
    model = keras.Sequential([keras.Input((None, 3)), keras.layers.Dense(2)])
    output = keras_private.trace(model, [((1, 5, 3), model.inputs[0])])
    assert tuple(output.shape) == (1, 5, 2)


@pytest.mark.parametrize(
    ("check", "entry", "name"), [(check, entry, name) for check, entry, names in CHECKS for name in names]
)
def test_what_keras_changed_is_told_in_one_line(check, entry, name, monkeypatch):
    if any(backend in check.__name__ and keras.backend.backend() != backend for backend in ("torch", "tensorflow")):
        pytest.skip("about another backend")
    take_away(name, monkeypatch)
    with pytest.raises(pytest.fail.Exception) as told:
        check()
    line = str(told.value)
    assert "\n" not in line
    assert line.startswith(f"Keras {keras.__version__}: keras_private.{entry} needs ")
    assert name in line


def take_away(name, monkeypatch):
    """Makes Keras as if `name` (`module:Class.name`) had been removed; what only instances have cannot be read."""
    module, path = name.split(":")
    *parents, last = path.split(".")
    owner = functools.reduce(getattr, parents, importlib.import_module(module))

    def gone(*_, **__):
        raise AttributeError(f"'{last}' is gone")

    if inspect.isclass(owner):
        monkeypatch.setattr(owner, last, property(gone, lambda *_: None), raising=False)
    elif hasattr(keras_private, last):  # imported from there, so that `import difflr` would fail with Python's own line
        monkeypatch.setattr(keras_private, last, gone)
    else:
        monkeypatch.delattr(owner, last)


@needs("let_trainable_be_set", "keras:Layer.__setattr__")
def test_setting_trainable_reaches_what_is_below():
    """On TensorFlow alone it does not without it: `AutoTrackable` skips setting an attribute to what it is."""
    keras_private.let_trainable_be_set()
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.layers[0].kernel.trainable = False
    model.trainable = True
    assert model.layers[0].kernel.trainable
    model.trainable = False
    assert not model.layers[0].bias.trainable


@needs("ITERATION, LEARNING_RATE", "keras:optimizers.Optimizer.variables")
def test_what_an_optimizer_has_before_it_is_built():
    names = [variable.name for variable in keras.optimizers.Adam(0.1).variables]
    assert names == [keras_private.ITERATION, keras_private.LEARNING_RATE]


@needs("sync_state, values_in_state", "keras:Model.make_train_function")
def test_a_step_is_renewed_inside_fit():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", loss="mse")
    keras_private.renew_step(model)
    assert model.train_function is None  # no `fit` yet
    model.make_train_function()
    before = model.train_function
    keras_private.renew_step(model)
    assert model.train_function not in (None, before)
    keras_private.sync_state(model)  # nothing to do outside `fit`
    state = (model.trainable_variables, model.non_trainable_variables)
    values = ([variable.value for variable in variables] for variables in state)
    found = keras_private.values_in_state(model, tuple(values))
    assert [id(variable) for variable, _ in found] == [id(variable) for variables in state for variable in variables]


@needs("attributes", "keras:Layer._layers")
def test_attributes_hold_layers_and_variables_once():
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.first = keras.layers.Dense(1)
            self.rest = [keras.layers.Dense(1)]

    found = keras_private.attributes(Own())
    inside = [item for value in found.values() for item in (value if isinstance(value, list) else [value])]
    assert {"first", "rest"} <= set(found)
    assert sum(isinstance(item, keras.Layer) for item in inside) == 2


@needs("layer_flags, set_layer_flags", "keras:Layer._trainable", "keras:Layer._flatten_layers")
def test_flags_of_layers_are_put_back_one_by_one():
    inner = keras.Sequential([keras.layers.Dense(1), keras.layers.Dense(1)])
    model = keras.Sequential([keras.Input((2,)), inner])
    inner.trainable = False
    inner.layers[1].trainable = True
    flags = keras_private.layer_flags(model)
    model.trainable = False
    keras_private.set_layer_flags(flags)
    assert [inner.trainable, *(layer.trainable for layer in inner.layers)] == [False, False, True]
    assert not inner.layers[1].kernel.trainable  # variables have flags of their own


@needs(
    "global_seed, set_global_seed",
    "keras.src.backend.common:global_state.get_global_attribute",
)
def test_the_global_seed_is_put_back():
    def draw():
        return keras.ops.convert_to_numpy(keras.random.normal((2,))).tolist()

    keras_private.set_global_seed(None)
    assert keras_private.global_seed() is None
    draw()
    found = keras_private.global_seed()
    first = draw()
    assert draw() != first
    keras_private.set_global_seed(found)
    assert draw() == first


@needs("forget_metrics", "keras:Model.compile")
def test_metrics_are_forgotten():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    keras_private.forget_metrics(model)
    model.compile("sgd", "mse", metrics=["mae"])
    keras_private.forget_metrics(model)
    model.compile("sgd", "mse")
    assert [metric.name for metric in model.metrics] == ["loss"]

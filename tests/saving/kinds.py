"""The models that are saved, each with a plan and an optimizer. Both processes read this file: one saves, one loads."""

import contextlib
import itertools
from unittest import mock

import keras
import numpy as np
from keras import layers

import difflr
from difflr import FROZEN, Plan, Rule, keras_private, optimizers

register = keras.saving.register_keras_serializable(package="kinds")
VECTORS = np.random.default_rng(1).normal(size=(8, 4)).astype("float32")
SEQUENCES = np.random.default_rng(2).normal(size=(8, 3, 4)).astype("float32")
PICTURES = np.random.default_rng(3).normal(size=(4, 32, 32, 3)).astype("float32")
TOKENS = np.random.default_rng(4).integers(0, 6, size=(8, 3))
TARGETS = np.random.default_rng(5).normal(size=(8, 2)).astype("float32")

KINDS = {}


def kind(function):
    KINDS[function.__name__] = function
    return function


def compiled(model, optimizer, graph=False):
    """The model, compiled. TensorFlow traces a graph only where asked: a second for each of many small models."""
    model.compile(optimizer, loss="mse", run_eagerly=keras.backend.backend() == "tensorflow" and not graph)
    return model


def tried(model, optimizer, loss="mse"):
    """Compiled for a few steps among many models of the same shape: step by step is faster then."""
    model.compile(optimizer, loss=loss, run_eagerly=keras.backend.backend() != "torch")
    train(model, VECTORS)
    return model


def targets(x):
    return TARGETS[: len(x[0] if isinstance(x, list) else x)]


def train(model, x, steps=3):
    """Some steps, each on all data. Not `fit`: on JAX stock Keras cannot `fit` a second time with `use_ema`."""
    for _ in range(steps):
        model.train_on_batch(x, targets(x))


@contextlib.contextmanager
def quick_initializers():
    """Weights begin as numpy's numbers: JAX would compile a program for each shape, which takes longer than all tests."""
    numbers = itertools.count()

    def filled(make):
        def initialize(self, shape, dtype=None, **_):
            return keras.ops.convert_to_tensor(np.asarray(make(shape), "float32"), dtype or "float32")

        return initialize

    def random(shape):
        return np.random.default_rng(next(numbers)).uniform(-0.5, 0.5, shape) / np.sqrt(max([1, *shape[:-1]]))

    given = keras.initializers
    makers = {given.Zeros: np.zeros, given.Ones: np.ones}
    makers |= dict.fromkeys((given.VarianceScaling, given.Orthogonal, given.RandomUniform), random)
    with contextlib.ExitStack() as stack:
        for cls, make in makers.items():
            stack.enter_context(mock.patch.object(cls, "__call__", filled(make)))
        yield


def mlp(model=keras.Model, width=4, **names):
    """Two equal layers and a head, with automatic names unless told otherwise."""
    inputs = keras.Input((4,))
    x = layers.Dense(width, activation="tanh", name=names.get("one"))(inputs)
    x = layers.Dense(width, activation="tanh", name=names.get("two"))(x)
    return model(inputs, layers.Dense(2, name=names.get("head"))(x))


# -- kinds of models ---------------------------------------------------------------------------------------------------


@kind
def functional():
    model = mlp()
    rules = [
        Rule("*/bias", multiplier=2.0, weight_decay_multiplier=0.0),
        (model.layers[1], 0.1),
        (model.layers[2], 0.3),
    ]
    return compiled(
        model, optimizers.AdamW(0.01, weight_decay=0.1, multipliers=Plan(model, rules)), graph=True
    ), VECTORS


@kind
def sequential_built():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(4), layers.Dense(4), layers.Dense(2)])
    plan = Plan(model, [(model.layers[0], FROZEN), (model.layers[1].bias, 0.5)])
    return compiled(model, optimizers.SGD(0.05, momentum=0.9, nesterov=True, multipliers=plan)), VECTORS


@kind
def sequential_deferred():
    model = keras.Sequential([layers.Dense(4, activation="tanh"), layers.Dense(4), layers.Dense(2)])
    return compiled(model, optimizers.Adam(0.01, multipliers=by_shape)), VECTORS


def by_shape(variable):
    return 0.1 if tuple(variable.shape) == (4, 4) else 1.0


class Parts:
    """The inside of two subclassed models: automatic names, a list of equal layers, a weight of the model's own."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.blocks = [layers.Dense(4, activation="tanh") for _ in range(3)]
        self.normalization = layers.BatchNormalization()
        self.head = layers.Dense(2)

    def build(self, shape):
        self.scale = self.add_weight(shape=(4,), initializer="ones", name="scale")
        for block in self.blocks:
            block.build((None, 4))
        self.normalization.build((None, 4))
        self.head.build((None, 4))
        super().build(shape)

    def call(self, x, training=False):
        for block in self.blocks:
            x = block(x)
        return self.head(self.normalization(x * self.scale, training=training))


@register
class SubclassedKeras(Parts, keras.Model):
    pass


@register
class SubclassedDifflr(Parts, difflr.Model):
    pass


def subclassed(cls, rules, optimizer):
    model = cls()
    model.build((None, 4))
    return compiled(model, optimizer(0.01, multipliers=Plan(model, rules(model))), graph=True), VECTORS


@kind
def subclassed_keras():
    return subclassed(
        SubclassedKeras, lambda model: {"blocks/0": 0.1, "blocks/1": FROZEN, "scale": 0.3}, optimizers.Nadam
    )


@kind
def subclassed_difflr():
    return subclassed(
        SubclassedDifflr,
        lambda model: {"blocks/0": FROZEN, "blocks/2": 0.1, "normalization": FROZEN, "scale": 0.3},
        optimizers.AdamW,
    )


@kind
def subclassed_keras_with_frozen_statistics():
    return subclassed(
        SubclassedKeras, lambda model: {"blocks/1": 0.1, "normalization": FROZEN, "head/bias": 2.0}, optimizers.SGD
    )


@register
class InCode(keras.Model):
    """A subclassed model that is built by its first call, with a functional model made by its own code."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = mlp(width=3)
        self.head = layers.Dense(2)

    def call(self, x):
        return self.head(self.inner(x))


@kind
def subclassed_built_by_call():
    model = InCode()
    model(VECTORS)
    return compiled(model, optimizers.Adam(0.01, multipliers=Plan(model, {"inner/dense": 0.1, "head": 2.0}))), VECTORS


@kind
def functional_that_declares():
    own = difflr.layers
    inputs = keras.Input((4,))
    x = own.Dense(4, W_learning_rate_multiplier=0.1, b_learning_rate_multiplier=0.0)(inputs)
    x = own.Dense(4, W_learning_rate_multiplier=0.0, b_learning_rate_multiplier=0.5)(x)
    x = own.LayerNormalization(learning_rate_multiplier={"gamma": 0.2, "beta": 0.0})(x)
    return compiled(difflr.Model(inputs, own.Dense(2)(x)), "sgd"), VECTORS


@kind
def keras_model_that_declares():
    own = difflr.layers
    model = keras.Sequential([keras.Input((4,)), own.Dense(4, learning_rate_multiplier=0.1), own.Dense(2)])
    return compiled(model, optimizers.RMSprop(0.01)), VECTORS


@kind
def sequential_that_declares():
    own = difflr.layers
    backbone = difflr.Sequential([own.Dense(4, learning_rate_multiplier=0.1), layers.Dense(4)])
    return compiled(difflr.Sequential([backbone, own.Dense(2, b_learning_rate_multiplier=0.0)]), "adamax"), VECTORS


@kind
def nested_sequential():
    backbone = keras.Sequential([layers.Dense(4, name="stem"), layers.Dense(4), layers.Dense(4)], name="backbone")
    model = keras.Sequential([keras.Input((4,)), backbone, layers.Dense(2, name="head")])
    plan = Plan(model, {"backbone": 0.1, "backbone/stem": FROZEN, "*/bias": 2.0})
    return compiled(model, optimizers.Adamax(0.01, multipliers=plan)), VECTORS


@kind
def two_towers():
    inputs = [keras.Input((4,)), keras.Input((4,))]
    towers = [
        keras.Sequential([layers.Dense(4, name="a"), layers.Dense(4, name="b")], name=n) for n in ("left", "right")
    ]
    x = layers.Concatenate()([tower(each) for tower, each in zip(towers, inputs, strict=True)])
    model = keras.Model(inputs, layers.Dense(2, name="head")(x))
    plan = Plan(model, {"left/a": 0.1, "right/a": 0.7, "right/b": FROZEN})
    optimizer = optimizers.Muon(0.01, weight_decay=0.1, exclude_layers=["head"], multipliers=plan)
    if keras.__version__.startswith("3.12."):  # its Muon knows variables by path: two towers of equal names share state
        optimizer = optimizers.AdamW(0.01, weight_decay=0.1, multipliers=plan)
    return compiled(model, optimizer, graph=True), [VECTORS, VECTORS[::-1].copy()]


@kind
def shared_layer():
    shared, inputs = layers.Dense(4), [keras.Input((4,)), keras.Input((4,))]
    pair = keras.Sequential([layers.Dense(4), layers.Dense(4, name="b")], name="pair")  # used twice, as `shared`
    x = layers.Concatenate()([pair(shared(each)) for each in inputs])
    model = keras.Model(inputs, layers.Dense(2)(x))
    plan = Plan(model, {shared: 0.1, "pair/b": 0.5})
    if hasattr(optimizers, "ScheduleFreeAdamW"):
        optimizer = optimizers.ScheduleFreeAdamW(0.01, warmup_steps=3, multipliers=plan)
    else:  # an older Keras
        optimizer = optimizers.Adam(0.01, multipliers=plan)
    return compiled(model, optimizer), [VECTORS, VECTORS[::-1].copy()]


@register
class Tied(keras.Model):
    """The embedding's table is the output's kernel, too."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.embedding = layers.Embedding(6, 4)
        self.mix = layers.Dense(4)
        self.head = layers.Dense(2)

    def call(self, tokens):
        x = self.mix(keras.ops.mean(self.embedding(tokens), axis=1))
        return self.head(keras.ops.matmul(keras.ops.matmul(x, keras.ops.transpose(self.table)), self.table))

    @property
    def table(self):
        return self.embedding.embeddings


@kind
def tied_weights():
    model = Tied()
    model(TOKENS)
    plan = Plan(model, {"embedding": 0.1, "head": 2.0})
    return compiled(model, optimizers.Ftrl(0.05, multipliers=plan)), TOKENS


@kind
def application_cut_open():
    body = keras.applications.MobileNetV2((32, 32, 3), alpha=0.35, include_top=False, weights=None)
    x = layers.GlobalAveragePooling2D()(body.get_layer("block_2_project_BN").output)
    model = keras.Model(body.input, layers.Dense(2, name="head")(x))
    norms = [layer for layer in model.layers if isinstance(layer, layers.BatchNormalization)]
    rules = [(norm, FROZEN) for norm in norms] + [(model.get_layer("Conv1"), FROZEN), ("block_1*", 0.1)]
    return compiled(model, optimizers.SGD(0.01, momentum=0.9, multipliers=Plan(model, rules))), PICTURES


@kind
def application_whole():
    body = keras.applications.MobileNet((32, 32, 3), alpha=0.25, include_top=False, weights=None)
    inputs = keras.Input((32, 32, 3))
    x = layers.GlobalAveragePooling2D()(body(inputs))
    model = keras.Model(inputs, layers.Dense(2, name="head")(x))
    rules = [(body, FROZEN), (body.get_layer("conv_pw_13"), {"frozen": False, "multiplier": 0.1})]
    return compiled(model, optimizers.Adam(0.01, multipliers=Plan(model, rules))), PICTURES


@register
class Block(layers.Layer):
    """A custom layer with layers and a weight in it."""

    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1],), initializer="ones", name="scale")
        self.attention = layers.MultiHeadAttention(1, 2)
        self.attention.build(shape, shape)
        self.one, self.two = layers.Dense(shape[-1]), layers.Dense(shape[-1])
        self.one.build(shape)
        self.two.build(shape)

    def call(self, x):
        return self.two(self.one(x + self.attention(x, x))) * self.scale


@kind
def custom_layers():
    inputs = keras.Input((3, 4))
    x = Block(name="marked")(Block()(inputs))
    x = layers.Bidirectional(layers.SimpleRNN(2, unroll=True))(x)
    model = keras.Model(inputs, layers.Dense(2)(x))
    plan = Plan(model, {"marked/one": 0.1, "block*/attention": FROZEN, "marked/scale": 0.2, "bidirectional*": 0.5})
    return compiled(model, optimizers.Adam(0.01, multipliers=plan)), SEQUENCES


# -- what a plan and an optimizer can hold -----------------------------------------------------------------------------


@kind
def mixed_float16():
    inputs = keras.Input((4,))
    x = layers.Dense(4, name="body", dtype="mixed_float16")(inputs)
    model = keras.Model(inputs, layers.Dense(2, name="head", dtype="float32")(x))
    inner = optimizers.Adam(0.01, multipliers=Plan(model, {"body": 0.1, "head/bias": FROZEN}))
    return compiled(model, keras.optimizers.LossScaleOptimizer(inner, dynamic_growth_steps=3), graph=True), VECTORS


def normalizations(model):
    """Three equal normalizations in a row, so that names and shapes do not tell which is which."""
    inputs = keras.Input((4,))
    norms = [layers.BatchNormalization() for _ in range(3)]
    x = layers.Dense(4, use_bias=False)(inputs)
    for norm in norms:
        x = norm(x)
    return model(inputs, layers.Dense(2)(x)), norms


@kind
def frozen_statistics():
    model, norms = normalizations(keras.Model)
    plan = Plan(model, [(norms[0], FROZEN), (norms[1].gamma, FROZEN), (norms[2], 0.1)])
    return compiled(model, optimizers.SGD(0.05, momentum=0.9, multipliers=plan), graph=True), VECTORS


@kind
def frozen_statistics_in_difflr_model():
    model, norms = normalizations(difflr.Model)
    plan = Plan(model, [(norms[0].gamma, FROZEN), (norms[1], FROZEN)])
    return compiled(model, optimizers.SGD(0.05, momentum=0.9, multipliers=plan)), VECTORS


@kind
def frozen_with_updated_statistics():
    model, norms = normalizations(keras.Model)
    plan = Plan(model, [(norms[0], FROZEN)], frozen_statistics="update")
    return compiled(model, optimizers.SGD(0.05, momentum=0.9, multipliers=plan)), VECTORS


@kind
def frozen_by_user():
    model = mlp()
    model.layers[1].trainable = False
    return compiled(model, optimizers.Adam(0.01, multipliers=Plan(model, {model.layers[2]: 0.1}))), VECTORS


@kind
def group_schedules():
    model = mlp(one="one", two="two", head="head")
    schedules = keras.optimizers.schedules
    rules = {
        "one": {"multiplier": 0.1, "schedule": schedules.ExponentialDecay(1.0, 2, 0.5)},
        "two": schedules.PiecewiseConstantDecay([1, 3, 5], [0.0, 1.0, 0.5, 0.1]),
    }
    product = Plan(model, rules) * Plan(model, {"one": schedules.CosineDecay(1.0, 20)})
    return compiled(model, optimizers.Adam(schedules.CosineDecay(0.05, 30), multipliers=product), graph=True), VECTORS


@kind
def changed_while_training():
    model = mlp(one="one", two="two", head="head")
    return compiled(
        model, optimizers.Adam(0.01, multipliers=Plan(model, {"one": 0.1, "two": 0.5})), graph=True
    ), VECTORS


def change(name, model):
    """What happens to a model after some training, before it is saved."""
    if name == "changed_while_training":
        model.optimizer.multipliers[model.get_layer("one")] = 0.3
        model.optimizer.multipliers[model.get_layer("two")] = 1.0  # as the head: now two groups have one number
        model.optimizer.learning_rate = 0.02


@kind
def one_number():
    return compiled(mlp(), optimizers.Adadelta(1.0, multipliers=0.3)), VECTORS


@kind
def mapping_of_layers():
    model = mlp()
    return compiled(
        model, optimizers.Lamb(0.01, multipliers=[(model.layers[1], 0.1), (model.layers[2].bias, 0.0)])
    ), VECTORS


@kind
def nothing_given():
    return compiled(mlp(), optimizers.Adagrad(0.1), graph=True), VECTORS


@kind
def averaging_accumulation_clipping():
    model = mlp()
    optimizer = optimizers.Adam(
        0.01,
        use_ema=True,
        ema_momentum=0.5,
        ema_overwrite_frequency=3,
        gradient_accumulation_steps=2,
        global_clipnorm=0.1,
        multipliers=Plan(model, [(model.layers[1], 0.1), (model.layers[2].bias, FROZEN)]),
    )
    return compiled(model, optimizer, graph=True), VECTORS


@kind
def excluded_from_weight_decay():
    model = mlp()
    optimizer = optimizers.AdamW(0.01, weight_decay=0.5, multipliers=0.5, weight_decay_follows="base_rate")
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    return compiled(model, optimizer), VECTORS


class ThirdParty(keras.optimizers.SGD):
    """An optimizer from outside Keras."""


MadeDifferential = optimizers.differential(ThirdParty)


@kind
def third_party():
    model = mlp()
    optimizer = MadeDifferential(0.05, momentum=0.9, multipliers=Plan(model, {model.layers[1]: 0.1}))
    return compiled(model, optimizer), VECTORS


def several_optimizers():
    model = mlp(one="one", two="two", head="head")
    held = optimizers.SGD(0.1, momentum=0.9, multipliers=0.5), optimizers.Adam(0.01, multipliers=by_shape)
    return compiled(model, held_by_one(*held)), VECTORS


if keras_private.MULTI_OPTIMIZERS:
    kind(several_optimizers)


def held_by_one(default, for_bodies):
    return keras.optimizers.MultiOptimizer(keras.optimizers.OptimizerMap(default, {"(one|two)/.*": for_bodies}))


@kind
def saved_before_training():
    model = mlp()
    return compiled(model, optimizers.Adam(0.01, multipliers=Plan(model, {model.layers[1]: FROZEN}))), VECTORS


# -- what is compared --------------------------------------------------------------------------------------------------


def state(model):
    """Every number that training depends on, as name -> array."""
    arrays = {f"weight {i} of {v.name}": v for i, v in enumerate(model.weights)}
    # What a callback has set is in the vector of numbers, and after loading in the plan.
    kept = [variable for variable in model.optimizer.variables if variable.name != "numbers"]
    arrays |= {f"state {i}": variable for i, variable in enumerate(kept)}
    return {name: keras.ops.convert_to_numpy(variable) for name, variable in arrays.items()}


def told(model):
    """What the optimizer says about itself, as plain data."""
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    if isinstance(optimizer, keras_private.MULTI_OPTIMIZERS):
        return [told_by(each, model) for each in optimizer.optimizers]
    return told_by(optimizer, model)


def told_by(optimizer, model):
    plan = optimizer.plan
    return {
        "trainable": [[row.path, *map(str, row.setting)] for row in plan.rows if not row.frozen],
        "multipliers": [value for _, value in optimizer.multipliers.items() if value],
        "trained": len(model.trainable_variables),
        "follows": optimizer.weight_decay_follows,
    }

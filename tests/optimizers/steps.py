"""The one place that makes variables, gradients, models and steps for the tests of optimizers."""

import inspect
import itertools

import keras
import numpy as np

import difflr
from difflr.optimizers.differential import optimizer_classes

BACKEND = keras.backend.backend()

# Found from Keras: the next Keras optimizer is tested without an edit here.
NAMES = sorted(optimizer_classes())


def knows(name, *settings):
    """Whether this Keras has the optimizer `name`, with these arguments."""
    cls = getattr(keras.optimizers, name, None)
    return cls is not None and set(settings) <= set(inspect.signature(cls).parameters)


# Switched on with every optimizer. (Gradient accumulation has tests of its own: outside `jit` JAX compiles it anew at
# every step.)
SETTINGS = {
    "plain": {},
    "decay and averages": {"weight_decay": 0.3, "use_ema": True, "ema_momentum": 0.9, "ema_overwrite_frequency": 2},
    "clipped and scaled": {"global_clipnorm": 0.7, "loss_scale_factor": 8.0},
}

# For `same_everywhere`: with each optimizer one of them, in turn; and those whose update is unlike the others'.
ONE_SETTING = [f"{name}-{setting}" for name, setting in zip(NAMES, itertools.cycle(SETTINGS))]
SOME = ["SGD", "AdamW", "Adafactor", "Muon"]

BASE = 0.02
SLOW = 0.1

# Muon orthogonalises the matrices and leaves the vectors to Adam: each half has both.
SHAPES = {"fast_kernel": (4, 3), "fast_bias": (3,), "slow_kernel": (3, 5), "slow_bias": (5,)}


def stock(name, rate=BASE, **settings):
    return getattr(keras.optimizers, name)(rate, **settings)


def ours(name, multipliers, rate=BASE, fused=False, **settings):
    """On torch without fused kernels, which are compared with this in `test_fused.py`."""
    return getattr(difflr.optimizers, name)(rate, multipliers=multipliers, fused=fused, **settings)


def product(rate, multiplier):
    """The rate that float32 arithmetic makes of the two."""
    return float(np.float32(rate) * np.float32(multiplier))


def decay_arguments(name):
    """The arguments of an optimizer that are weight decays: Muon has two."""
    parameters = inspect.signature(getattr(keras.optimizers, name).__init__).parameters
    return [parameter for parameter in parameters if parameter.endswith("weight_decay")]


def new_variables():
    numbers = np.random.default_rng(0)
    return [keras.Variable(numbers.normal(size=shape).astype("float32"), name=n) for n, shape in SHAPES.items()]


def slow_half(variables, multiplier=SLOW):
    """The second half of the variables at `multiplier`, as pairs."""
    return [(variable, multiplier) for variable in variables[2:]]


def gradients(steps):
    """For each step the gradients of the four variables; none is close to 0."""
    numbers = np.random.default_rng(1)
    drawn = [[numbers.normal(size=shape) for shape in SHAPES.values()] for _ in range(steps)]
    return [[(np.sign(g) * (0.1 + np.abs(g))).astype("float32") for g in grads] for grads in drawn]


def tensors(arrays):
    return [keras.ops.convert_to_tensor(array) for array in arrays]


def values(variables):
    return [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]


def train(optimizer, variables, steps=3, step=None):
    """Applies the same gradients at each call, with `step` or eagerly; returns the variables' values afterwards."""
    optimizer.build(variables)
    step = step or (lambda grads: optimizer.apply(grads, variables))
    for grads in gradients(steps):
        step(tensors(grads))
    return values(variables)


_STOCK = {}


def stock_values(name, rate=BASE, **settings):
    """The variables' values after `train` with the stock optimizer; computed once."""
    key = repr((name, rate, sorted(settings.items())))
    if key not in _STOCK:
        _STOCK[key] = train(stock(name, rate, **settings), new_variables())
    return _STOCK[key]


def restore(variables, saved):
    for variable, value in zip(variables, saved, strict=True):
        variable.assign(value)


def compiled_step(optimizer, variables):
    """`optimizer.apply` through XLA, for a built optimizer (torch has no such step in Keras)."""
    if BACKEND == "jax":
        import jax

        function = jax.jit(optimizer.stateless_apply)

        def step(grads):
            new, state = function(
                [v.value for v in optimizer.variables],
                [g for g, v in zip(grads, variables, strict=True) if v.trainable],
                [v.value for v in variables if v.trainable],
            )
            for variable, value in zip([v for v in variables if v.trainable], new, strict=True):
                variable.assign(value)
            for variable, value in zip(optimizer.variables, state, strict=True):
                variable.assign(value)

        return step
    if BACKEND == "tensorflow":
        import tensorflow as tf

        return tf.function(lambda grads: optimizer.apply(grads, variables), jit_compile=True)
    return lambda grads: optimizer.apply(grads, variables)


def assert_same(got, expected):
    """Bit for bit."""
    assert len(got) == len(expected)
    for mine, theirs in zip(got, expected, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def assert_close(got, expected, rtol=2e-6, atol=1e-7):
    assert len(got) == len(expected)
    for mine, theirs in zip(got, expected, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=rtol, atol=atol)


def assert_all_differ(got, other):
    for mine, theirs in zip(got, other, strict=True):
        assert not np.array_equal(mine, theirs)


# -- models, for what needs `fit` -------------------------------------------------------------------------------------

X = np.random.default_rng(2).uniform(0.5, 1.5, (8, 3)).astype("float32")
Y = np.random.default_rng(3).normal(size=(8, 2)).astype("float32")


def mean_output(y_true, y_pred):
    """A loss whose gradient does not depend on the weights of `side_by_side`."""
    return keras.ops.mean(y_pred, axis=-1)


def side_by_side():
    """The layers `fast` and `slow` next to each other: with `mean_output` both get the same gradient at every step."""
    inputs = keras.Input((3,), name="inputs")
    branches = [
        keras.layers.Dense(2, name=name, kernel_initializer=keras.initializers.GlorotUniform(seed=seed))(inputs)
        for seed, name in enumerate(["fast", "slow"])
    ]
    return keras.Model(inputs, keras.layers.Add()(branches))


def chain():
    """`body` and `head` one after another."""
    layers = [
        keras.layers.Dense(
            units, activation=activation, name=name, kernel_initializer=keras.initializers.GlorotUniform(seed=seed)
        )
        for seed, (name, units, activation) in enumerate([("body", 4, "tanh"), ("head", 2, None)])
    ]
    return keras.Sequential([keras.Input((3,)), *layers])


def fit(model, epochs=1, batch_size=8, **arguments):
    model.fit(X, Y, epochs=epochs, batch_size=batch_size, shuffle=False, verbose=0, **arguments)
    return model


def moves(model, epochs=1, **arguments):
    """How far the kernels of `fast` and `slow` move in `fit`."""
    before = values(model.get_layer(name).kernel for name in ("fast", "slow"))
    fit(model, epochs, **arguments)
    after = values(model.get_layer(name).kernel for name in ("fast", "slow"))
    return [late - early for early, late in zip(before, after, strict=True)]


def kernel_gradient():
    """The gradient of both kernels of `side_by_side` under `mean_output`."""
    return np.repeat(X.mean(axis=0)[:, None] / 2, 2, axis=1)

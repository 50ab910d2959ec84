"""`Snapshot`: whatever happens in the block, nothing of it is left."""

import keras
import numpy as np
import pytest

import difflr
from choosing.networks import LOSS, assert_unchanged, clusters, network, state_of
from difflr.verification.snapshot import Snapshot

pytestmark = pytest.mark.usefixtures("quick_compilation")
X, Y = clusters()


class Raise(keras.callbacks.Callback):
    def __init__(self, error):
        super().__init__()
        self.error = error

    def on_train_batch_end(self, batch, logs=None):
        if batch == 1 and self.error is not None:
            raise self.error


def prepared(kind):
    model = network()
    if kind == "mixed_float16":
        keras.config.set_dtype_policy("mixed_float16")
        try:
            model = network()
        finally:
            keras.config.set_dtype_policy("float32")
    if kind != "not compiled":
        optimizer = difflr.optimizers.Adam(1e-2, multipliers=difflr.Plan(model, {"stem": difflr.FROZEN}))
        model.compile("adam" if kind == "built" else optimizer, LOSS, metrics=["accuracy"])
    if kind == "built":
        model.layers[0].trainable = False
    if kind in ("built", "mixed_float16"):
        model.fit(X, Y, verbose=0)
    return model


@pytest.mark.same_everywhere
@pytest.mark.same_everywhere(but=["built-error2"])
@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("not compiled", None),
        ("not built", ValueError("own")),
        ("built", KeyboardInterrupt()),
        ("mixed_float16", None),
    ],
)
def test_everything_is_put_back(kind, error, eager_steps):
    model = prepared(kind)
    before = state_of(model)
    x = X.copy()
    x[5] = np.nan
    try:
        with Snapshot(model):
            plan = difflr.Plan(model, {"block": difflr.FROZEN}) if kind != "built" else difflr.Plan(model)
            model.compile(difflr.optimizers.SGD(0.5, multipliers=plan), LOSS)
            keras.random.normal((2,))
            model.fit(x, Y, verbose=0, shuffle=True, callbacks=[Raise(error)])
            model.evaluate(X, Y, verbose=0)
            assert model.predict(X, verbose=0).shape == (96, 3)
    except (ValueError, KeyboardInterrupt) as caught:
        assert caught is error  # noqa: PT017 - both ways through the block are tried
    assert_unchanged(before, model)
    model.compile("sgd", LOSS)
    model.fit(X, Y, verbose=0)  # and it still trains


def test_training_goes_on_as_if_nothing_had_been(eager_steps):
    expected, model = prepared("built"), prepared("built")
    with Snapshot(model):
        model.compile("sgd", LOSS)
        model.fit(X, Y, verbose=0)
    for one in (expected, model):
        keras.utils.set_random_seed(3)
        one.fit(X, Y, epochs=2, verbose=0)
    for ours, other in zip(model.variables, expected.variables, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(ours), keras.ops.convert_to_numpy(other))


def test_a_trial_begins_where_the_first_began(eager_steps):
    model = network(dropout=0.5)
    seen = []
    with Snapshot(model) as snapshot:
        for _ in range(2):
            snapshot.rewind()
            model.compile("sgd", LOSS)
            seed = keras.callbacks.LambdaCallback(on_train_begin=lambda logs: snapshot.seed(0))
            model.fit(X, Y, verbose=0, shuffle=False, callbacks=[seed])
            np.random.normal()
            seen.append([np.array(keras.ops.convert_to_numpy(v)) for v in model.variables])
    for first, second in zip(*seen, strict=True):
        np.testing.assert_array_equal(first, second)

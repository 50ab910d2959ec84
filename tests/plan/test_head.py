"""`head_of`: the head is where the outputs come from, whatever the order of attributes."""

import keras
import numpy as np
import pytest

import difflr
from difflr.plan.head import head_of

D = keras.layers.Dense
X = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")


class ByCode(keras.Model):
    """Declares its head first and its body from the top down."""

    def __init__(self, head=None):
        super().__init__()
        self.classifier = head or D(3)
        self.dropout = keras.layers.Dropout(0.5)
        self.top = D(6)
        self.bottom = D(6)

    def call(self, x, training=False):
        x = self.bottom(x)
        x = x + self.top(x)
        return keras.ops.softmax(self.classifier(self.dropout(x, training=training)))


def called(model, x=X):
    model(x)
    return model


def heads(model):
    return {row.path for row in difflr.Plan(model, {"kind:head": 2.0}).rows if row.multiplier == 2}


def names(model):
    return {path.rpartition("/")[0] for path in heads(model)}


def test_a_head_that_is_declared_first():
    model = called(ByCode())
    assert head_of(model) == [model.classifier]
    assert names(model) == {"classifier"}


def test_a_head_that_is_declared_first_is_what_trains():
    model = called(ByCode())
    plan = difflr.head_and_backbone(model, 0)
    model.compile(difflr.optimizers.SGD(0.5, multipliers=plan), loss="mse")
    before = {row.path: keras.ops.convert_to_numpy(row.variable).copy() for row in plan.rows}
    model.fit(X, np.eye(3, dtype="float32")[np.arange(8) % 3], verbose=0)
    moved = {row.path for row in plan.rows if np.any(keras.ops.convert_to_numpy(row.variable) != before[row.path])}
    assert moved == {"classifier/kernel", "classifier/bias"}


def state(model):
    """All that a traced call may touch."""
    layers = model._flatten_layers()
    kept = {id(layer): {name: id(value) for name, value in vars(layer).items()} for layer in layers}
    nodes = [(len(layer._inbound_nodes), len(layer._outbound_nodes), layer.built, layer._called) for layer in layers]
    values = [keras.ops.convert_to_numpy(variable).tolist() for variable in model.variables]
    return kept, nodes, values, [layer._tracker.locked for layer in layers], [len(layer.losses) for layer in layers]


class Careless(ByCode):
    """A model whose call leaves traces, and a layer that only its first call in training would build."""

    def __init__(self):
        super().__init__(D(3, activity_regularizer="l2"))
        self.seen = []
        self.late = keras.layers.Activation("relu")
        self.noise = keras.layers.GaussianNoise(0.1, seed=1)
        self.counter = self.add_weight(shape=(), initializer="zeros", trainable=False, name="counter")

    def call(self, x, training=False):
        if isinstance(x, keras.KerasTensor):
            self.last, x = x, self.late(x)
        self.seen.append(x.shape)
        self.counter.assign_add(1.0)
        self.add_loss(keras.ops.mean(x))
        return super().call(self.noise(x, training=True), training)


@pytest.mark.same_everywhere
@pytest.mark.parametrize("make", [ByCode, Careless])
def test_reading_it_changes_nothing(make):
    model = called(make())
    model.compile(keras.optimizers.SGD(0.1), loss="mse", metrics=["mae"])
    model.train_on_batch(X, np.ones((8, 3), "float32"))
    before, name = state(model), keras.layers.Add().name
    seen = len(getattr(model, "seen", []))
    for _ in range(2):
        head_of(model)
        difflr.depth.depth_groups(model)
    assert state(model) == before
    assert len(getattr(model, "seen", [])) == seen
    number = int(name.rpartition("_")[2]) if "_" in name else 0
    assert keras.layers.Add().name == f"add_{number + 1}"


def test_reading_it_changes_nothing_where_it_fails():
    model = called(OfOneBackend())
    before = state(model)
    with pytest.raises(ValueError, match="cannot be traced"):
        head_of(model)
    assert state(model) == before


class OfOneBackend(ByCode):
    def call(self, x, training=False):
        x = self.top(self.bottom(x))
        if isinstance(x, keras.KerasTensor):
            raise TypeError("only real tensors, please")  # as `tf.nn.relu` and `torch.relu` do
        return self.classifier(x)


def test_what_cannot_be_read_is_asked_for():
    model = called(OfOneBackend())
    with pytest.raises(ValueError, match=r"cannot be traced \(TypeError: only real tensors.*`head=model.get_layer"):
        difflr.head_and_backbone(model, 0)
    with pytest.raises(ValueError, match="instead of 'kind:head'"):
        difflr.Plan(model, {"kind:head": 2.0})
    plan = difflr.head_and_backbone(model, 0, head="classifier")
    assert {row.path.split("/")[0]: row.frozen for row in plan.rows} == {
        "classifier": False,
        "top": True,
        "bottom": True,
    }


def test_layers_that_no_output_depends_on_are_asked_about():
    class Contrastive(ByCode):
        def __init__(self):
            super().__init__()
            self.projection = keras.Sequential([keras.Input((6,)), D(2)])  # for a `train_step`

    model = called(Contrastive())
    with pytest.raises(
        ValueError, match=r"no output depends on projection/dense, which may be head or backbone.*head="
    ):
        difflr.head_and_backbone(model)
    model.projection.trainable = False
    assert head_of(model) == [model.classifier]


def test_positions_are_no_head():
    class Positions(ByCode):
        def __init__(self):
            super().__init__()
            self.positions = keras.layers.Embedding(4, 4)

        def call(self, x, training=False):
            return super().call(x + self.positions(keras.ops.arange(4))[0], training)

    assert names(called(Positions())) == {"classifier"}


INPUTS = keras.Input((4,))


def body():
    x = INPUTS
    for name in ("low", "mid", "high"):
        x = D(4, name=name)(x)
        yield x


def aux():
    low, _, high = body()
    return {"main": D(2, name="main")(high), "aux": keras.layers.Softmax()(D(2, name="aux")(low))}


def features_and_predictions():
    _, mid, high = body()
    return [mid, high, D(2, name="main")(high)]


def a_head_on_a_head():
    *_, high = body()
    coarse = D(2, name="coarse")(high)
    return [coarse, D(5, name="fine")(keras.layers.Concatenate()([high, coarse]))]


def without_weights_behind():
    *_, high = body()
    x = keras.layers.Lambda(lambda x: x * 2)(keras.layers.Reshape((1, 2))(D(2, name="main")(high)))
    return keras.ops.softmax(x)


def a_sum_of_two():
    low, _, high = body()
    return keras.layers.Add()([D(2, name="wide")(low), D(2, name="deep")(high)])


def residual():
    *_, high = body()
    return high + D(4, name="main")(high)


def nested():
    *_, high = body()
    return keras.Sequential([D(5), keras.layers.ReLU(), D(2)], name="main")(high)


@pytest.mark.same_everywhere
@pytest.mark.parametrize(
    ("outputs", "expected"),
    [
        (aux, {"main", "aux"}),
        (features_and_predictions, {"main"}),
        (a_head_on_a_head, {"coarse", "fine"}),
        (without_weights_behind, {"main"}),
        (a_sum_of_two, {"wide", "deep"}),
        (residual, {"main"}),
        (nested, {"main"}),
    ],
)
def test_heads_of_functional_models(outputs, expected):
    model = keras.Model(INPUTS, outputs())
    assert {path.split("/")[0] for path in heads(model)} == expected
    wrapped = called(keras.Sequential([keras.Input((4,)), model]))
    assert {path.split("/")[1] for path in heads(wrapped)} == expected

    class Subclassed(keras.Model):
        def __init__(self):
            super().__init__()
            self.inner = model

        def call(self, x):
            return self.inner(x)

    assert {path.split("/")[1] for path in heads(called(Subclassed()))} == expected


def test_several_heads_of_a_subclassed_model():
    class Several(keras.Model):
        def __init__(self):
            super().__init__()
            self.boxes, self.labels, self.body = D(4), D(2), D(6)

        def call(self, inputs):
            x = self.body(inputs["a"] + inputs["b"])
            return {"labels": self.labels(x), "more": [self.boxes(x), x]}

    assert names(called(Several(), {"a": X, "b": X})) == {"boxes", "labels"}


def test_a_head_that_the_model_owns():
    class Owner(keras.Model):
        def __init__(self):
            super().__init__()
            self.body = D(4)

        def build(self, shape):
            self.body.build(shape)
            self.matrix = self.add_weight(shape=(4, 2), name="matrix")
            self.temperature = self.add_weight(shape=(), initializer="ones", name="temperature")

        def call(self, x):
            return keras.ops.matmul(self.body(x), self.matrix) / self.temperature

    assert heads(called(Owner())) == {"matrix", "temperature"}


@pytest.mark.same_everywhere
def test_a_wrapper_is_the_head_as_a_whole():
    inputs = keras.Input((3, 4))
    x = keras.layers.LSTM(4, return_sequences=True)(inputs)
    model = keras.Model(inputs, keras.layers.TimeDistributed(D(2))(x))
    assert head_of(model) == [model.layers[-1]]
    assert {path.rpartition("/")[2] for path in heads(model)} == {"kernel", "bias"}


def test_a_shared_head_and_a_tied_one():
    shared, other = D(2, name="shared"), keras.Input((4,))
    model = keras.Model([INPUTS, other], [shared(D(4, name="a")(INPUTS)), shared(D(4, name="b")(other))])
    assert names(model) == {"shared"}
    tied = D(4, name="tied")
    model = keras.Model(INPUTS, tied(D(4, name="body")(tied(INPUTS))))
    assert head_of(model) == []
    with pytest.raises(ValueError, match="the weights of its last layer are also used below it"):
        difflr.Plan(model, {"kind:head": 2.0})


def test_a_whole_network_is_no_head():
    inner = keras.Sequential([keras.Input((4,)), *[D(4) for _ in range(14)]], name="inner")
    model = keras.Model(INPUTS, inner(D(4, name="adapter")(INPUTS)))
    with pytest.raises(ValueError, match="'inner', is a whole network with 14 kernels.*head="):
        difflr.head_and_backbone(model)


def test_integer_inputs():
    class Text(keras.Model):
        def __init__(self):
            super().__init__()
            self.head, self.words = D(2), keras.layers.Embedding(9, 4)

        def call(self, ids):
            return self.head(self.words(ids)[:, 0] + keras.ops.one_hot(ids[:, 0], 4))

    assert names(called(Text(), np.ones((2, 5), "int32"))) == {"head"}


def test_a_saved_model_is_read_alike(tmp_path):
    @keras.saving.register_keras_serializable("tests")
    class Saved(ByCode):
        def get_config(self):
            return {}

    called(Saved()).save(tmp_path / "model.keras")
    assert names(keras.models.load_model(tmp_path / "model.keras")) == {"classifier"}

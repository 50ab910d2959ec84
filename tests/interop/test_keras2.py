"""Files of the Keras 2 fork, written here by hand in the format of Keras 2.0.

A model file is HDF5 with the attributes `model_config` (JSON: `class_name`, `config`, where layers carry their arguments)
and `keras_version`, and a group `model_weights`: its attribute `layer_names`, and for each layer a group with the
attribute `weight_names` and a data set for each weight. `save_weights` writes the content of that group alone.
"""

import json

import h5py
import keras
import numpy as np
import pytest

import difflr
from difflr.interop import declare_multipliers, load_keras2
from optimizers.steps import mean_output

INITIALIZER = {
    "class_name": "VarianceScaling",
    "config": {"scale": 1.0, "mode": "fan_avg", "distribution": "uniform", "seed": None},
}
COMMON = {
    "trainable": True,
    "activation": "linear",
    "use_bias": True,
    "kernel_initializer": INITIALIZER,
    "bias_initializer": {"class_name": "Zeros", "config": {}},
    "kernel_regularizer": None,
    "bias_regularizer": None,
    "activity_regularizer": None,
    "kernel_constraint": None,
    "bias_constraint": None,
}
W, B = "W_learning_rate_multiplier", "b_learning_rate_multiplier"
RANKS = {1: (6, 2), 2: (6, 6, 2), 3: (6, 6, 6, 2)}


def convolution(rank, name, w, b, **more):
    return {
        **COMMON,
        "name": name,
        "filters": 3,
        "kernel_size": [2] * rank,
        "strides": [1] * rank,
        "padding": "valid",
        "data_format": "channels_last",
        "dilation_rate": [1] * rank,
        W: w,
        B: b,
        **more,
    }


def dense(name, w, b, **more):
    return {**COMMON, "name": name, "units": 2, W: w, B: b, **more}


def in_sequence(*layers):
    return {"class_name": "Sequential", "config": [{"class_name": kind, "config": config} for kind, config in layers]}


def placed(kind, config, *inbound):
    nodes = [[[name, node, 0, {}] for name, node in inbound]] if inbound else []
    name = config["name"] if isinstance(config, dict) else "inner"
    return {"class_name": kind, "name": name, "config": config, "inbound_nodes": nodes}


def functional(name, layers, inputs, outputs):
    ends = {
        "input_layers": [[name, 0, 0] for name in inputs],
        "output_layers": [[name, number, 0] for name, number in outputs],
    }
    return {"class_name": "Model", "config": {"name": name, "layers": layers, **ends}}


def entrance(name, *shape):
    return placed(
        "InputLayer", {"name": name, "batch_input_shape": [None, *shape], "dtype": "float32", "sparse": False}
    )


def write(path, model, weights):
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = b"2.0.8"
        file.attrs["backend"] = b"tensorflow"
        file.attrs["model_config"] = json.dumps({**model, "keras_version": "2.0.8"}).encode()
        write_weights(file.create_group("model_weights"), weights)


def write_weights(group, weights):
    group.attrs["layer_names"] = [name.encode() for name in weights]
    for layer, values in weights.items():
        own = group.create_group(layer)
        own.attrs["weight_names"] = [f"{layer}/{n}:0".encode() for n in range(len(values))]
        for n, value in enumerate(values):
            own[f"{layer}/{n}:0"] = value


def numbers(*shapes):
    generator = np.random.default_rng(0)
    return [generator.normal(size=shape).astype("float32") for shape in shapes]


def multipliers(model):
    return {row.path: row.multiplier for row in difflr.Plan(model).rows}


@pytest.mark.same_everywhere
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_convolutions_of_all_ranks_and_dense(tmp_path, rank):
    first = convolution(rank, "conv", 0.1, 0.0, batch_input_shape=[None, *RANKS[rank]], dtype="float32")
    model = in_sequence(
        (f"Conv{rank}D", first),
        ("Flatten", {"name": "flat", "trainable": True}),
        ("Dense", dense("fc", None, 2.0)),
    )
    kernel, bias, weights, offset = values = numbers((2,) * rank + (2, 3), (3,), (3 * 5**rank, 2), (2,))
    write(tmp_path / "fork.h5", model, {"conv": [kernel, bias], "flat": [], "fc": [weights, offset]})
    loaded = load_keras2(tmp_path / "fork.h5")
    assert isinstance(loaded, difflr.Sequential)
    assert multipliers(loaded) == {"conv/kernel": 0.1, "conv/bias": 0.0, "fc/kernel": 1.0, "fc/bias": 2.0}
    for got, expected in zip(loaded.get_weights(), values, strict=True):
        np.testing.assert_array_equal(got, expected)
    # A stock optimizer by its name: the model makes it differential.
    x = np.random.default_rng(1).normal(size=(4, *RANKS[rank])).astype("float32")
    stock = keras.models.clone_model(loaded, clone_function=_stock)
    stock.set_weights(values)
    for model in (loaded, stock):
        model.compile(keras.optimizers.SGD(0.1), loss=mean_output)
        model.fit(x, np.zeros((4, 2), "float32"), batch_size=4, verbose=0)
    factors = (0.1, 0.0, 1.0, 2.0)
    for got, plain, start, factor in zip(loaded.get_weights(), stock.get_weights(), values, factors, strict=True):
        np.testing.assert_allclose(got - start, factor * (plain - start), atol=1e-6)
        assert np.abs(plain - start).max() > 1e-3


def _stock(layer):
    config = {name: value for name, value in layer.get_config().items() if name not in (W, B)}
    return getattr(keras.layers, type(layer).__name__).from_config(config)


@pytest.mark.same_everywhere
@pytest.mark.parametrize("last", ["Sequential", "Model"])
def test_nested_models(tmp_path, last):
    """Models inside models, called once (node 1 in Keras 2) and twice; as outputs, too."""
    inner = functional(
        "twice", [entrance("z", 4), placed("Dense", dense("tied", 0.5, None, units=4), ("z", 0))], ["z"], [("tied", 0)]
    )
    end = in_sequence(("Dense", dense("top", 0.0, 0.25, batch_input_shape=[None, 4])))["config"]
    if last == "Model":
        end = functional(
            "inner", [entrance("y", 4), placed("Dense", dense("top", 0.0, 0.25), ("y", 0))], ["y"], [("top", 0)]
        )
        end = end["config"]
    layers = [
        entrance("x", 4),
        placed("Model", inner["config"], ("x", 0)),
        placed("Dense", dense("middle", 3.0, 6.0, units=4), ("twice", 1)),
        placed(last, end, ("twice", 2)),
    ]
    layers[1]["inbound_nodes"].append([["middle", 0, 0, {}]])
    values = numbers((4, 4), (4,), (4, 4), (4,), (4, 2), (2,))
    write(
        tmp_path / "fork.h5",
        functional("outer", layers, ["x"], [("inner", 1)]),
        {"x": [], "twice": values[:2], "middle": values[2:4], "inner": values[4:]},
    )
    loaded = load_keras2(tmp_path / "fork.h5")
    assert multipliers(loaded) == {
        "twice/tied/kernel": 0.5,
        "twice/tied/bias": 1.0,
        "middle/kernel": 3.0,
        "middle/bias": 6.0,
        "inner/top/kernel": 0.0,
        "inner/top/bias": 0.25,
    }
    x = np.ones((2, 4), "float32")
    expected = x
    for position in (0, 2, 0, 4):
        expected = expected @ values[position] + values[position + 1]
    np.testing.assert_allclose(keras.ops.convert_to_numpy(loaded(x)), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.same_everywhere
def test_json_with_weights_apart(tmp_path):
    model = in_sequence(("Dense", dense("fc", 0.1, 0.2, batch_input_shape=[None, 3])))
    (tmp_path / "fork.json").write_text(json.dumps(model))
    kernel, bias = numbers((3, 2), (2,))
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        write_weights(file, {"fc": [kernel, bias]})
    loaded = load_keras2(tmp_path / "fork.json", weights=tmp_path / "weights.h5")
    np.testing.assert_array_equal(loaded.get_layer("fc").get_weights()[0], kernel)
    assert multipliers(loaded) == {"fc/kernel": 0.1, "fc/bias": 0.2}
    with pytest.raises(ValueError, match="contains only weights"):
        load_keras2(tmp_path / "weights.h5")


@pytest.mark.same_everywhere
def test_arguments_by_their_names_in_keras_1(tmp_path):
    old = {
        "name": "conv",
        "trainable": True,
        "batch_input_shape": [None, 6, 6, 2],
        "nb_filter": 3,
        "nb_row": 2,
        "nb_col": 3,
        "init": "glorot_uniform",
        "activation": "relu",
        "border_mode": "same",
        "subsample": [2, 2],
        "dim_ordering": "tf",
        "W_regularizer": {"class_name": "L1L2", "config": {"l1": 0.0, "l2": 0.5}},
        "bias": True,
        "input_dtype": "float32",
        "input_dim": None,
        W: 0.1,
        B: 0.2,
    }
    pool = {"name": "pool", "pool_size": [2, 2], "strides": [2, 2], "border_mode": "valid", "dim_ordering": "tf"}
    output = {"name": "fc", "output_dim": 2, "init": "he_normal", "activation": "linear", "bias": False, W: 0.5}
    model = in_sequence(
        ("Convolution2D", old),
        ("MaxPooling2D", pool),
        ("Flatten", {"name": "flat"}),
        ("Dropout", {"name": "drop", "p": 0.25}),
        ("Dense", output),
    )
    (tmp_path / "fork.json").write_text(json.dumps(model))
    loaded = load_keras2(tmp_path / "fork.json")
    conv = loaded.get_layer("conv")
    assert (conv.kernel_size, conv.strides, conv.padding, conv.filters) == ((2, 3), (2, 2), "same", 3)
    assert float(conv.kernel_regularizer.l2) == 0.5
    assert loaded.get_layer("drop").rate == 0.25
    assert multipliers(loaded) == {"conv/kernel": 0.1, "conv/bias": 0.2, "fc/kernel": 0.5}


@pytest.mark.same_everywhere
def test_what_is_no_model_of_the_fork(tmp_path):
    bad = in_sequence(("BatchNormalization", {"name": "bn", "batch_input_shape": [None, 3], W: 0.1}))
    for text, message in (
        ("nonsense", "neither an HDF5 file nor a JSON model"),
        ("[1]", "contains no Keras 2 model"),
        (json.dumps(bad), "layer 'bn' of class BatchNormalization has W_learning_rate_multiplier"),
    ):
        (tmp_path / "fork.json").write_text(text)
        with pytest.raises(ValueError, match=message):
            load_keras2(tmp_path / "fork.json")


# -- multipliers put onto layers --------------------------------------------------------------------------------------


def every_kind():
    inputs = keras.Input((8, 8, 3))
    features = keras.layers.SeparableConv2D(4, 3, name="separable")(inputs)
    inner = keras.Sequential(
        [keras.layers.Conv2D(4, 3, name="conv"), keras.layers.BatchNormalization(name="norm")], name="inner"
    )
    features = keras.layers.Reshape((16, 4))(inner(features))
    features = keras.layers.Bidirectional(keras.layers.GRU(3), name="rnn")(features)
    return keras.Model(inputs, keras.layers.Dense(2, name="head")(features), name="whole")


@pytest.mark.same_everywhere
def test_declared_multipliers_are_the_plans_and_stay_with_the_file(tmp_path):
    model = every_kind()
    rules = {
        "separable/depthwise_kernel": 0.1,
        "inner/conv": 0.2,
        "inner/conv/bias": difflr.FROZEN,
        "inner/norm/gamma": 0.3,
        "*/backward*/recurrent_kernel": 0.4,
        "head/bias": 2.0,
    }
    plan = difflr.Plan(model, rules)
    declaring = declare_multipliers(plan, model)
    declaring.save(tmp_path / "declaring.keras")
    loaded = keras.models.load_model(tmp_path / "declaring.keras")
    for copy in (declaring, loaded):
        assert [row.multiplier for row in difflr.Plan(copy).rows] == [row.multiplier for row in plan.rows]
        for got, expected in zip(copy.get_weights(), model.get_weights(), strict=True):
            np.testing.assert_array_equal(got, expected)
    config = declaring.get_layer("inner").get_layer("conv").get_config()
    assert (config[W], config[B]) == (0.2, 0.0)
    assert type(declaring.get_layer("inner").get_layer("norm")) is difflr.layers.BatchNormalization


@pytest.mark.same_everywhere
def test_declaring_keeps_what_the_user_froze():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="a"), keras.layers.Dense(2, name="b")])
    model.get_layer("a").trainable = False
    declaring = declare_multipliers(difflr.Plan(model, {"b": 0.5}), model)
    assert isinstance(declaring, difflr.Sequential)
    declaring.get_layer("a").trainable = True
    assert [row.multiplier for row in difflr.Plan(declaring).rows] == [1.0, 1.0, 0.5, 0.5]


@pytest.mark.same_everywhere
@pytest.mark.filterwarnings("ignore:__array__ implementation")  # `pytest.warns` lets Keras's through as the test's own
def test_what_layers_cannot_declare():
    class Own(keras.layers.Dense):
        pass

    model = keras.Sequential([keras.Input((3,)), Own(2, name="own")])
    with pytest.raises(ValueError, match="layer 'own' of class Own is not a Keras layer"):
        declare_multipliers(difflr.Plan(model, {"own": 0.5}), model)
    schedule = keras.optimizers.schedules.ExponentialDecay(1.0, 10, 0.5)
    with pytest.raises(ValueError, match="schedules, which layers cannot declare"):
        declare_multipliers(difflr.Plan(model, {"own": schedule}), model)
    with pytest.warns(UserWarning, match=r"declare no weight decay: the multipliers of 1 variable \(own/bias"):
        declare_multipliers(difflr.Plan(model, {"own/bias": {"weight_decay_multiplier": 0.0}}), model)


@pytest.mark.same_everywhere
def test_a_model_without_layers_is_refused(tmp_path):
    (tmp_path / "empty.json").write_text('{"class_name": "Sequential", "config": []}')
    with pytest.raises(ValueError, match="without layers"):
        load_keras2(tmp_path / "empty.json")

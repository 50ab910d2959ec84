"""What a layer declares: which weights, which values, what is refused, what is kept."""

import keras
import numpy as np
import pytest

import difflr
from difflr import layers

pytestmark = pytest.mark.usefixtures("quick_compilation")


def built(layer, shape=(None, 4)):
    layer.build(shape)
    return layer


def by_name(layer):
    """Weight path inside the layer -> declared multiplier."""
    return {variable.name: value for variable, value in layer.multipliers.items()}


def inner_dense(layer):
    dense = keras.layers.Dense(2)
    dense.build((None, 4))
    return dense


class TestMultipliers:
    def test_w_and_b(self):
        layer = built(layers.Dense(3, W_learning_rate_multiplier=0.1, b_learning_rate_multiplier=0.2))
        assert by_name(layer) == {"kernel": 0.1, "bias": 0.2}
        assert layer.multipliers[layer.kernel] == 0.1

    def test_the_call_of_the_original_request(self):
        layer = layers.Conv2D(
            filters=16,
            kernel_size=[2, 2],
            strides=[1, 1],
            padding="same",
            W_learning_rate_multiplier=0.0001,
            b_learning_rate_multiplier=0.0001,
        )
        assert by_name(built(layer, (None, 4, 4, 3))) == {"kernel": 0.0001, "bias": 0.0001}

    def test_what_is_not_declared_is_not_there(self):
        layer = built(layers.Dense(3, W_learning_rate_multiplier=0.1))
        assert by_name(layer) == {"kernel": 0.1}
        with pytest.raises(KeyError, match=r"bias is not in this mapping, which contains: .*kernel"):
            layer.multipliers[layer.bias]

    def test_empty_before_the_build(self):
        assert len(layers.Dense(3, learning_rate_multiplier=0.1).multipliers) == 0

    def test_one_number_for_all(self):
        assert by_name(built(layers.Dense(3, learning_rate_multiplier=0.3))) == {"kernel": 0.3, "bias": 0.3}

    def test_w_and_b_win_over_a_number(self):
        layer = layers.Dense(3, W_learning_rate_multiplier=0.1, learning_rate_multiplier=0.3)
        assert by_name(built(layer)) == {"kernel": 0.1, "bias": 0.3}
        layer = layers.Dense(3, b_learning_rate_multiplier=0.0, learning_rate_multiplier=0.3)
        assert by_name(built(layer)) == {"kernel": 0.3, "bias": 0.0}

    def test_w_is_both_kernels_of_a_separable_convolution(self):
        layer = layers.SeparableConv2D(2, 2, W_learning_rate_multiplier=0.1, b_learning_rate_multiplier=0.2)
        assert by_name(built(layer, (None, 4, 4, 3))) == {"depthwise_kernel": 0.1, "pointwise_kernel": 0.1, "bias": 0.2}

    def test_a_mapping_by_weight_name(self):
        layer = layers.LayerNormalization(learning_rate_multiplier={"gamma": 0.1, "beta": 0.0})
        assert by_name(built(layer)) == {"gamma": 0.1, "beta": 0.0}

    def test_statistics_are_no_weights_to_train(self):
        assert by_name(built(layers.BatchNormalization(learning_rate_multiplier=0.5))) == {"gamma": 0.5, "beta": 0.5}

    def test_keyed_by_identity(self):
        layer = built(layers.Dense(3, learning_rate_multiplier=0.3))
        twin = built(layers.Dense(3, learning_rate_multiplier=0.3))
        assert layer.kernel in layer.multipliers
        assert twin.kernel not in layer.multipliers

    def test_prints_by_path(self):
        layer = built(layers.Dense(3, name="d", W_learning_rate_multiplier=0.1))
        assert repr(layer.multipliers) == f"{{{layer.kernel.path}: 0.1}}"

    @pytest.mark.same_everywhere
    @pytest.mark.parametrize(
        ("layer", "shape", "name", "count"),
        [
            (lambda **m: layers.LSTM(2, **m), (None, 3, 4), "recurrent_kernel", 1),
            (lambda **m: layers.Bidirectional(keras.layers.LSTM(2), **m), (None, 3, 4), "recurrent_kernel", 2),
            (lambda **m: layers.RNN(keras.layers.GRUCell(2), **m), (None, 3, 4), "bias", 1),
            (lambda **m: layers.TimeDistributed(keras.layers.Dense(2), **m), (None, 3, 4), "kernel", 1),
        ],
        ids=["LSTM", "Bidirectional", "RNN", "TimeDistributed"],
    )
    def test_layers_inside_are_reached_by_name_and_by_number(self, layer, shape, name, count):
        named = built(layer(learning_rate_multiplier={name: 0.1}), shape)
        assert {variable.name for variable in named.multipliers} == {name}
        assert list(named.multipliers.values()) == [0.1] * count
        every = built(layer(learning_rate_multiplier=0.2), shape)
        assert len(every.multipliers) == len(every.trainable_weights) > count

    def test_layers_inside_attention_are_reached_by_their_path(self):
        def attention(multiplier):
            layer = layers.MultiHeadAttention(2, 2, learning_rate_multiplier=multiplier)
            layer.build((None, 3, 4), (None, 3, 4))
            return layer

        layer = attention({"query/kernel": 0.1, "bias": 0.2})
        assert layer.multipliers[layer.query_dense.kernel] == 0.1
        assert layer.key_dense.kernel not in layer.multipliers
        assert sorted(layer.multipliers.values()) == [0.1, 0.2, 0.2, 0.2, 0.2]
        assert len(attention(0.3).multipliers) == 8

    def test_low_rank_adaptation_counts_as_the_kernel(self):
        layer = built(layers.Dense(3, W_learning_rate_multiplier=0.1, b_learning_rate_multiplier=0.2))
        layer.enable_lora(1)
        assert by_name(layer) == {"kernel": 0.1, "bias": 0.2, "lora_kernel_a": 0.1, "lora_kernel_b": 0.1}

    def test_0_freezes(self):
        layer = built(layers.Dense(3, W_learning_rate_multiplier=0.0, b_learning_rate_multiplier=1.0))
        assert [variable.name for variable in layer.trainable_variables] == ["bias"]
        assert difflr.Plan(layer).row(layer.kernel).frozen

    def test_a_subclass_by_the_user_declares_too(self):
        class MyDense(layers.Dense):
            def build(self, shape):
                super().build(shape)
                self.scale = self.add_weight(name="scale", shape=())
                self.built = True

        layer = built(MyDense(3, learning_rate_multiplier=0.1))
        assert set(by_name(layer)) == {"kernel", "bias", "scale"}
        assert by_name(built(MyDense(3, learning_rate_multiplier={"scale": 0.1}))) == {"scale": 0.1}

    @pytest.mark.parametrize("inside", [lambda layer: [layer.add_weight(name="scale", shape=(4,))], inner_dense])
    def test_a_subclass_with_a_build_of_its_own(self, inside):
        """Weights in a list and in layers, which no attribute of the layer is."""

        class Own(layers.DeclaresMultipliers, keras.layers.Layer):
            def build(self, shape):
                self.inside = inside(self)

            def call(self, x):
                return x

        layer = built(Own(learning_rate_multiplier=0.1))
        assert {row.multiplier for row in difflr.Plan(layer).rows} == {0.1}
        assert not built(Own(learning_rate_multiplier=0.0)).trainable_variables
        with pytest.raises(ValueError, match="no trainable weight named 'missing'"):
            built(Own(learning_rate_multiplier={"missing": 0.1}))


class TestConfig:
    @pytest.mark.parametrize(
        "declared",
        [
            {"W_learning_rate_multiplier": 0.0},
            {"b_learning_rate_multiplier": 0.0, "learning_rate_multiplier": 2.0},
            {"W_learning_rate_multiplier": 0.1, "b_learning_rate_multiplier": 0.2},
            {"learning_rate_multiplier": {"kernel": 0.0, "bias": 0.5}},
            {"learning_rate_multiplier": {"bias": 0.5}, "W_learning_rate_multiplier": 0.25},
            {},
        ],
    )
    def test_from_config_gives_it_all_back(self, declared):
        layer = layers.Dense(3, **declared)
        config = layer.get_config()
        assert {name: value for name, value in config.items() if "multiplier" in name} == declared
        twin = layers.Dense.from_config(config)
        assert twin.get_config() == config
        assert by_name(built(twin)) == by_name(built(layer))

    def test_the_config_is_a_copy(self):
        layer = layers.LayerNormalization(learning_rate_multiplier={"gamma": 0.1})
        layer.get_config()["learning_rate_multiplier"]["gamma"] = 5.0
        assert layer.get_config()["learning_rate_multiplier"] == {"gamma": 0.1}

    def test_what_was_given_may_change_afterwards(self):
        given = {"gamma": 0.1}
        layer = layers.LayerNormalization(learning_rate_multiplier=given)
        given["gamma"] = 5.0
        assert by_name(built(layer)) == {"gamma": 0.1}

    def test_integers_and_numpy_numbers_become_floats(self):
        layer = layers.Dense(3, W_learning_rate_multiplier=2, b_learning_rate_multiplier=np.float32(0.5))
        config = layer.get_config()
        assert [type(config[k]) for k in ("W_learning_rate_multiplier", "b_learning_rate_multiplier")] == [float, float]

    def test_a_copied_layer_declares_the_same(self):
        model = keras.Sequential([keras.Input((4,)), layers.Dense(2, learning_rate_multiplier=0.1)])
        clone = keras.models.clone_model(model)
        assert list(clone.layers[0].multipliers.values()) == [0.1, 0.1]
        assert clone.layers[0].kernel not in model.layers[0].multipliers


NO_NUMBERS = [-0.1, float("nan"), float("inf"), float("-inf"), True, np.True_, "0.1", "frozen", 1j, [0.1], 10**400]


class TestRefused:
    @pytest.mark.parametrize("value", NO_NUMBERS, ids=repr)
    @pytest.mark.parametrize(
        "argument", ["W_learning_rate_multiplier", "b_learning_rate_multiplier", "learning_rate_multiplier"]
    )
    def test_what_is_no_multiplier(self, argument, value):
        with pytest.raises(ValueError, match=f"`{argument}` must be a finite number >= 0"):
            layers.Dense(3, **{argument: value})

    @pytest.mark.parametrize("value", [*NO_NUMBERS, None], ids=repr)
    def test_what_is_no_multiplier_in_a_mapping(self, value):
        with pytest.raises(ValueError, match="`learning_rate_multiplier of 'gamma'` must be a finite number >= 0"):
            layers.LayerNormalization(learning_rate_multiplier={"gamma": value})

    def test_an_unknown_weight(self):
        with pytest.raises(
            ValueError, match=r"LayerNormalization 'n' has no trainable weight named 'gama'. Expected: gamma, beta"
        ):
            built(layers.LayerNormalization(name="n", learning_rate_multiplier={"gama": 0.1}))

    def test_a_bias_that_is_not_there(self):
        with pytest.raises(ValueError, match=r"Dense 'd' has no bias \(use_bias=False\)"):
            built(layers.Dense(3, name="d", use_bias=False, b_learning_rate_multiplier=0.1))

    def test_statistics(self):
        with pytest.raises(ValueError, match=r"no trainable weight named 'moving_mean'. Expected: gamma, beta"):
            built(layers.BatchNormalization(learning_rate_multiplier={"moving_mean": 0.1}))

    @pytest.mark.parametrize(
        ("mapping", "short"),
        [({"kernel": 0.1}, "W_learning_rate_multiplier"), ({"bias": 0.1}, "b_learning_rate_multiplier")],
    )
    def test_a_weight_declared_twice(self, mapping, short):
        (weight,) = mapping
        with pytest.raises(ValueError, match=f"The weight '{weight}' is declared twice.*`{short}`"):
            layers.Dense(3, learning_rate_multiplier=mapping, **{short: 0.5})

    def test_a_layer_without_trainable_weights(self):
        with pytest.raises(
            ValueError, match="'a' has no trainable weights, so `learning_rate_multiplier` would have no effect"
        ):
            layers.Attention(name="a", learning_rate_multiplier=0.1).build([(None, 3, 4), (None, 3, 4)])
        with pytest.raises(ValueError, match="no trainable weights"):
            built(layers.LayerNormalization(scale=False, center=False, learning_rate_multiplier=0.1))

    def test_two_layers_that_declare_different_multipliers_for_one_weight(self):
        inner = layers.Dense(2, name="inner", learning_rate_multiplier=0.5)
        outer = layers.TimeDistributed(inner, name="outer", learning_rate_multiplier=0.1)
        model = keras.Sequential([keras.Input((3, 4)), outer])
        with pytest.raises(ValueError, match=r"'inner' declares 0.5, 'outer' declares 0.1"):
            difflr.Plan(model)


@pytest.mark.same_everywhere
class TestAttributes:
    def test_they_can_be_read(self):
        layer = layers.Dense(3, W_learning_rate_multiplier=0.1, learning_rate_multiplier={"bias": 0.2})
        assert layer.W_learning_rate_multiplier == 0.1
        assert layer.b_learning_rate_multiplier is None
        assert layer.learning_rate_multiplier == {"bias": 0.2}

    @pytest.mark.parametrize("name", ["W_learning_rate_multiplier", "learning_rate_multiplier", "multipliers"])
    def test_they_cannot_be_set_as_that_would_have_no_effect(self, name):
        layer = built(layers.Dense(3, W_learning_rate_multiplier=0.1))
        with pytest.raises(AttributeError, match=rf"`{name}` of Dense cannot be set: .*Received: 0.5.*constructor"):
            setattr(layer, name, 0.5)
        assert by_name(layer) == {"kernel": 0.1}

    def test_a_subclass_may_keep_its_argument_as_in_keras_2(self):
        class Own(layers.Dense):
            def __init__(self, units, W_learning_rate_multiplier=None):
                super().__init__(units, W_learning_rate_multiplier=W_learning_rate_multiplier)
                self.W_learning_rate_multiplier = W_learning_rate_multiplier

        assert by_name(built(Own(3, 0.1))) == {"kernel": 0.1}

    def test_an_argument_kept_before_the_constructor_of_the_layer(self):
        class Early(layers.Dense):
            def __init__(self, units, W_learning_rate_multiplier):
                self.W_learning_rate_multiplier = W_learning_rate_multiplier
                super().__init__(units, W_learning_rate_multiplier=W_learning_rate_multiplier)

        with pytest.raises(AttributeError, match=r"`W_learning_rate_multiplier` of Early .*super\(\).__init__"):
            Early(3, 0.1)

    def test_an_array_is_refused_as_well(self):
        with pytest.raises(AttributeError, match=r"Received: array\(\[1., 2.\]\)"):
            layers.Dense(3).W_learning_rate_multiplier = np.array([1.0, 2.0])

    def test_a_mapping_names_a_weight(self):
        with pytest.raises(ValueError, match="must name at least one weight"):
            layers.Dense(3, learning_rate_multiplier={})

    def test_a_rule_does_not_unfreeze_a_declared_0_in_silence(self):
        dense = layers.Dense(3, b_learning_rate_multiplier=0, name="a")
        model = keras.Sequential([keras.Input((4,)), dense, layers.Dense(2)])
        with pytest.raises(ValueError, match=r"'a' unfreezes a/bias.*multiplier 0, declared by layer 'a'.*above 0"):
            difflr.Plan(model, {"a": difflr.TRAINABLE})
        assert not any(row.frozen for row in difflr.Plan(model, {"a": {"multiplier": 0.5, "frozen": False}}).rows)

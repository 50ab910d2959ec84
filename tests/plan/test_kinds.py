import re

import keras
import pytest
from keras import layers

import difflr

pytestmark = pytest.mark.same_everywhere


def of_kind(model, kind):
    return {row.path for row in difflr.Plan(model, {f"kind:{kind}": 0.5}).rows if row.multiplier == 0.5}


def two_towers():
    def tower(name):
        inputs = keras.Input((4,))
        return keras.Model(inputs, layers.Dense(3, name="proj")(inputs), name=name)

    inputs = keras.Input((4,))
    both = layers.Add()([tower("a")(inputs), tower("b")(inputs)])
    return keras.Model(inputs, layers.Dense(2, name="head")(both))


@pytest.mark.parametrize("kind", ["kernel", "bias", "vector"])
def test_kinds_mean_the_same_with_and_without_a_model(kind):
    """Without a model the second `proj/bias` has the path `proj/bias_2`."""
    model = two_towers()
    with_model, without = (
        [row.multiplier for row in difflr.Plan(known, {f"kind:{kind}": 0.5}).rows]
        for known in (model, model.trainable_variables)
    )
    assert with_model == without
    assert with_model.count(0.5) == 3


@pytest.mark.parametrize("kind", ["norm", "embedding", "no_decay"])
def test_what_depends_on_layers_is_refused_where_only_variables_are_known(kind):
    with pytest.raises(ValueError, match=rf"'kind:{kind}' depends on the layers .* difflr\.Plan\(model, rules\)"):
        difflr.Plan(two_towers().trainable_variables, {f"kind:{kind}": 0.5})


class OwnWeights(layers.Layer):
    """Weights without names, which Keras calls variable, variable_1, ..."""

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], 2))
        self.bias = keras.Variable([0.0, 0.0])
        self.output_bias = self.add_weight(shape=(2, 2), name="output_bias")
        self.bias_scale = self.add_weight(shape=(2,), name="bias_scale")

    def call(self, x):
        return keras.ops.matmul(keras.ops.matmul(x, self.kernel) + self.bias, self.output_bias) * self.bias_scale


def test_a_variable_without_a_name_is_known_by_its_attribute():
    model = keras.Sequential([keras.Input((4,)), OwnWeights(name="own")])
    assert of_kind(model, "bias") == {"own/bias", "own/output_bias"}
    assert of_kind(model, "kernel") == {"own/kernel"}
    assert of_kind(model, "vector") == {"own/bias", "own/bias_scale"}
    with pytest.raises(
        ValueError, match=r"'kind:bias' depends on the names of variables, but \S+ was created without a name"
    ):
        difflr.Plan(model.trainable_variables, {"kind:bias": 0.5})


class NormalizedDense(layers.Dense):
    pass


class T5LayerNorm(layers.Layer):
    """As in KerasHub: derives from no norm of Keras."""

    def build(self, shape):
        self.weight = self.add_weight(shape=(shape[-1],), name="weight")

    def call(self, x):
        return x * self.weight


class LayerScale(layers.Layer):
    """As in ConvNeXt: a vector called gamma, and no norm."""

    def build(self, shape):
        self.gamma = self.add_weight(shape=(shape[-1],), name="gamma")

    def call(self, x):
        return x * self.gamma


class NormWithKernel(layers.Layer):
    """Called a norm, and trains a matrix."""

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], shape[-1]), name="kernel")
        self.scale = self.add_weight(shape=(shape[-1],), name="scale")

    def call(self, x):
        return keras.ops.matmul(x, self.kernel) * self.scale


class MyNorm(layers.LayerNormalization):
    def build(self, shape):
        super().build(shape)
        self.temperature = self.add_weight(shape=(1, 1), name="temperature")


def test_a_norm_is_known_by_what_it_is_not_by_how_it_is_called():
    given = [
        *(NormalizedDense(4, name="normalized"), T5LayerNorm(name="t5"), LayerScale(name="scale")),
        *(NormWithKernel(name="with_kernel"), MyNorm(name="derived"), layers.GroupNormalization(2, name="group")),
        *(layers.SpectralNormalization(layers.Dense(4), name="spectral"), layers.UnitNormalization(name="unit")),
        *(layers.RMSNormalization(name="rms"), difflr.layers.BatchNormalization(name="batch")),
    ]
    model = keras.Sequential([keras.Input((4,)), *given, layers.Dense(2, name="head")])
    assert of_kind(model, "norm") == {
        *("t5/weight", "derived/gamma", "derived/beta", "derived/temperature", "group/gamma", "group/beta"),
        *("rms/scale", "batch/gamma", "batch/beta"),
    }
    decayed = {row.path for row in difflr.no_decay(model).rows if row.weight_decay_multiplier}
    assert decayed == {"normalized/kernel", "with_kernel/kernel", "spectral/kernel", "head/kernel"}


def test_beta_is_of_a_norm_and_no_bias():
    model = keras.Sequential([keras.Input((4,)), layers.LayerNormalization(name="norm"), layers.Dense(2, name="head")])
    assert of_kind(model, "bias") == {"head/bias"}
    assert of_kind(model, "no_decay") == {"head/bias", "norm/gamma", "norm/beta"}


def test_embeddings_by_layer_or_by_name():
    class Table(layers.Embedding):
        pass

    class Positions(layers.Layer):
        def build(self, shape):
            self.table = self.add_weight(shape=shape[1:], name="position_embedding")

        def call(self, x):
            return x + self.table

    model = keras.Sequential([keras.Input((3,)), Table(5, 4, name="tokens"), Positions(name="positions")])
    model.get_layer("tokens").enable_lora(2)
    assert of_kind(model, "embedding") == {
        *("tokens/lora_embeddings_a", "tokens/lora_embeddings_b", "positions/position_embedding"),
    }


def test_a_kind_of_which_there_is_nothing_names_those_of_which_there_is():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(2, use_bias=False, name="head")])
    with pytest.raises(ValueError, match="'kind:norm' matches .*Kinds in this model: kind:kernel") as error:
        difflr.Plan(model, {"kind:norm": 0.5})
    for kind in re.findall(r"in this model: (.*)\. The", str(error.value))[0].split(", "):
        difflr.Plan(model, {kind: 0.5})

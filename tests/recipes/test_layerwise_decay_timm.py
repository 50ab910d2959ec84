"""`layerwise_decay` gives Keras models the rates that timm gives to the same architectures.

The tables in timm_tables.json are what timm's own `param_groups_layer_decay` returned; its "source" says which. Keras's
ResNets have biases in their convolutions, which timm's do not; there the kernels are compared.
"""

import json
from pathlib import Path

import keras
import pytest

import difflr
from recipes.trained import as_if_trained

TABLES = json.loads(Path(__file__).with_name("timm_tables.json").read_text())
ALL, KERNELS = 1, 2
pytestmark = [pytest.mark.usefixtures("of_zeros"), pytest.mark.same_everywhere]


def table(plan, column):
    """multiplier -> number of parameters, as in timm's tables."""
    found = {}
    for row in plan.rows:
        if column == ALL or (len(row.shape) > 1 and row.path.split("/")[-1] != "bias"):
            found[row.multiplier] = found.get(row.multiplier, 0) + row.num_parameters
    return found


def assert_is_timms(plan, name, column):
    expected = {row[0]: row[column] for row in TABLES[name]}
    found = {round(multiplier, 12): number for multiplier, number in table(plan, column).items() if multiplier}
    assert found == expected


@pytest.fixture(scope="module")
def resnet50(of_zeros):
    return as_if_trained(keras.applications.ResNet50(weights=None, input_shape=(32, 32, 3)))


def test_resnet50(resnet50):
    assert_is_timms(difflr.layerwise_decay(resnet50, 0.75), "resnet50", KERNELS)


def test_the_floor_is_min_scale(resnet50):
    plan = difflr.layerwise_decay(resnet50, 0.75, minimum_multiplier=0.1)
    assert_is_timms(plan, "resnet50, min_scale=0.1", KERNELS)


def test_the_cut_off_is_no_opt_scale(resnet50):
    plan = difflr.layerwise_decay(resnet50, 0.75, freeze_below=0.1)
    assert_is_timms(plan, "resnet50, no_opt_scale=0.1", KERNELS)
    assert [row.path for row in plan.rows if row.frozen][-1] == "conv4_block1_3_bn/beta"


def test_resnet50_v2():
    model = as_if_trained(keras.applications.ResNet50V2(weights=None, input_shape=(32, 32, 3)))
    assert_is_timms(difflr.layerwise_decay(model, 0.75), "resnetv2_50", KERNELS)


def test_convnext_tiny():
    model = as_if_trained(keras.applications.ConvNeXtTiny(weights=None, input_shape=(32, 32, 3)))
    assert_is_timms(difflr.layerwise_decay(model, 0.75), "convnext_tiny", ALL)


class Tokens(keras.layers.Layer):
    """Class token and positions."""

    def build(self, input_shape):
        self.class_token = self.add_weight(shape=(1, 1, input_shape[-1]), name="class_token")
        self.positions = self.add_weight(shape=(1, input_shape[1] + 1, input_shape[-1]), name="positions")

    def call(self, patches):
        first = keras.ops.tile(self.class_token, (keras.ops.shape(patches)[0], 1, 1))
        return keras.ops.concatenate([first, patches], axis=1) + self.positions

    def compute_output_shape(self, input_shape):
        return (input_shape[0], input_shape[1] + 1, input_shape[2])


def vision_transformer(width=192, heads=3, num_blocks=12):
    """ViT as the guides on keras.io write it: functional, automatic names."""
    layers = keras.layers
    inputs = keras.Input((224, 224, 3))
    x = layers.Reshape((196, width))(layers.Conv2D(width, 16, 16)(inputs))
    x = Tokens()(x)
    for _ in range(num_blocks):
        y = layers.LayerNormalization()(x)
        x = layers.Add()([x, layers.MultiHeadAttention(heads, width // heads)(y, y)])
        y = layers.LayerNormalization()(x)
        x = layers.Add()([x, layers.Dense(width)(layers.Dense(4 * width, activation="gelu")(y))])
    x = layers.LayerNormalization()(x)
    return keras.Model(inputs, layers.Dense(1000)(x[:, 0]))


def test_vision_transformer():
    plan = difflr.layerwise_decay(as_if_trained(vision_transformer()), 0.75)
    assert_is_timms(plan, "vit_tiny_patch16_224", ALL)


def test_vision_transformer_of_keras_hub():
    keras_hub = pytest.importorskip("keras_hub", exc_type=ImportError)
    backbone = keras_hub.models.ViTBackbone((224, 224, 3), 16, num_layers=12, num_heads=3, hidden_dim=192, mlp_dim=768)
    model = keras_hub.models.ViTImageClassifier(backbone, num_classes=1000)
    assert_is_timms(difflr.layerwise_decay(as_if_trained(model), 0.75), "vit_tiny_patch16_224", ALL)


@pytest.mark.skipif(not hasattr(keras.optimizers, "MultiOptimizer"), reason="KerasHub's needs Keras 3.15")
@pytest.mark.filterwarnings("ignore:Layer '.*was passed an input with a mask")
def test_swin_transformer_of_keras_hub():
    keras_hub = pytest.importorskip("keras_hub", exc_type=ImportError)
    backbone = keras_hub.models.SwinTransformerBackbone(
        image_shape=(224, 224, 3),
        patch_size=4,
        embed_dim=96,
        depths=[2, 2, 6, 2],
        num_heads=[3, 6, 12, 24],
        window_size=7,
    )
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Reshape((7, 7, 768))(backbone.output))
    model = keras.Model(backbone.input, keras.layers.Dense(1000)(x))
    assert_is_timms(difflr.layerwise_decay(as_if_trained(model), 0.75), "swin_tiny_patch4_window7_224", ALL)

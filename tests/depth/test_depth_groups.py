"""Depth, read off the graph of a model."""

import keras
import numpy as np
import pytest

from difflr.depth import depth_groups

layers = keras.layers
pytestmark = pytest.mark.usefixtures("of_zeros")


def names(model, **arguments):
    return [group.name for group in depth_groups(model, **arguments)]


def application(name, size=32, **arguments):
    make = getattr(keras.applications, name)
    return make(weights=None, input_shape=(size, size, 3), classes=3, **arguments)


def test_every_variable_is_in_one_group_and_the_head_is_the_last():
    model = application("ResNet50")
    groups = depth_groups(model)
    assert [group.height for group in groups] == list(range(17, -1, -1))
    assert groups[-1].name == "head"
    assert groups[-1].paths == ("predictions/kernel", "predictions/bias")
    inside = [id(variable) for group in groups for variable in group.variables]
    assert sorted(inside) == sorted(map(id, model.trainable_variables))
    assert sum(group.num_parameters for group in groups) == model.count_params() - sum(
        np.prod(variable.shape) for variable in model.non_trainable_variables
    )


STAGES_OF_RESNET50 = [
    f"conv{stage}_block{n}" for stage, number in ((2, 3), (3, 4), (4, 6), (5, 3)) for n in range(1, number + 1)
]
VGG16 = [f"block{b}_conv{n}" for b, number in ((1, 2), (2, 2), (3, 3), (4, 3), (5, 3)) for n in range(1, number + 1)]
B0 = ["1a", "2a", "2b", "3a", "3b", "4a", "4b", "4c", "5a", "5b", "5c", "6a", "6b", "6c", "6d", "7a"]


@pytest.mark.same_everywhere
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ResNet50", ["conv1", *STAGES_OF_RESNET50, "head"]),
        ("VGG16", [*VGG16, "fc1", "fc2", "head"]),
        ("EfficientNetB0", ["stem", *[f"block{each}" for each in B0], "top", "head"]),
        (
            "MobileNetV2",
            ["Conv1 to bn_Conv1", "expanded_conv", *[f"block_{n}" for n in range(1, 17)], "Conv_1", "head"],
        ),
    ],
)
def test_applications_by_name(name, expected):
    assert names(application(name)) == expected


@pytest.mark.parametrize(
    ("name", "size", "number", "blocks"),
    [
        # stem, the four stages' layers (6 + 12 + 24 + 16; a transition belongs to the layer after it), head
        ("DenseNet121", 32, 60, {"conv2_block1": 6, "conv5_block15": 6}),
        # two convolutions, 12 residual blocks, two separable convolutions, head
        ("Xception", 71, 17, {"block1_conv1": 3, "block5": 12, "block14_sepconv2": 4}),
        # five convolutions, 11 modules, head
        ("InceptionV3", 75, 17, {}),
        ("MobileNetV3Small", 32, 15, {"expanded_conv_1": 9, "expanded_conv_3": 13}),
        ("ConvNeXtTiny", 32, 20, {"convnext_tiny_stem": 4, "convnext_tiny_stage_0_block_1": 9}),
        ("MobileNet", 32, 15, {"conv1": 3, "conv_dw_1 to conv_pw_1_bn": 6}),
        pytest.param(
            "NASNetMobile", 32, 38, {"stem": 3},
            marks=pytest.mark.skipif(keras.backend.backend() == "torch", reason="Keras has it on JAX and TensorFlow"),
        ),
    ],
)  # fmt: skip
@pytest.mark.same_everywhere
def test_applications_by_number_of_blocks(name, size, number, blocks):
    groups = depth_groups(application(name, size))
    assert len(groups) == number
    found = {group.name: len(group.variables) for group in groups}
    assert {each: found[each] for each in blocks} == blocks
    assert groups[-1].name == "head"


@pytest.mark.same_everywhere
def test_a_nested_backbone():
    backbone = application("ResNet50", include_top=False, pooling="avg")
    model = keras.Sequential([backbone, layers.Dense(3)])
    assert names(model) == [*[f"resnet50/{name}" for name in ["conv1", *STAGES_OF_RESNET50]], "head"]


@pytest.mark.same_everywhere
def test_without_a_head():
    model = application("ResNet50", include_top=False)
    with pytest.raises(ValueError, match=r"seems to have no head: .*BatchNormalization.*head=None"):
        depth_groups(model)
    assert names(model, head=None)[-1] == "conv5_block3"
    assert names(model, head="conv5_block3_3_*")[-1] == "head"


def test_a_convolution_before_a_pooling_is_no_head():
    with pytest.raises(ValueError, match="'block5_conv3', is a convolution followed by relu"):
        depth_groups(application("VGG16", include_top=False))


def test_an_unbuilt_model():
    with pytest.raises(ValueError, match="is not built"):
        depth_groups(keras.Sequential([layers.Dense(3)]))


def test_each_tower_counts_its_own_blocks():
    def tower(x, name, number):
        for n in range(number):
            x = layers.Dense(4, name=f"{name}_{n}")(x)
        return x

    words = keras.Input((5,), dtype="int32")
    image = keras.Input((6,))
    text = tower(layers.Flatten()(layers.Embedding(9, 4, name="words")(words)), "text", 2)
    joined = layers.Concatenate()([text, tower(image, "image", 4)])
    groups = depth_groups(keras.Model([words, image], layers.Dense(3, name="out")(joined)))
    height = {path.split("/")[0]: group.height for group in groups for path in group.paths}
    assert height == {
        "out": 0, "text_1": 1, "text_0": 2, "words": 3, "image_3": 1, "image_2": 2, "image_1": 3, "image_0": 4,
    }  # fmt: skip


def test_the_levels_of_a_u_net_are_not_one_block():
    x = inputs = keras.Input((16, 16, 1))
    skips = []
    for level in range(3):
        x = layers.Conv2D(2, 3, padding="same", name=f"down{level}_a")(x)
        x = layers.Conv2D(2, 3, padding="same", name=f"down{level}_b")(x)
        skips.append(x)
        x = layers.MaxPooling2D()(x)
    x = layers.Conv2D(2, 3, padding="same", name="middle")(x)
    for level in reversed(range(3)):
        x = layers.Concatenate()([layers.UpSampling2D()(x), skips[level]])
        x = layers.Conv2D(2, 3, padding="same", name=f"up{level}_a")(x)
        x = layers.Conv2D(2, 3, padding="same", name=f"up{level}_b")(x)
    down = [f"down{level}_{part}" for level in range(3) for part in "ab"]
    up = [f"up{level}_{part}" for level in (2, 1, 0) for part in "ab"]
    assert names(keras.Model(inputs, layers.Conv2D(1, 1)(x))) == [*down, "middle", *up, "head"]


def test_a_fire_module_is_one_block_by_its_name():
    x = inputs = keras.Input((8, 8, 3))
    for n in (2, 3):
        x = layers.Conv2D(2, 1, name=f"fire{n}_squeeze1x1")(x)
        x = layers.Concatenate()(
            [layers.Conv2D(4, size, padding="same", name=f"fire{n}_expand{size}x{size}")(x) for size in (1, 3)]
        )
    x = layers.Dense(3)(layers.GlobalAveragePooling2D()(x))
    assert names(keras.Model(inputs, x)) == ["fire2", "fire3", "head"]


def test_a_layer_that_is_used_at_several_depths_belongs_to_the_lowest():
    x = inputs = keras.Input((4,))
    x = layers.Dense(4, name="first")(x)
    shared = layers.Dense(4, name="shared")
    for n in range(3):
        x = shared(x)
        x = layers.Dense(4, name=f"own_{n}")(x)
    model = keras.Model(inputs, layers.Dense(2)(x))
    assert names(model) == ["first", "shared", "own_0", "own_1", "own_2", "head"]


class Block(layers.Layer):
    def __init__(self, width):
        super().__init__()
        self.norm = layers.LayerNormalization()
        self.attention = layers.MultiHeadAttention(2, 2)
        self.dense = layers.Dense(width)

    def call(self, x):
        y = self.norm(x)
        return x + self.dense(self.attention(y, y))


class Transformer(keras.Model):
    """Made by code, in which only the lists tell the blocks."""

    def __init__(self, width=4):
        super().__init__()
        self.patches = layers.Dense(width)
        self.blocks = [Block(width) for _ in range(3)]
        self.norm = layers.LayerNormalization()
        self.top = layers.Dense(2)

    def build(self, shape):
        self.class_token = self.add_weight(shape=(1, 1, 4), name="class_token")
        self.built = True

    def call(self, x):
        x = self.patches(x) + self.class_token
        for block in self.blocks:
            x = block(x)
        return self.top(self.norm(x)[:, 0])


@pytest.mark.same_everywhere
def test_a_subclassed_model():
    model = Transformer()
    model(np.zeros((2, 3, 5), "float32"))
    groups = depth_groups(model)
    assert groups[0].paths == ("class_token", "patches/kernel", "patches/bias")
    assert [group.name for group in groups[1:3]] == ["blocks/0", "blocks/1"]
    assert {path.split("/")[0] for path in groups[3].paths} == {"blocks", "norm"}
    assert groups[4].paths == ("top/kernel", "top/bias")


def test_a_subclassed_backbone_in_a_functional_model():
    inputs = keras.Input((3, 5))
    backbone = Transformer()
    backbone.top = layers.Identity()
    model = keras.Model(inputs, layers.Dense(3)(backbone(inputs)))
    assert len(depth_groups(model)) == 5


def test_a_head_tied_to_the_embedding_is_at_the_bottom():
    words = keras.Input((5,), dtype="int32")
    embedding = keras_tied_embedding()
    x = layers.Dense(4, name="block")(embedding(words))
    model = keras.Model(words, embedding(x, reverse=True))
    assert names(model) == ["tied", "block"]


def keras_tied_embedding():
    class Tied(layers.Embedding):
        def call(self, inputs, reverse=False):
            if reverse:
                return keras.ops.matmul(inputs, keras.ops.transpose(self.embeddings))
            return super().call(inputs)

        def compute_output_spec(self, inputs, reverse=False):
            size = self.input_dim if reverse else self.output_dim
            shape = (*inputs.shape[:-1], size) if reverse else (*inputs.shape, size)
            return keras.KerasTensor(shape, "float32")

    return Tied(9, 4, name="tied")

"""Depth of KerasHub's models, where it is installed."""

import pytest

from difflr.depth import depth_groups

keras_hub = pytest.importorskip("keras_hub", exc_type=ImportError)
pytestmark = [pytest.mark.usefixtures("of_zeros"), pytest.mark.same_everywhere]

TEXT = {"vocabulary_size": 9, "num_layers": 2, "num_heads": 2, "hidden_dim": 4, "intermediate_dim": 8}


def names(model, backbone="", **arguments):
    return [group.name.replace(f"{backbone}/", "") for group in depth_groups(model, **arguments)]


def test_bert():
    backbone = keras_hub.models.BertBackbone(**TEXT, max_sequence_length=8)
    layers = ["token_embedding to embeddings_layer_norm", "transformer_layer_0", "transformer_layer_1"]
    model = keras_hub.models.BertTextClassifier(backbone, num_classes=2)
    assert names(model, "bert_backbone") == [*layers, "pooled_dense", "head"]
    with pytest.raises(ValueError, match="seems to have no head"):
        depth_groups(backbone)
    assert names(backbone, head="pooled_dense") == [*layers, "head"]


def test_distil_bert():
    backbone = keras_hub.models.DistilBertBackbone(**TEXT, max_sequence_length=8)
    model = keras_hub.models.DistilBertTextClassifier(backbone, num_classes=2)
    assert names(model, "distil_bert_backbone")[1:] == [
        "transformer_layer_0", "transformer_layer_1", "pooled_dense", "head",
    ]  # fmt: skip


def test_albert_uses_one_layer_several_times():
    backbone = keras_hub.models.AlbertBackbone(**TEXT, embedding_dim=3, max_sequence_length=8)
    model = keras_hub.models.AlbertTextClassifier(backbone, num_classes=2)
    assert names(model, "albert_backbone")[1:] == [
        "embedding_projection", "group_0_inner_layer_0", "pooled_dense", "head",
    ]  # fmt: skip


def test_gpt2_whose_head_is_its_embedding():
    backbone = keras_hub.models.GPT2Backbone(**TEXT, max_sequence_length=8)
    bottom, first, last = depth_groups(keras_hub.models.GPT2CausalLM(backbone))
    assert [path.split("/")[1] for path in bottom.paths] == ["token_embedding", "position_embedding"]
    assert {path.split("/")[1] for path in first.paths} == {"transformer_layer_0"}
    assert {path.split("/")[1] for path in last.paths} == {"transformer_layer_1", "layer_norm"}


def test_vision_transformer():
    backbone = keras_hub.models.ViTBackbone(
        (16, 16, 3), patch_size=8, num_layers=3, num_heads=2, hidden_dim=8, mlp_dim=8
    )
    model = keras_hub.models.ViTImageClassifier(backbone, num_classes=2)
    bottom, *blocks, last, head = depth_groups(model)
    assert [path.split("/")[-1] for path in bottom.paths] == ["class_token", "kernel", "bias", "embeddings"]
    assert [block.name.split("/")[-1] for block in blocks] == ["transformer_block_1", "transformer_block_2"]
    assert {path.split("/")[2] for path in last.paths} == {"transformer_block_3", "ln"}
    assert head.name == "head"
    with pytest.raises(ValueError, match="blocks like those before them"):
        depth_groups(backbone)


def test_resnet():
    backbone = keras_hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 64],
        stackwise_num_blocks=[2, 2],
        stackwise_num_strides=[1, 2],
        block_type="basic_block",
        image_shape=(32, 32, 3),
    )
    model = keras_hub.models.ResNetImageClassifier(backbone, num_classes=2)
    assert names(model, "res_net_backbone") == [
        "conv1", "stack0_block0", "stack0_block1", "stack1_block0", "stack1_block1", "head",
    ]  # fmt: skip

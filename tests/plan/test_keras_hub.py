"""Backbones of KerasHub."""

import pytest

import difflr

keras_hub = pytest.importorskip("keras_hub", exc_type=ImportError)  # it may be too new for an old Keras, or too old

pytestmark = pytest.mark.same_everywhere

SMALL = {"num_layers": 2, "num_heads": 2}


@pytest.fixture(scope="module")
def bert():
    return keras_hub.models.BertBackbone(
        50, hidden_dim=8, intermediate_dim=16, max_sequence_length=8, num_segments=2, **SMALL
    )


@pytest.fixture(scope="module")
def vit():
    return keras_hub.models.ViTBackbone(image_shape=(16, 16, 3), patch_size=8, hidden_dim=8, mlp_dim=16, **SMALL)


def chosen(model, target):
    return [row.path for row in difflr.Plan(model, [(target, 0.5)]).rows if row.multiplier == 0.5]


def test_bert(bert):
    rows = difflr.Plan(bert).rows
    assert [id(row.variable) for row in rows] == [id(variable) for variable in bert.trainable_variables]
    assert chosen(bert, "kind:embedding") == [
        "token_embedding/embeddings", "position_embedding/embeddings", "segment_embedding/embeddings",
    ]  # fmt: skip
    assert len(chosen(bert, "kind:norm")) == 2 * (1 + 2 * 2)
    assert len(chosen(bert, "transformer_layer_1")) == 16
    assert len(chosen(bert, "transformer_layer_[01]/self_attention_layer/*/kernel")) == 8


def test_a_classifier_around_bert(bert):
    classifier = keras_hub.models.BertTextClassifier(bert, num_classes=2)
    assert chosen(classifier, "kind:head") == ["logits/kernel", "logits/bias"]
    assert len(chosen(classifier, "bert_backbone*")) == len(difflr.Plan(bert).rows)


def test_vision_transformer(vit):
    rows = difflr.Plan(vit).rows
    assert [id(row.variable) for row in rows] == [id(variable) for variable in vit.trainable_variables]
    assert len(chosen(vit, "kind:norm")) == 2 * (1 + 2 * 2)
    assert len(chosen(vit, "vit_encoder/transformer_block_1")) == 16
    assert chosen(vit, "vit_patching_and_embedding/patch_embedding") == [
        "vit_patching_and_embedding/patch_embedding/kernel", "vit_patching_and_embedding/patch_embedding/bias",
    ]  # fmt: skip


def test_json(vit):
    plan = difflr.Plan(vit, {"vit_encoder": 0.5, "kind:norm": difflr.FROZEN})
    assert difflr.Plan.from_json(vit, plan.to_json()) == plan


def test_norms_that_derive_from_no_norm_of_keras():
    llama = keras_hub.models.LlamaBackbone(30, 1, 2, 8, 16, 2)
    gemma = keras_hub.models.GemmaBackbone(30, 2, 2, 1, 8, 16, 4)
    for model, number in ((llama, 3), (gemma, 5)):
        assert [path.split("/")[-1] for path in chosen(model, "kind:norm")] == ["scale"] * number

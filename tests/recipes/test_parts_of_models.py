"""Parts of models, each with rates of its own: beside the tables of MMDetection, MMSegmentation and open_clip."""

import re

import keras
import numpy as np
import pytest

import difflr
from difflr.depth import depth_groups
from recipes import networks_of_parts as networks
from recipes.trained import as_if_trained

pytestmark = pytest.mark.usefixtures("of_zeros")
same_everywhere = pytest.mark.same_everywhere

NUM_LAYERS = 5  # MMDetection's: the first two stages and the last one count 1 each, the third one for every 3 blocks


def of_mmdetection(path, decay):
    """The scale in mmdet/engine/optimizers/layer_decay_optimizer_constructor.py: `get_layer_id_for_convnext`, add_params."""
    numbers = [int(number) for number in re.findall(r"/(\d+)", path)]
    layer = NUM_LAYERS + 1
    if path.startswith("backbone/downsample_layers"):
        layer = (0, 2, 3, NUM_LAYERS)[numbers[0]]
    elif path.startswith("backbone/stages"):
        layer = (1, 2, 3 + numbers[1] // 3, NUM_LAYERS)[numbers[0]]
    return decay ** (NUM_LAYERS + 2 - layer - 1)


def of_mmsegmentation(path, decay, num_layers):
    """The same in mmseg/engine/optimizers/, `get_layer_id_for_vit`, whose `max_layer_id` is `num_layers + 2` here."""
    block = re.match(r"backbone/blocks/(\d+)", path)
    at_bottom = path in ("backbone/cls_token", "backbone/pos_embed") or path.startswith("backbone/patch_embed")
    layer = 0 if at_bottom else int(block[1]) + 1 if block else num_layers + 1
    return decay ** (num_layers + 2 - layer - 1)


@pytest.fixture(scope="module")
def detector():
    return as_if_trained(networks.detector())


@pytest.fixture(scope="module")
def segmenter():
    return as_if_trained(networks.segmenter())


@pytest.fixture(scope="module")
def clip():
    return as_if_trained(networks.clip())


def by_name(groups):
    return {group.name: group.height for group in groups}


def by_layer(plan, layers):
    """The multiplier of each of these layers, which has but one."""
    found = {layer: {row.multiplier for row in plan.rows if row.path.startswith(f"{layer}/")} for layer in layers}
    assert all(len(multipliers) == 1 for multipliers in found.values()), found
    return {layer: multipliers.pop() for layer, multipliers in found.items()}


@same_everywhere
def test_a_detector_as_in_mmdetection(detector):
    """With its map of depths, number by number; `norm0` to `norm3` train as the head does there."""

    def depth(path):
        scale = of_mmdetection(path, 0.5)
        return None if scale == 1 else int(np.log2(scale))

    plan = difflr.layerwise_decay(detector, 0.7, depth=depth)
    for row in plan.rows:
        assert row.multiplier == pytest.approx(of_mmdetection(row.path, 0.7)), row.path


@same_everywhere
def test_a_detector_by_its_data_flow(detector):
    """Every block counts, where MMDetection puts three into one; a norm belongs to the stage that it ends."""
    plan = difflr.layerwise_decay(detector, 0.7, head=["neck", "bbox_head", "cls_head"])
    blocks = [
        f"backbone/stages/{stage}/{block}" for stage, depth in enumerate(networks.DEPTHS) for block in range(depth)
    ]
    exponents = [round(np.log(value) / np.log(0.7)) for value in by_layer(plan, blocks).values()]
    assert exponents == [11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1]
    theirs = [round(np.log(of_mmdetection(f"{block}/x", 0.7)) / np.log(0.7)) for block in blocks]
    assert theirs == [5, 5, 4, 4, 3, 3, 3, 2, 2, 1, 1]
    assert set(by_layer(plan, ["neck", "bbox_head", "cls_head"]).values()) == {1.0}
    assert by_layer(plan, ["backbone/norm1", "backbone/downsample_layers/0"]) == {
        "backbone/norm1": pytest.approx(0.7**8), "backbone/downsample_layers/0": pytest.approx(0.7**12)
    }  # fmt: skip


@same_everywhere
def test_backbone_neck_and_heads_each_have_their_own_depth(detector):
    plan = (
        difflr.layerwise_decay(detector, 0.5, within="backbone")
        * difflr.layerwise_decay(detector, 0.9, within=["bbox_head", "cls_head"])
        * difflr.Plan(detector, {"neck": 0.3})
    )
    found = by_layer(
        plan, ["backbone/stages/3/1", "backbone/stages/3/0", "neck", "bbox_head/convs/0", "cls_head/convs/0"]
    )
    assert found == pytest.approx(
        {"backbone/stages/3/1": 1, "backbone/stages/3/0": 0.5, "neck": 0.3, "bbox_head/convs/0": 0.81,
         "cls_head/convs/0": 0.81}
    )  # fmt: skip
    assert by_layer(plan, ["bbox_head/convs/1", "bbox_head/out"]) == {"bbox_head/convs/1": 0.9, "bbox_head/out": 1}


@same_everywhere
def test_heads_of_one_class_that_levels_share_are_the_head(detector):
    *_, neck, head = depth_groups(detector)
    assert {path.split("/")[0] for path in head.paths} == {"bbox_head", "cls_head"}
    assert {path.split("/")[0] for path in neck.paths} == {"neck"}


@same_everywhere
def test_a_segmenter_as_in_mmsegmentation(segmenter):
    plan = difflr.layerwise_decay(segmenter, 0.9, head=["decode_conv*", "conv_seg"])
    for row in plan.rows:
        assert row.multiplier == pytest.approx(of_mmsegmentation(row.path, 0.9, 4)), row.path
    inside = difflr.layerwise_decay(segmenter, 0.9, within="backbone")
    assert (0.9 * inside).multipliers[segmenter.backbone.pos_embed] == pytest.approx(0.9**5)


@same_everywhere
def test_features_of_several_blocks_do_not_make_them_one(segmenter):
    blocks = [f"backbone/blocks/{number}" for number in range(4)]
    assert list(by_name(depth_groups(segmenter, within="backbone")).values()) == [4, 3, 2, 1, 0]
    inside = difflr.layerwise_decay(segmenter, 0.5, within="backbone")
    assert list(by_layer(inside, blocks).values()) == [0.125, 0.25, 0.5, 1]


@same_everywhere
def test_two_towers_of_different_depth(clip):
    """Each tower counts from where they meet; the temperature is at the top."""
    plan = difflr.layerwise_decay(clip, 0.5, head=None)
    towers = [*(f"visual/resblocks/{n}" for n in range(3)), *(f"text/resblocks/{n}" for n in range(2))]
    assert list(by_layer(plan, towers).values()) == [0.125, 0.25, 0.5, 0.25, 0.5]
    assert plan.multipliers[clip.logit_scale] == 1
    assert by_layer(plan, ["visual/proj", "text/text_projection"]) == {"visual/proj": 1, "text/text_projection": 1}
    apart = difflr.layerwise_decay(clip, 0.9, within="visual") * difflr.layerwise_decay(clip, 0.5, within="text")
    assert by_layer(apart, [towers[0], towers[3]]) == {towers[0]: pytest.approx(0.9**3), towers[3]: 0.25}
    assert apart.multipliers[clip.logit_scale] == 1


@same_everywhere
@pytest.mark.parametrize("unlocked", [1, 3])
def test_the_last_groups_of_a_tower_as_in_open_clip(clip, unlocked):
    """`lock` of `VisionTransformer` (src/open_clip/transformer.py), of which the last groups are unlocked."""
    tower = clip.visual
    groups = [
        [tower.conv1, tower.positional_embedding, tower.ln_pre],
        *([block] for block in tower.resblocks[:-1]),
        [tower.resblocks[-1], tower.ln_post],
        [tower.proj],
    ]
    unlock = [each for group in groups[-unlocked:] for each in group]
    expected = difflr.Plan(clip, [("visual", difflr.FROZEN), (unlock, difflr.TRAINABLE)])
    plan = difflr.surgical(clip, slice(-unlocked, None), within="visual")
    assert plan == expected
    both = plan * difflr.surgical(clip, "-2:", within="text")
    assert {row.path.split("/")[0] for row in both.rows if not row.frozen} == {"visual", "text", "logit_scale"}
    assert [row.path for row in both.rows if row.path.startswith("text") and row.frozen][-1].startswith(
        "text/resblocks/0"
    )


@same_everywhere
def test_the_last_groups():
    layers = [keras.layers.Dense(2, name=name) for name in ("one", "two", "three", "head")]
    model = as_if_trained(keras.Sequential([keras.Input((2,)), *layers]))
    expected = difflr.Plan(model, [(layers[:2], difflr.FROZEN)])
    assert difflr.surgical(model, slice(-2, None)) == difflr.surgical(model, "-2:") == expected
    assert difflr.surgical(model, "1:3") == difflr.Plan(model, [(layers[::3], difflr.FROZEN)])
    with pytest.raises(ValueError, match=r"`block` must select some but not all of the 4 groups.*selects none"):
        difflr.surgical(model, slice(50, None))
    with pytest.raises(ValueError, match="selects all"):
        difflr.surgical(model, ":")


def test_two_towers_move_as_far_as_their_rates_say():
    """One step of SGD: the plan of the whole against the gradients of the stock optimizer's step."""
    moved = []
    for factors in ((1.0, 1.0), (0.25, 0.0)):
        keras.utils.set_random_seed(0)
        inputs = {"a": keras.Input((3,), name="a"), "b": keras.Input((3,), name="b")}
        towers = [keras.layers.Dense(4, name=f"tower_{key}")(tensor) for key, tensor in inputs.items()]
        model = keras.Model(inputs, keras.layers.Dense(1, name="top")(keras.layers.Concatenate()(towers)))
        for variable in model.trainable_variables:
            variable.assign(np.linspace(-1, 1, int(np.prod(variable.shape))).reshape(variable.shape))
        plan = difflr.Plan(model, {"tower_a": factors[0]}) * difflr.Plan(model, {"tower_b": factors[1]})
        model.compile(difflr.optimizers.SGD(0.1, multipliers=plan), loss="mse", run_eagerly=True)
        before = [keras.ops.convert_to_numpy(each) for each in model.weights]
        model.train_on_batch({"a": np.ones((2, 3)), "b": np.ones((2, 3))}, np.ones((2, 1)))
        moved.append([keras.ops.convert_to_numpy(new) - old for new, old in zip(model.weights, before, strict=True)])
    for one, other, factor in zip(*moved, [0.25, 0.25, 0, 0, 1, 1], strict=True):
        np.testing.assert_allclose(other, factor * one, rtol=1e-5, atol=1e-8)
        assert np.abs(one).max() > 0


@same_everywhere
def test_encoder_and_decoder_of_keras_hub():
    keras_hub = pytest.importorskip("keras_hub", exc_type=ImportError)
    backbone = keras_hub.models.BartBackbone(
        vocabulary_size=9, num_layers=3, num_heads=2, hidden_dim=4, intermediate_dim=8, max_sequence_length=8
    )
    model = as_if_trained(keras_hub.models.BartSeq2SeqLM(backbone))
    names = {part: [f"bart_backbone/transformer_{part}_layer_{n}" for n in range(3)] for part in ("encoder", "decoder")}
    whole = difflr.layerwise_decay(model, 0.5)  # the decoder is above the encoder
    assert list(by_layer(whole, names["encoder"]).values()) == [0.5**5, 0.5**4, 0.5**3]
    assert list(by_layer(whole, names["decoder"]).values()) == [0.25, 0.5, 1]
    parts = difflr.layerwise_decay(model, 0.9, within="*encoder*") * difflr.Plan(model, {"*decoder*": 0.3})
    assert list(by_layer(parts, names["encoder"]).values()) == pytest.approx([0.81, 0.9, 1])
    assert set(by_layer(parts, names["decoder"]).values()) == {0.3}
    assert by_layer(parts, ["bart_backbone/token_embedding"]) == {"bart_backbone/token_embedding": 1}
    shared = difflr.layerwise_decay(model, 0.9, within=["*encoder*", "*/token_embedding"])
    assert by_layer(shared, ["bart_backbone/token_embedding"])["bart_backbone/token_embedding"] == pytest.approx(0.9**3)

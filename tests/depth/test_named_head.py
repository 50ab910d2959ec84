"""What `head=` names is head; and whatever asks for the head gets the same one."""

import keras
import numpy as np
import pytest

import difflr
from difflr.depth import depth_groups
from difflr.depth.named_head import named_head
from recipes.trained import as_if_trained

D, C = keras.layers.Dense, keras.layers.Conv2D
pytestmark = pytest.mark.usefixtures("of_zeros")


def head_of(model, head):
    plan = difflr.head_and_backbone(model, 0, head=head)
    trained = {row.path.split("/")[0] for row in plan.rows if not row.frozen}
    assert {path.split("/")[0] for path in depth_groups(model, head=head)[-1].paths} == trained
    return trained


def towers():
    inputs = [keras.Input((8,)), keras.Input((8,))]
    image, text = (
        D(8, name=f"new_{name}")(D(8, name=f"{name}_tower")(x)) for name, x in zip("ab", inputs, strict=True)
    )
    return keras.Model(inputs, D(3, name="new_top")(keras.layers.Concatenate()([image, text])))


def skips():
    """A U-Net with new layers on the skips; its decoder is pretrained."""
    x = inputs = keras.Input((8, 8, 1))
    skips = []
    for level in range(2):
        x = C(2, 3, padding="same", name=f"down_{level}")(x)
        skips.append(C(2, 1, name=f"new_skip_{level}")(x))
        x = keras.layers.MaxPooling2D()(x)
    for level in (1, 0):
        x = keras.layers.Concatenate()([keras.layers.UpSampling2D()(x), skips[level]])
        x = C(2, 3, padding="same", name=f"up_{level}")(x)
    return keras.Model(inputs, C(1, 1, name="new_top")(x))


def pyramid():
    x = inputs = keras.Input((8, 8, 1))
    levels = []
    for level in range(3):
        x = C(2, 3, strides=2 if level else 1, padding="same", name=f"stage_{level}")(x)
        levels.append(C(2, 1, name=f"new_lateral_{level}")(x))
    merged, outputs = levels[-1], {}
    for level in (1, 0):
        merged = keras.layers.Add()([keras.layers.UpSampling2D()(merged), levels[level]])
        outputs[str(level)] = C(1, 1, name=f"new_box_{level}")(merged)
    return keras.Model(inputs, outputs)


@pytest.mark.parametrize("make", [towers, skips, pyramid])
def test_all_that_is_named_is_head_wherever_it_stands(make):
    model = make()
    new = {layer.name for layer in model.layers if layer.name.startswith("new_")}
    assert head_of(model, "new_*") == new
    assert head_of(model, [model.get_layer(name) for name in new]) == new


@pytest.mark.same_everywhere
def test_the_head_counts_for_no_depth():
    names = [group.name for group in depth_groups(skips(), head="new_*")]
    assert names == ["down_0", "down_1", "up_1", "up_0", "head"]


def test_what_takes_all_its_inputs_from_the_head_is_head():
    x = inputs = keras.Input((4,))
    for name in ("low", "high", "first", "second"):
        x = D(4, name=name)(x)
    model = keras.Model(inputs, x)
    assert head_of(model, "first") == {"first", "second"}
    assert head_of(towers(), "new_a") == {"new_a"}  # the top takes the other tower, too


def test_a_list_may_hold_layers_without_weights():
    layers = [D(4, name="body"), D(4, name="hidden"), keras.layers.ReLU(), D(2, name="top"), keras.layers.Softmax()]
    model = keras.Sequential([keras.Input((4,)), *layers])
    assert head_of(model, model.layers[-4:]) == {"hidden", "top"}


class Encoder(keras.layers.Layer):
    """Declares what it calls last before what it calls first."""

    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.projection, self.second, self.first = D(4, name="projection"), D(4, name="second"), D(4, name="first")

    def build(self, shape):
        for layer in (self.first, self.second, self.projection):
            layer.build(shape)

    def call(self, x):
        return self.projection(self.second(self.first(x)))


class Classifier(keras.Model):
    def __init__(self):
        super().__init__()
        self.classifier = D(2, name="classifier")
        self.encoder = Encoder(name="encoder")

    def call(self, x):
        return self.classifier(self.encoder(x))


@pytest.fixture
def classifier():
    model = Classifier()
    model(np.zeros((2, 4), "float32"))
    return as_if_trained(model)


def test_depth_is_the_order_of_calls(classifier):
    assert [group.name for group in depth_groups(classifier)] == [
        "encoder/first", "encoder/second", "encoder/projection", "head",
    ]  # fmt: skip
    rates = {row.path.rpartition("/")[0]: row.multiplier for row in difflr.layerwise_decay(classifier, 0.5).rows}
    assert rates == {"encoder/first": 0.125, "encoder/second": 0.25, "encoder/projection": 0.5, "classifier": 1.0}


def test_a_part_of_a_layer_made_of_layers_can_be_head(classifier):
    plan = difflr.head_and_backbone(classifier, 0, head="encoder/pro*")
    assert {row.path.rpartition("/")[0] for row in plan.rows if not row.frozen} == {"encoder/projection", "classifier"}
    assert [group.name for group in depth_groups(classifier, head=["encoder/projection"])][:-1] == [
        "encoder/first", "encoder/second",
    ]  # fmt: skip


def test_within_a_part_of_the_model(classifier):
    groups = depth_groups(classifier, within="encoder")
    assert [(group.name, group.height) for group in groups] == [
        ("encoder/first", 2), ("encoder/second", 1), ("encoder/projection", 0),
    ]  # fmt: skip
    plan = difflr.layerwise_decay(classifier, 0.5, within=classifier.encoder) * difflr.Plan(
        classifier, {"classifier": 3.0}
    )
    rates = {row.path.rpartition("/")[0]: row.multiplier for row in plan.rows}
    assert rates == {"encoder/first": 0.25, "encoder/second": 0.5, "encoder/projection": 1.0, "classifier": 3.0}
    plan = difflr.discriminative(classifier, 0.01, within=["encoder/first", "encoder/second"])
    assert [row.multiplier for row in plan.rows if row.path.endswith("kernel")] == [1, 1, 1, 0.01]
    with pytest.raises(ValueError, match="leave out `head` and `within`"):
        difflr.discriminative(classifier, groups=["*"], within="encoder")
    with pytest.raises(ValueError, match="Did you mean 'encoder'"):
        depth_groups(classifier, within="encodr")


class Stack(keras.layers.Layer):
    """A series of blocks, called by one backend's own operations."""

    def __init__(self):
        super().__init__()
        self.blocks = [Encoder() for _ in range(3)]

    def build(self, shape):
        for block in self.blocks:
            block.build(shape)

    def call(self, x):
        if isinstance(x, keras.KerasTensor):
            raise TypeError("only real tensors, please")
        for block in self.blocks:
            x = block(x)
        return x


def test_blocks_that_cannot_be_told_apart_are_one_group_with_a_warning():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, D(2, name="top")(Stack()(D(4, name="stem")(inputs))))
    with pytest.warns(UserWarning, match="Cannot read the depth of the layers in 'stack'"):
        groups = depth_groups(model)
    assert [group.name for group in groups] == ["stem", "stack", "head"]


class UnreadableModel(Classifier):
    def call(self, x):
        if isinstance(x, keras.KerasTensor):
            raise TypeError("only real tensors, please")
        return super().call(x)


def test_where_the_depth_cannot_be_read_there_is_one_group_and_a_warning():
    model = UnreadableModel()
    model(np.zeros((2, 4), "float32"))
    with pytest.warns(
        UserWarning, match=r"Cannot read the depth of .*, so they are one depth group: .*only real tensors.*`keras.ops`"
    ):
        body, head = depth_groups(model, head="classifier")
    assert {path.split("/")[0] for path in body.paths} == {"encoder"}
    assert set(map(id, head.variables)) == named_head(model, "classifier")


def functional():
    backbone = keras.Sequential([keras.Input((4,)), D(4, name="low"), D(4, name="high")], name="backbone")
    return keras.Sequential([keras.Input((4,)), backbone, D(2, name="top")])


def two_outputs():
    inputs = keras.Input((4,))
    low = D(4, name="low")(inputs)
    return keras.Model(inputs, [D(2, name="a")(low), D(2, name="b")(D(4, name="high")(low))])


def by_code():
    model = Classifier()
    model(np.zeros((2, 4), "float32"))
    return model


def wrapped():
    inputs = keras.Input((4,))
    return keras.Model(inputs, Classifier()(inputs))


def pooled_norm():
    x = inputs = keras.Input((6, 6, 1))
    x = keras.layers.GlobalAveragePooling2D()(C(3, 3, name="conv")(C(3, 3, name="stem")(x)))
    return keras.Model(inputs, D(2, name="top")(keras.layers.LayerNormalization(name="norm")(x)))


@pytest.mark.parametrize("make", [functional, two_outputs, by_code, wrapped, pooled_norm])
def test_all_who_ask_for_the_head_get_the_same(make):
    model = as_if_trained(make())
    expected = set(depth_groups(model)[-1].paths)

    def where(plan, wanted):
        return {row.path for row in plan.rows if wanted(row)}

    assert where(difflr.Plan(model, {"kind:head": 2.0}), lambda row: row.multiplier == 2) == expected
    assert where(difflr.head_and_backbone(model, 0), lambda row: not row.frozen) == expected
    assert where(difflr.surgical(model, -1), lambda row: not row.frozen) == expected
    assert where(difflr.surgical(model, 0, with_head=True), lambda row: not row.frozen) > expected
    assert where(difflr.layerwise_decay(model, 0.5), lambda row: row.multiplier == 1) == expected
    assert where(difflr.discriminative(model, 0.1, 8.0), lambda row: row.multiplier == 8) == expected
    for phases in (difflr.phases.top_down(model), difflr.phases.head_first(model)):
        plan = difflr.Plan(model, [(target, 2.0) for target in phases[0].trainable])
        assert where(plan, lambda row: row.multiplier == 2) == expected
    model.compile(difflr.optimizers.SGD(0.1), loss="mse")
    difflr.freeze_to(model, -1)
    assert {row.path for row in difflr.Plan(model).rows if row.variable.trainable} == expected

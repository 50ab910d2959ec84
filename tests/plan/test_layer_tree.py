import keras
import pytest
from keras import layers

import difflr
from plan import models_of_all_kinds as kinds

pytestmark = [pytest.mark.usefixtures("quick_compilation"), pytest.mark.same_everywhere]


def paths(model):
    return [row.path for row in difflr.Plan(model).rows]


def test_functional_with_two_towers():
    assert paths(kinds.functional()) == [
        "left/fc/kernel", "left/fc/bias", "right/fc/kernel", "right/fc/bias", "head/kernel", "head/bias",
    ]  # fmt: skip


def test_nested():
    assert paths(kinds.nested())[:6] == [
        "backbone/stem/kernel", "backbone/stem/bias", "backbone/inner/a/kernel", "backbone/inner/a/bias",
        "backbone/inner/bn/gamma", "backbone/inner/bn/beta",
    ]  # fmt: skip


def test_a_shared_layer_has_one_path_and_aliases():
    rows = {row.path: row for row in difflr.Plan(kinds.shared()).rows}
    assert rows["first/shared/kernel"].aliases == ("second/shared/kernel",)
    assert len(rows) == 6


def test_subclassed_models_are_named_by_hand_or_by_attribute():
    expected = {
        "encoder/dense", "encoder/dense_1", "blocks/0", "blocks/1", "heads/age", "heads/sex", "by_hand",
    }  # fmt: skip
    for _ in range(2):  # automatic names have other counters the second time
        assert {path.rsplit("/", 1)[0] for path in paths(kinds.subclassed())} == expected


def test_layers_with_sublayers():
    found = paths(kinds.attention())
    assert "tokens/embeddings" in found
    assert "attend/query/kernel" in found
    assert any(path.startswith("both/") and path.endswith("recurrent_kernel") for path in found)


@pytest.mark.parametrize("kind", kinds.ALL)
def test_every_variable_once_in_the_order_of_keras(kind):
    model = kinds.ALL[kind]()
    rows = difflr.Plan(model).rows
    assert len({row.path for row in rows}) == len(rows)
    assert [id(row.variable) for row in rows] == [id(variable) for variable in model.trainable_variables]


@pytest.mark.parametrize("kind", ["functional", "nested", "attention"])  # Keras cannot load `shared`
def test_paths_survive_saving_and_loading(kind, tmp_path):
    model = kinds.ALL[kind]()
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert paths(loaded) == paths(model)


def test_an_application_used_whole_is_addressed_by_its_name():
    backbone = keras.applications.MobileNetV2((32, 32, 3), alpha=0.35, include_top=False, weights=None, name="backbone")
    model = keras.Sequential([backbone, layers.GlobalAveragePooling2D(), layers.Dense(2, name="head")])
    model.build((None, 32, 32, 3))
    plan = difflr.Plan(model, {"backbone": 0.1, "backbone/block_1_*": 0.01})
    assert plan.multipliers[model.get_layer("head").kernel] == 1
    assert plan.multipliers[backbone.get_layer("Conv1").kernel] == 0.1
    assert plan.multipliers[backbone.get_layer("block_1_expand").kernel] == 0.01


def test_an_application_cut_open():
    whole = keras.applications.MobileNetV2((32, 32, 3), alpha=0.35, include_top=False, weights=None)
    cut = whole.get_layer("block_3_project_BN").output
    pooled = layers.GlobalAveragePooling2D()(cut)
    model = keras.Model(whole.input, layers.Dense(2, name="head")(pooled))
    plan = difflr.Plan(model, {"block_1_*": 0.01, "kind:head": 3.0})
    assert plan.multipliers[model.get_layer("head").kernel] == 3
    assert plan.multipliers[whole.get_layer("block_1_expand").kernel] == 0.01


def test_tied_weights_are_one_variable():
    class Tied(layers.Layer):
        def __init__(self, source, **kwargs):
            super().__init__(**kwargs)
            self.source_kernel = source.kernel

        def call(self, x):
            return keras.ops.matmul(x, keras.ops.transpose(self.source_kernel))

    source = layers.Dense(3, use_bias=False, name="source")
    source.build((None, 4))
    inputs = keras.Input((4,))
    model = keras.Model(inputs, Tied(source, name="tied")(source(inputs)))
    (row,) = difflr.Plan(model).rows
    assert row.path == "source/kernel"
    assert row.aliases == ("tied/kernel",)
    with pytest.raises(ValueError, match=r"source/kernel is claimed twice.*rule 1: 'source'.*rule 2: 'tied'"):
        difflr.Plan(model, {"source": 0.1, "tied": 0.2})


def test_variables_without_a_model():
    dense = layers.Dense(2)
    dense.build((None, 3))
    plan = difflr.Plan(dense.trainable_variables, [(dense.kernel, 0.1)])
    assert plan.multipliers[dense.kernel] == 0.1
    with pytest.raises(ValueError, match=r"difflr\.Plan\(model, rules\)"):
        difflr.Plan(dense.trainable_variables, {"kernel": 0.1})


def test_what_is_no_model():
    for wrong in (3, "model", [], None, [1, 2]):
        with pytest.raises(TypeError, match="built Keras model or layer"):
            difflr.Plan(wrong)


def test_a_model_that_is_not_built():
    with pytest.raises(ValueError, match=r"not built.*model\.build\(input_shape\)"):
        difflr.Plan(keras.Sequential([layers.Dense(2)]))


def test_a_model_without_weights():
    with pytest.raises(ValueError, match="nothing to plan"):
        difflr.Plan(keras.Sequential([keras.Input((2,)), layers.ReLU()]))


class Deep(keras.Model):
    """Lists in lists, lists in dicts, a layer that Keras names after the one it is given."""

    def __init__(self):
        super().__init__()
        self.stages = [[layers.Dense(4)], [layers.Dense(4), layers.Dense(4)]]
        self.branches = {"a": [layers.Dense(4)]}
        self.both = layers.Bidirectional(layers.SimpleRNN(2, unroll=True))

    def call(self, x):
        x = self.both(x)
        for layer in [*self.stages[0], *self.stages[1], *self.branches["a"]]:
            x = layer(x)
        return x


def test_names_from_code_do_not_count():
    for _ in range(2):
        model = Deep()
        model(keras.ops.ones((1, 2, 3)))
        assert {path.rsplit("/", 1)[0] for path in paths(model)} == {
            "stages/0/0", "stages/1/0", "stages/1/1", "branches/a/0",
            "both/forward_layer/cell", "both/backward_layer/cell",
        }  # fmt: skip


class FunctionalByCode(keras.Model):
    """A functional model by a constructor of its own: its layers are not saved but made again."""

    def __init__(self, units=2):
        inputs = keras.Input((3,))
        super().__init__(inputs, layers.Dense(units)(layers.Dense(2, name="by_hand")(inputs)))
        self.beside_the_graph = layers.Dense(1)
        self.beside_the_graph.build((None, 2))


def test_a_functional_model_by_code():
    for _ in range(2):
        model = FunctionalByCode()
        expected = [
            "by_hand/kernel", "by_hand/bias", "dense/kernel", "dense/bias",
            "beside_the_graph/kernel", "beside_the_graph/bias",
        ]  # fmt: skip
        assert paths(model) == expected[: len(model.weights)]  # before 3.15 Keras forgets the last layer
        assert {id(row.variable) for row in difflr.Plan(model).rows} == set(map(id, model.trainable_variables))


def test_equal_names_get_numbers():
    class Same(keras.Model):
        def __init__(self):
            super().__init__()
            self.twins = {number: layers.Dense(1, name="twin") for number in range(2)}
            self.stem, self.other = layers.Dense(1), layers.Dense(1, name="stem")

        def call(self, x):
            for layer in (*self.twins.values(), self.stem, self.other):
                x = layer(x)
            return x

    model = Same()
    model(keras.ops.ones((1, 1)))
    assert paths(model) == [
        "twins/0/kernel", "twins/0/bias", "twins/1/kernel", "twins/1/bias",
        "stem/kernel", "stem/bias", "stem/kernel_2", "stem/bias_2",
    ]  # fmt: skip


def test_variables_of_one_path_without_a_model():
    variables = [keras.Variable([1.0], name=name) for name in ("w", "w_2", "w", "w")]
    rows = difflr.Plan([*variables, variables[0]]).rows
    assert [row.path for row in rows] == ["w", "w_2", "w_3", "w_4"]
    assert [row.variable is variable for row, variable in zip(rows, variables, strict=True)] == [True] * 4


def test_a_layer_is_a_tree_too():
    layer = layers.MultiHeadAttention(2, 2, name="attention")
    layer.build((None, 3, 4), (None, 3, 4))
    assert paths(layer)[:2] == ["query/kernel", "query/bias"]


def test_a_model_that_is_built_in_part():
    class InPart(keras.Model):
        def __init__(self):
            super().__init__()
            self.a, self.b = layers.Dense(2, name="a"), layers.Dense(2, name="b")
            self.a.build((None, 3))

        def call(self, x):
            return self.b(self.a(x))

    model = InPart()
    with pytest.raises(
        ValueError, match=r"not built \(nor is its layer 'b'\), so some of its variables do not exist yet"
    ):
        difflr.Plan(model)
    model(keras.ops.ones((1, 3)))
    assert len(difflr.Plan(model).rows) == 4


def test_a_layer_that_is_never_used_does_not_keep_from_planning():
    class Unused(keras.Model):
        def __init__(self):
            super().__init__()
            self.a, self.unused = layers.Dense(2, name="a"), layers.Dense(2)

        def call(self, x):
            return self.a(x)

    model = Unused()
    with pytest.warns(UserWarning, match="unbuilt state"):
        model(keras.ops.ones((1, 3)))
    assert paths(model) == ["a/kernel", "a/bias"]


def test_automatic_variable_names():
    class Own(layers.Layer):
        def __init__(self):
            super().__init__()
            self.scales = [keras.Variable([1.0]), keras.Variable([1.0])]
            self.shift = self.add_weight(shape=())

        def call(self, x):
            return x * self.scales[0] * self.scales[1] + self.shift

    for _ in range(2):
        model = keras.Sequential([keras.Input((2,)), Own()])
        assert [path.split("/", 1)[1] for path in paths(model)] == ["scales/0", "scales/1", "shift"]

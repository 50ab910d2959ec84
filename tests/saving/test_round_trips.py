"""Everything else that turns a model, a plan or an optimizer into data and back."""

import contextlib
import copy
import json
import pickle
import zipfile

import keras
import numpy as np
import pytest

import difflr
from difflr import FROZEN, TRAINABLE, Plan, Rule, optimizers
from saving import kinds
from saving.conftest import saying
from saving.test_resume import assert_equal


def trained(model=None):
    model = model or kinds.mlp(one="one", two="two", head="head")
    plan = Plan(model, {"one": 0.1, "one/bias": FROZEN, "head": {"multiplier": 2.0, "weight_decay_multiplier": 0.0}})
    loss = keras.losses.MeanSquaredError()  # the legacy format does not read "mse"
    return kinds.tried(model, optimizers.AdamW(0.01, weight_decay=0.1, multipliers=plan), loss)


ROUND_TRIPS = {
    "keras.optimizers": lambda optimizer: keras.optimizers.deserialize(keras.optimizers.serialize(optimizer)),
    "keras.saving": lambda optimizer: keras.saving.deserialize_keras_object(
        json.loads(json.dumps(keras.saving.serialize_keras_object(optimizer)))
    ),
    "from_config": lambda optimizer: type(optimizer).from_config(optimizer.get_config()),
    "pickle": lambda optimizer: pickle.loads(pickle.dumps(optimizer)),
    "deepcopy": copy.deepcopy,
}


@pytest.mark.parametrize("round_trip", ROUND_TRIPS)
def test_optimizer_comes_back_with_its_plan(round_trip):
    model = trained()
    model.optimizer.multipliers[model.get_layer("one").kernel] = 0.25
    if round_trip in ("pickle", "deepcopy"):  # stock Keras says the same: there are no variables for the state to go to
        with saying("Skipping variable loading for optimizer"):
            again = ROUND_TRIPS[round_trip](model.optimizer)
    else:
        again = ROUND_TRIPS[round_trip](model.optimizer)
    assert type(again) is type(model.optimizer)
    assert again.get_config() == model.optimizer.get_config()
    model.get_layer("one").bias.trainable = True
    again.build(model.trainable_variables)
    assert again.plan == model.optimizer.plan
    assert again.multipliers[model.get_layer("one").kernel] == 0.25
    assert not model.get_layer("one").bias.trainable


@pytest.mark.parametrize("given", [None, 0.5, 0.0], ids=str)
@pytest.mark.parametrize("round_trip", ROUND_TRIPS)
def test_unbuilt_optimizer_comes_back_as_it_was_given(round_trip, given):
    again = ROUND_TRIPS[round_trip](optimizers.SGD(0.1, multipliers=given, weight_decay_follows="base_rate"))
    assert again.get_config()["multipliers"] == given
    assert again.weight_decay_follows == "base_rate"
    if given != 0.0:
        model = kinds.mlp()
        again.build(model.trainable_variables)
        assert set(again.multipliers.values()) == {1.0 if given is None else given}


@pytest.mark.same_everywhere
@pytest.mark.parametrize("copied", [lambda model: pickle.loads(pickle.dumps(model)), copy.deepcopy, copy.copy])
@pytest.mark.parametrize("cls", [keras.Model, difflr.Model])
def test_copied_model_trains_on_as_the_first(copied, cls):
    model = trained(kinds.mlp(cls, one="one", two="two", head="head"))
    again = copied(model)
    assert_equal(kinds.state(model), kinds.state(again))
    for each in (model, again):
        kinds.train(each, kinds.VECTORS)
    assert_equal(kinds.state(model), kinds.state(again))
    assert again.optimizer.plan == model.optimizer.plan
    assert again.optimizer.plan.rows[0].variable is again.get_layer("one").kernel


@pytest.mark.parametrize("cls", [keras.Model, difflr.Model])
def test_cloned_model_has_the_plan_and_no_state(cls):
    model = trained(kinds.mlp(cls, one="one", two="two", head="head"))
    clone = keras.models.clone_model(model)
    assert type(clone) is type(model)
    kinds.train(clone, kinds.VECTORS, steps=1)
    assert clone.optimizer.plan == model.optimizer.plan
    assert int(clone.optimizer.iterations) == 1
    assert not clone.get_layer("one").bias.trainable
    assert clone.optimizer.plan.rows[0].variable is clone.get_layer("one").kernel


@pytest.mark.same_everywhere
@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda thing: pickle.loads(pickle.dumps(thing))])
def test_values_and_rules_are_copied(copied):
    assert copied(FROZEN) is FROZEN
    assert copied(TRAINABLE) is TRAINABLE
    assert copied({"a": FROZEN})["a"] is FROZEN
    rule = Rule("*/bias", multiplier=2.0, weight_decay_multiplier=0.0, frozen=False)
    assert copied(rule) == rule
    plan = trained().optimizer.plan
    assert copied(plan) == plan
    assert copied(plan).to_json() == plan.to_json()
    assert copy.copy(plan).rows[0].variable is plan.rows[0].variable


@pytest.mark.same_everywhere
@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_a_copied_plan_is_for_the_same_model(copied):
    """In a dict of settings, say; the weights are the model's, so that only they may move."""
    model = kinds.mlp(one="one", two="two", head="head")
    plan = copied({"plan": Plan(model, {"one": FROZEN, "two": 0.1})})["plan"]
    kinds.tried(model, optimizers.SGD(0.1, multipliers=plan))
    assert plan.row(model.get_layer("one").kernel).frozen
    assert not model.get_layer("one").trainable_variables
    difflr.verify(model, (kinds.VECTORS, kinds.TARGETS), plan=plan)


def test_an_unpickled_plan_says_that_it_is_for_another_model():
    model = kinds.mlp(one="one", two="two", head="head")
    plan = pickle.loads(pickle.dumps(Plan(model, {"one": 0.1})))
    model.compile(optimizers.SGD(0.1, multipliers=plan), loss="mse")
    with pytest.raises(ValueError, match="does not cover 6 of the 6 .* copied or changed since.*from_json"):
        kinds.train(model, kinds.VECTORS)
    with pytest.raises(KeyError, match="does not cover the variable 'one/kernel'"):
        plan.row(model.get_layer("one").kernel)
    assert all(plan.row(row.variable) is row for row in plan.rows)
    again = Plan.from_json(model, plan.to_json())
    kinds.tried(model, optimizers.SGD(0.1, multipliers=again))
    difflr.verify(model, (kinds.VECTORS, kinds.TARGETS), plan=again)


def test_layers_come_back_with_their_declarations():
    layer = difflr.layers.Dense(2, W_learning_rate_multiplier=0.0, learning_rate_multiplier={"bias": 0.3}, name="own")
    for again in (
        keras.layers.deserialize(keras.layers.serialize(layer)),
        keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer)),
        type(layer).from_config(layer.get_config()),
    ):
        again.build((None, 3))
        assert [again.multipliers[v] for v in (again.kernel, again.bias)] == [0.0, 0.3]
        assert not again.kernel.trainable


# -- files -------------------------------------------------------------------------------------------------------------


def test_model_compiled_without_training_is_saved(tmp_path):
    model = kinds.mlp()
    model.compile(optimizers.Adam(multipliers=Plan(model, {model.layers[1]: 0.1})), loss="mse")
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.optimizer.multipliers[again.layers[1].kernel] == 0.1
    assert int(again.optimizer.iterations) == 0


def test_rules_that_only_a_build_resolves_are_not_saved_before_it(tmp_path):
    model = kinds.mlp()
    model.compile(optimizers.Adam(multipliers=kinds.by_shape), loss="mse")
    with pytest.raises(ValueError, match="cannot be saved before the variables are known. Build the optimizer first"):
        model.save(tmp_path / "model.keras")
    model.optimizer.build(model.trainable_variables)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert [again.optimizer.multipliers[layer.kernel] for layer in again.layers[1:]] == [0.1, 0.1, 1.0]


def test_model_is_saved_unzipped(tmp_path):
    model = trained()
    keras.saving.save_model(model, tmp_path / "folder", zipped=False)
    assert_equal(kinds.state(model), kinds.state(keras.saving.load_model(tmp_path / "folder")))


def test_weights_are_saved_in_pieces(tmp_path):
    model, other = trained(), trained()
    kinds.train(model, kinds.VECTORS)
    model.save_weights(tmp_path / "model.weights.json", max_shard_size=0.0001)
    other.load_weights(tmp_path / "model.weights.json")
    assert_equal(kinds.state(model), kinds.state(other))


@pytest.mark.same_everywhere
def test_several_generations_of_files(tmp_path):
    model = again = frozen_statistics()
    for generation in range(3):
        again.save(tmp_path / f"{generation}.keras")
        again = keras.saving.load_model(tmp_path / f"{generation}.keras")
        for each in (model, again):
            kinds.train(each, kinds.VECTORS)
        assert_equal(kinds.state(model), kinds.state(again))


def frozen_statistics():
    model, _ = kinds.frozen_statistics()
    kinds.train(model, kinds.VECTORS)
    return model


@pytest.mark.same_everywhere
def test_a_schedule_that_runs_code_is_not_loaded(tmp_path):
    """Files come from strangers: nothing in a plan is made that is no schedule."""
    model, _ = kinds.group_schedules()
    kinds.train(model, kinds.VECTORS)
    model.save(tmp_path / "model.keras")
    assert_equal(kinds.state(model), kinds.state(keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)))
    evil = keras.saving.serialize_keras_object(keras.layers.Lambda(lambda x: x))
    with altered(tmp_path / "model.keras") as multipliers:
        multipliers["plan"]["rows"][0]["schedule"] = evil
    with pytest.raises(ValueError, match="must be a LearningRateSchedule"):
        keras.saving.load_model(tmp_path / "model.keras")


@contextlib.contextmanager
def altered(path):
    """What a saved file says about the multipliers, to be written back when it was changed."""
    with zipfile.ZipFile(path) as file:
        parts = {name: file.read(name) for name in file.namelist()}
    config = json.loads(parts["config.json"])
    yield config["compile_config"]["optimizer"]["config"]["multipliers"]
    parts["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as file:
        for name, part in parts.items():
            file.writestr(name, part)


@pytest.mark.same_everywhere
@pytest.mark.parametrize("number", [-1.0, float("nan"), "0.1", None])
def test_numbers_that_are_none_are_not_loaded(tmp_path, number):
    trained().save(tmp_path / "model.keras")
    with altered(tmp_path / "model.keras") as multipliers:
        multipliers["plan"]["rows"][0]["multiplier"] = number
    with pytest.raises(ValueError, match="multiplier"):
        keras.saving.load_model(tmp_path / "model.keras")


def test_legacy_h5_holds_the_model_and_no_optimizer(tmp_path):
    """Keras builds no optimizer from such a file, stock ones neither: that is told instead of found out while training."""
    model = trained()
    model.save(tmp_path / "model.h5")
    with pytest.raises(
        ValueError, match=r"legacy `.h5` format, from which Keras restores no optimizer: save it as `.keras`"
    ):
        keras.saving.load_model(tmp_path / "model.h5")
    again = keras.saving.load_model(tmp_path / "model.h5", compile=False)
    for mine, other in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, other)


def test_stock_keras_builds_no_optimizer_from_h5_either(tmp_path):
    model = kinds.mlp()
    kinds.tried(model, keras.optimizers.Adam(), keras.losses.MeanSquaredError())
    model.save(tmp_path / "model.h5")
    again = keras.saving.load_model(tmp_path / "model.h5")
    with pytest.raises((ValueError, KeyError)):
        kinds.train(again, kinds.VECTORS)


def test_declarations_are_in_the_legacy_file(tmp_path):
    model, _ = kinds.functional_that_declares()
    model.save(tmp_path / "model.h5")
    again = keras.saving.load_model(tmp_path / "model.h5", compile=False)
    assert Plan(again) == Plan(model)


@pytest.mark.same_everywhere
def test_loading_needs_difflr_imported(tmp_path, in_other_process):
    """Keras finds registered classes only where the package that registers them was imported."""
    trained().save(tmp_path / "model.keras")
    printed = in_other_process(
        f"""
import keras
path = {str(tmp_path / "model.keras")!r}
try:
    keras.saving.load_model(path)
except TypeError as error:
    print("refused:", error)
import difflr
model = keras.saving.load_model(path)
print("loaded:", type(model.optimizer).__name__, model.optimizer.plan == difflr.Plan(
    model, {{"one": 0.1, "one/bias": difflr.FROZEN, "head": {{"multiplier": 2.0, "weight_decay_multiplier": 0.0}}}}))
"""
    )
    assert "refused: Could not locate class 'AdamW'" in printed
    assert "loaded: AdamW True" in printed


@pytest.mark.same_everywhere
def test_binding_a_model_keeps_the_multipliers_of_the_moment(tmp_path):
    """The plan gets the paths of the model; the numbers that were set while training stay."""
    model = kinds.SubclassedKeras()
    model.build((None, 4))
    kinds.tried(model, optimizers.SGD(0.1, multipliers=lambda variable: 0.1 if variable is model.scale else 1.0))
    model.optimizer.multipliers[model.scale] = 0.25
    before = model.optimizer.multipliers.values()
    model.optimizer.bind(model)
    assert "blocks/0/kernel" in repr(model.optimizer.multipliers)
    assert model.optimizer.multipliers[model.scale] == 0.25
    assert model.optimizer.multipliers.values() == before
    model.save(tmp_path / "model.keras")
    assert keras.saving.load_model(tmp_path / "model.keras").optimizer.multipliers.values() == before

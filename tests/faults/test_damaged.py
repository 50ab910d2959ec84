"""Files that were cut off, hit by a flipped bit, or edited: refused, or told; and what is in memory stays as it was."""

import json
import warnings
import zipfile

import keras
import numpy as np
import pytest

import difflr
from difflr.optimizers import saved_state
from faults.readers import Finding, read
from saving import kinds


def made():
    model = kinds.mlp(one="one", two="two", head="head")
    plan = difflr.Plan(model, {"one": 0.1, "two/bias": difflr.FROZEN, "head": {"weight_decay_multiplier": 0.5}})
    model.compile(difflr.optimizers.SGD(0.1, weight_decay=0.1, multipliers=plan), loss="mse")
    model.optimizer.build(model.trainable_variables)
    return model


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    model = made()
    model.save(folder / "model.keras")
    model.save_weights(folder / "all.weights.h5")
    (folder / "plan.json").write_text(model.optimizer.plan.to_json())
    return folder


def everything(model):
    """What is in memory: weights, the optimizer's state, who is frozen, the plan."""
    variables = [*model.variables, *model.optimizer.variables]
    values = [np.array(keras.ops.convert_to_numpy(variable)).tolist() for variable in variables]
    return values, [variable.trainable for variable in model.variables], model.optimizer.plan.to_json()


def rates(model):
    return [(row.path, row.multiplier, row.weight_decay_multiplier, row.frozen) for row in model.optimizer.plan.rows]


@pytest.mark.parametrize("name", ["model.keras", "all.weights.h5", "plan.json"])
def test_cut_off_anywhere(saved, tmp_path, name):
    model = made()
    before = everything(model)
    whole = (saved / name).read_bytes()
    path = tmp_path / name
    for length in np.linspace(0, len(whole) - 1, 12).astype(int):
        path.write_bytes(whole[:length])
        with pytest.raises((ValueError, OSError, KeyError, zipfile.BadZipFile)) as caught:
            load(model, path)
        assert str(caught.value)
        assert everything(model) == before


def load(model, path):
    if path.suffix == ".keras":
        return keras.saving.load_model(path)
    if path.suffix == ".json":
        return difflr.Plan.from_json(model, path.read_text(errors="replace"))
    model.load_weights(path)
    return model


def test_flipped_bits_in_a_whole_model(saved, tmp_path):
    """The archive has a checksum of each file in it: Keras refuses."""
    expected = rates(keras.saving.load_model(saved / "model.keras"))
    whole, numbers = (saved / "model.keras").read_bytes(), np.random.default_rng(0)
    refused = 0
    for place in numbers.integers(len(whole), size=12):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << numbers.integers(8)
        (tmp_path / "model.keras").write_bytes(damaged)
        try:
            assert rates(keras.saving.load_model(tmp_path / "model.keras")) == expected
        except (ValueError, OSError, KeyError, zipfile.BadZipFile, NotImplementedError):
            refused += 1
    assert refused


@pytest.mark.same_everywhere
def test_flipped_bits_in_weights(saved, tmp_path):
    """HDF5 has no checksums. What difflr puts there has one, and other multipliers are told: never in silence."""
    model = made()
    model.load_weights(saved / "all.weights.h5")
    before = everything(model)
    whole, numbers = (saved / "all.weights.h5").read_bytes(), np.random.default_rng(0)
    header = whole.index(b'{"plan": {')
    for place in [*range(header, header + 60, 12), *numbers.integers(len(whole), size=15)]:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << numbers.integers(8)
        (tmp_path / "all.weights.h5").write_bytes(damaged)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                model.load_weights(tmp_path / "all.weights.h5")
            except (ValueError, OSError, KeyError, RuntimeError, TypeError) as error:
                message = str(error)
                assert everything(model)[1:] == before[1:]
            else:
                message = ""
            assert "damaged: its checksum does not match" in message or not header <= place < header + 60
        restored = any("Multipliers that were changed" in str(each.message) for each in caught)
        assert restored or rates(model) == rates(made())
        model.load_weights(saved / "all.weights.h5")
    assert everything(model) == before


def edited(saved, target, change):
    """A copy of the saved model in which `change` was done to the config of the optimizer."""
    with zipfile.ZipFile(saved / "model.keras") as source, zipfile.ZipFile(target, "w") as copy:
        for name in source.namelist():
            data = source.read(name)
            if name == "config.json":
                config = json.loads(data)
                change(config["compile_config"]["optimizer"]["config"])
                data = json.dumps(config)
            copy.writestr(name, data)
    return target


def of_row(field, value):
    def change(config):
        config["multipliers"]["plan"]["rows"][0][field] = value

    return change


def without(field):
    def change(config):
        del config["multipliers"]["plan"]["rows"][0][field]

    return change


EDITS = {
    "another path": (of_row("variable", "nobody/kernel"), "In the plan but not in the model: one/kernel"),
    "a place twice": (of_row("place", "one/bias"), "is the second for 'one/bias'"),
    "a word": (of_row("multiplier", "0.1"), r"no valid 'multiplier'. Received: '0.1'"),
    "a boolean": (of_row("multiplier", True), "no valid 'multiplier'. Received: True"),
    "NaN": (of_row("multiplier", float("nan")), "rows/0/multiplier' is no finite number: nan"),
    "infinity": (of_row("weight_decay_multiplier", float("inf")), "is no finite number: inf"),
    "a huge integer": (of_row("multiplier", 10**400), "is no finite number"),
    "negative": (of_row("multiplier", -0.1), "must be a finite number >= 0, such as 0.1. Received: -0.1"),
    "frozen at a rate": (of_row("frozen", True), r"contradicts itself. Received: multiplier=0\.1, frozen=True"),
    "another shape": (of_row("shape", [4, 5]), r"one/kernel was \(4, 5\), is \(4, 4\)"),
    "a shape of words": (of_row("shape", ["4"]), "no valid 'shape'"),
    "a missing field": (without("frozen"), r"Row 0 of the plan \(one/kernel\) has no valid 'frozen'. Received: None"),
    "another format": (lambda config: config["multipliers"]["plan"].update(format="x"), "expected the format"),
    "no plan": (lambda config: config.update(multipliers={"plan": 7}), "This is not a difflr plan"),
    "rules in its place": (lambda config: config.update(multipliers={"one": 0.1}), "is a path in the layer tree"),
    "another option": (lambda config: config.update(weight_decay_follows="me"), "Received: 'me'"),
    "a schedule that is code": (
        of_row("schedule", {"module": "builtins", "class_name": "eval", "config": {}, "registered_name": None}),
        "must be a LearningRateSchedule of keras.optimizers.schedules",
    ),
    "a lambda under a good name": (
        of_row(
            "schedule",
            {
                "class_name": "__lambda__",
                "registered_name": "difflr>Joined",
                "config": {"value": "x"},
                "module": "builtins",
            },
        ),
        "The plan's schedule '__lambda__' cannot be created",
    ),
    "a schedule of words": (
        of_row(
            "schedule",
            {
                "module": "keras.optimizers.schedules",
                "class_name": "CosineDecay",
                "config": {"initial_learning_rate": "fast", "decay_steps": 10},
            },
        ),
        r"Row 0 of the plan \(one/kernel\): The plan's schedule",
    ),
}


@pytest.mark.parametrize("edit", EDITS)
def test_edited_config_in_a_whole_model(saved, tmp_path, edit):
    change, message = EDITS[edit]
    with pytest.raises((ValueError, TypeError), match=message):
        keras.saving.load_model(edited(saved, tmp_path / "model.keras", change))


def test_the_copy_loads_as_it_is(saved, tmp_path):
    loaded = keras.saving.load_model(edited(saved, tmp_path / "model.keras", lambda config: None))
    assert rates(loaded) == rates(made())


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, -1.0, 1e300, True, "0.1"])
def test_a_multiplier_in_the_state_that_is_none(value):
    model = made()
    store = {}
    model.optimizer.save_own_variables(store)
    before = everything(model)
    header = saved_state._from_array(store["difflr"])
    header["numbers"] = {"head/kernel": {"multiplier": value}}
    store["difflr"] = saved_state._as_array(header)
    with pytest.raises(ValueError, match=r"is no finite number|no valid 'numbers'|would be infinite"):
        model.optimizer.load_own_variables(store)
    assert everything(model) == before


def edited_header(field, value):
    def change(store):
        header = saved_state._from_array(store["difflr"])
        header[field] = value
        store["difflr"] = saved_state._as_array(header)

    return change


STATES = {
    "an array too few": (lambda store: store.pop("0"), "lacks the optimizer: iteration"),
    "another shape": (lambda store: store.update({"0": np.ones((2, 2))}), r"in the file \(2, 2\)"),
    "a step before the first": (lambda store: store.update({"0": np.array(-1)}), "its step is -1"),
    "no step": (edited_header("values", []), "no valid 'values'"),
    "state of nobody": (edited_header("aside", [["nobody", "momentums"]]), "no valid 'aside'"),
    "a list for a place": (edited_header("values", [[[], "momentums"]]), "no valid 'values'"),
    "a start of words": (edited_header("starts", {"head/kernel": ["1", 0, 0]}), "no valid 'starts'"),
    "a negative count": (edited_header("seen", {"head/kernel": -1}), "no valid 'seen'"),
    "another field": (edited_header("me", 1), "unknown field"),
}


@pytest.mark.parametrize("edit", STATES)
def test_edited_state(edit):
    model, store = made(), {}
    model.optimizer.save_own_variables(store)
    before = everything(model)
    change, message = STATES[edit]
    change(store)
    with pytest.raises(ValueError, match=message):
        model.optimizer.load_own_variables(store)
    assert everything(model) == before


def test_a_changed_multiplier_is_not_spread_to_a_whole_group():
    """Here head and backbone are one group, and in the file the multiplier of the head was changed."""
    saved, model = kinds.mlp(one="one", two="two", head="head"), kinds.mlp(one="one", two="two", head="head")
    for each, plan in ((saved, {"one": 0.5, "two": 0.5}), (model, {})):
        each.compile(difflr.optimizers.SGD(0.1, multipliers=difflr.Plan(each, plan)), loss="mse")
        each.optimizer.build(each.trainable_variables)
    saved.optimizer.multipliers["head"] = 0.05
    store = {}
    saved.optimizer.save_own_variables(store)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.optimizer.load_own_variables(store)
    assert {row.multiplier for row in model.optimizer.plan.rows} == {1.0}


def test_phases_that_do_not_fit_leave_the_optimizer_as_it_was(tmp_path):
    """The saved phase trains other variables than are trained now: what is wrong is found before anything changes."""
    x, y = np.ones((4, 4), "float32"), np.ones((4, 2), "float32")
    stores, optimizers = [], []
    for rate in (0.1, 0.2):
        model = made()
        model.compile(
            difflr.optimizers.Adam(rate, weight_decay=0.1, multipliers=model.optimizer.plan),
            loss="mse",
            run_eagerly=True,
        )
        save = keras.callbacks.LambdaCallback(
            on_epoch_end=lambda e, logs, m=model: m.optimizer.save_own_variables(stores[-1])
        )
        phases = difflr.PhaseScheduler([difflr.Phase("head", epochs=1), difflr.Phase("*")])
        stores.append({})
        if rate == 0.1:
            model.fit(x, y, verbose=0, epochs=2, callbacks=[phases, save])
        else:
            stores.append({})
            model.optimizer.bind(model)
            model.train_on_batch(x, y)
        optimizers.append(model)
    model, store = optimizers[1], dict(stores[0])
    before = everything(model)
    names = sorted(name for name in store if name.isdigit())
    store[names[-1]] = np.ones((3, 3, 3), "float32")
    with pytest.raises(ValueError, match=r"and in the file \(3, 3, 3\)"):
        model.optimizer.load_own_variables(store)
    assert everything(model) == before
    assert model.optimizer.plan.whole is model.optimizer.plan
    model.train_on_batch(x, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the learning rate, which is another
        model.optimizer.load_own_variables(stores[0])
    assert model.optimizer.plan.whole is not model.optimizer.plan


def test_checksum():
    written = saved_state._as_array({"a": [1, 2.5]})
    assert saved_state._from_array(written) == {"a": [1, 2.5]}
    for place in range(len(written)):
        damaged = np.array(written)
        damaged[place] ^= 4
        with pytest.raises(ValueError, match="damaged"):
            saved_state._from_array(damaged)
    for none in (np.zeros(0), np.float32(3.0), np.frombuffer(b"x", "uint8")):
        with pytest.raises(ValueError, match="damaged"):
            saved_state._from_array(none)


def test_a_reader_that_half_changes_is_found_out(monkeypatch):
    """The test of the tests: what `readers` calls a finding."""
    monkeypatch.setattr(difflr.Plan, "from_json", lambda *_: [][1])
    with pytest.raises(Finding, match="IndexError is no refusal"):
        read("plan\n{}")

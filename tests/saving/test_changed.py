"""Files whose model has changed: a report of what matched and what did not, and never a state in the wrong place."""

import keras
import numpy as np
import pytest
from keras import layers

import difflr
from difflr import FROZEN, Plan, optimizers
from saving import kinds
from saving.conftest import saying

pytestmark = pytest.mark.same_everywhere  # about names and places in files; `test_resume` loads states on each


class Code:
    """What the code of the classes below says; tests change it between saving and loading."""

    parts = (("one", 4), ("two", 4), ("head", 2))
    names = {}


class Net:
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        for attribute, units in Code.parts:
            setattr(self, attribute, layers.Dense(units, name=Code.names.get(attribute)))

    def build(self, shape):
        for attribute, _ in Code.parts:
            getattr(self, attribute).build((None, 4))
        super().build(shape)

    def call(self, x):
        return self.head(self.two(self.one(x)))


@kinds.register
class KerasNet(Net, keras.Model):
    pass


@kinds.register
class DifflrNet(Net, difflr.Model):
    pass


@kinds.register
class NetLayer(Net, layers.Layer):
    pass


def subclassed(cls):
    model = cls()
    model.build((None, 4))
    return model


def wrapped(cls):
    inputs = keras.Input((4,))
    return cls(inputs, NetLayer(name="net")(inputs))


MODELS = {
    "keras": lambda: subclassed(KerasNet),
    "difflr": lambda: subclassed(DifflrNet),
    "layer in keras": lambda: wrapped(keras.Model),
    "layer in difflr": lambda: wrapped(difflr.Model),
}


@pytest.fixture(params=MODELS)
def saved(request, tmp_path):
    """A saved model, and the prefix of its layer-tree paths."""
    model = MODELS[request.param]()
    prefix = "net/" if "layer" in request.param else ""
    plan = Plan(model, {f"{prefix}one": 0.1, f"{prefix}two/bias": FROZEN})
    kinds.tried(model, optimizers.Adam(0.01, multipliers=plan))
    model.save(tmp_path / "model.keras")
    return tmp_path / "model.keras", prefix, request.param


def refusal(path):
    with pytest.raises(ValueError, match="The saved plan") as caught:
        keras.saving.load_model(path)
    return str(caught.value)


def test_unchanged_code_loads(saved):
    model = keras.saving.load_model(saved[0])
    assert int(model.optimizer.iterations) == 3


def test_another_head(saved, monkeypatch):
    monkeypatch.setattr(Code, "parts", (("one", 4), ("two", 4), ("head", 3)))
    path, prefix, _ = saved
    report = refusal(path)
    assert "4 variables match" in report
    assert f"{prefix}head/kernel was (4, 2), is (4, 3)" in report
    assert f"{prefix}head/bias was (2,), is (3,)" in report
    assert "one" not in report
    assert "compile=False" in report


def test_one_layer_more(saved, monkeypatch):
    monkeypatch.setattr(Code, "parts", (("one", 4), ("more", 5), ("two", 4), ("head", 2)))
    report = refusal(saved[0])
    assert "6 variables match" in report
    new = report.split("In the model but not in the plan: ")[1].split("\n")[0]
    assert len(new.split(", ")) == 2
    assert "In the plan but not in the model" not in report


def test_one_layer_less(saved, monkeypatch):
    monkeypatch.setattr(Code, "parts", (("one", 4), ("head", 2)))
    monkeypatch.setattr(Net, "call", lambda self, x: self.head(self.one(x)))
    report = refusal(saved[0])
    missing = report.split("In the plan but not in the model: ")[1].split("\n")[0]
    assert len(missing.split(", ")) == 2
    assert "In the model but not in the plan" not in report


def test_a_renamed_layer(saved, monkeypatch):
    monkeypatch.setattr(Code, "names", {"head": "classifier"})
    path, prefix, _ = saved
    report = refusal(path)
    assert "4 variables match" in report
    assert f"In the plan but not in the model: {prefix}head/kernel, {prefix}head/bias." in report
    assert "classifier/kernel" in report.split("In the model but not in the plan: ")[1]


def test_two_equal_layers_swapped(saved, monkeypatch):
    """Keras loads weights by attribute and tells the optimizer of a plain model only the order of its variables."""
    monkeypatch.setattr(Code, "parts", (("two", 4), ("one", 4), ("head", 2)))
    path, prefix, model = saved
    loaded = keras.saving.load_model(path)
    if "difflr" in model:  # whose optimizer knows the model, and so where each variable stands
        net = loaded.get_layer("net") if prefix else loaded
        assert loaded.optimizer.multipliers[net.one.kernel] == pytest.approx(0.1)
        assert loaded.optimizer.multipliers[net.two.kernel] == 1.0
        places = [place for place, name in loaded.optimizer.state_entries() if place is not None]
        assert f"{prefix}two/kernel" in places
        assert not net.two.bias.trainable
    else:
        # Keras tells the optimizer of a plain model no names that would survive loading: `bind` finds out.
        with pytest.raises(ValueError, match=f"in another order: {prefix}one/kernel first"):
            loaded.optimizer.bind(loaded)


def test_two_equal_layers_swapped_that_have_names(monkeypatch, tmp_path):
    monkeypatch.setattr(Code, "names", {"one": "one", "two": "two"})
    model = subclassed(KerasNet)
    kinds.tried(model, optimizers.Adam(0.01, multipliers=Plan(model, {"one": 0.1})))
    model.save(tmp_path / "model.keras")
    monkeypatch.setattr(Code, "parts", (("two", 4), ("one", 4), ("head", 2)))
    refusal(tmp_path / "model.keras")


def test_changed_model_loads_without_its_optimizer(saved, monkeypatch):
    monkeypatch.setattr(Code, "parts", (("two", 4), ("one", 4), ("head", 2)))
    path, prefix, _ = saved
    model = keras.saving.load_model(path, compile=False)
    kinds.tried(model, optimizers.Adam(0.01, multipliers=Plan(model, {f"{prefix}one": 0.1})))
    net = model.get_layer("net") if prefix else model
    assert model.optimizer.multipliers[net.one.kernel] == pytest.approx(0.1)
    assert model.optimizer.multipliers[net.two.kernel] == 1.0


def freeze_two(model):
    model.get_layer("two").trainable = False


def quantize_two(model):
    model.get_layer("two").quantize("int8")


@pytest.mark.parametrize(("change", "gone"), [(freeze_two, "two/kernel, two/bias"), (quantize_two, "two/kernel")])
def test_a_layer_that_no_longer_trains_as_it_did(change, gone, tmp_path):
    """It was set to `trainable = False`, or its kernel replaced by integers: the others keep their rates and state."""
    model = kinds.mlp(one="one", two="two", head="head")
    kinds.tried(model, optimizers.Adam(0.01, multipliers=Plan(model, {"one": 0.1, "two": 0.5})))
    change(model)
    model.save(tmp_path / "model.keras")
    with saying(f"The file has state for {gone}, which this optimizer does not train"):
        loaded = keras.saving.load_model(tmp_path / "model.keras")
    for a, b in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert int(loaded.optimizer.iterations) == 3
    if change is freeze_two:
        loaded.train_on_batch(kinds.VECTORS, kinds.TARGETS)
        moved = [not np.array_equal(a, b) for a, b in zip(model.get_weights(), loaded.get_weights(), strict=True)]
        assert moved == [True, True, False, False, True, True]
    assert loaded.optimizer.multipliers["one/kernel"] == 0.1
    assert "two/kernel" not in [row.path for row in difflr.plan_of(loaded).rows if not row.frozen]


def test_base_class_changed_to_a_difflr_model(tmp_path):
    model = subclassed(KerasNet)
    kinds.tried(model, optimizers.Adam(0.01, multipliers=0.5))  # a plan without the model's paths
    model.save(tmp_path / "model.keras")
    with keras.saving.CustomObjectScope({"kinds>KerasNet": DifflrNet}):
        loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert [row.path for row in loaded.optimizer.plan.rows][:2] == ["one/kernel", "one/bias"]
    assert set(loaded.optimizer.multipliers.values()) == {0.5}


@pytest.mark.parametrize("cls", [keras.Model, difflr.Model])
def test_state_is_never_lost_in_silence(cls, tmp_path, monkeypatch):
    """Keras only warns if an optimizer takes no state; here loading fails."""
    model = kinds.mlp(cls)
    kinds.tried(model, optimizers.Adam(0.01, multipliers=Plan(model, {model.layers[1]: 0.1})))
    model.save(tmp_path / "model.keras")
    build = optimizers.Adam.build
    with monkeypatch.context() as patched:
        patched.setattr(optimizers.Adam, "build", lambda self, variables: build(self, variables[:-1]))
        with pytest.raises(ValueError, match="does not fit this"):
            keras.saving.load_model(tmp_path / "model.keras")
    assert np.isfinite(keras.saving.load_model(tmp_path / "model.keras").predict(kinds.VECTORS, verbose=0)).all()


@pytest.mark.parametrize("variable", ["one/kernel", "one/bias"])
def test_adafactors_factors_of_a_frozen_variable_are_checked(variable):
    """Its state is kept aside in the file, in shapes of their own."""

    def made():
        model = subclassed(DifflrNet)
        model.compile(optimizers.Adafactor(0.1), loss="mse")
        model.fit(np.ones((4, 4)), np.ones((4, 2)), verbose=0)
        difflr.replan(model, Plan(model, {"one": FROZEN}))
        return model

    model, store = made(), {}
    model.optimizer.save_own_variables(store)
    made().optimizer.load_own_variables(dict(store))
    aside = model.optimizer._states.aside
    number = next(n for n, key in enumerate(aside) if key == (variable, "_r"))
    store[str(len(model.optimizer.state_entries()) + number)] = np.zeros((7,), "float32")
    with pytest.raises(ValueError, match=r"does not fit: _r of one/.* and in the file \(7,\)"):
        made().optimizer.load_own_variables(store)

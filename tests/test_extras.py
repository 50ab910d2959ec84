"""Without an optional package: an error that says what to install."""

import io
import sys

import keras
import pytest

import difflr
from difflr import interop
from difflr.interop.caffe import prototxt


def plan():
    layers = [keras.layers.Dense(3, name="body"), keras.layers.Dense(2, name="head")]
    return difflr.Plan(keras.Sequential([keras.Input((4,)), *layers]), {"body": 0.1})


CALLS = {
    "plot_plan": ("matplotlib", lambda: difflr.plot_plan(plan()), "difflr[plot]"),
    "write_report": ("jinja2", lambda: difflr.write_report("r.html", plan().model, {"loss": [1.0]}), "difflr[report]"),
    "plan_to_yaml": ("yaml", lambda: interop.plan_to_yaml(plan()), "difflr[yaml]"),
    "plan_from_yaml": ("yaml", lambda: interop.plan_from_yaml(plan().model, "rules: {}"), "difflr[yaml]"),
    "from_caffe": (
        "google.protobuf",
        lambda: interop.from_caffe(io.StringIO("layer {}"), plan().model),
        "difflr[caffe]",
    ),
    "read_image": ("PIL", lambda: difflr.data.read_image("a.png", (8, 8)), "difflr[cli]"),
    "optax_transform": (
        "optax",
        lambda: interop.optax_transform(plan(), keras.optimizers.Adam, [], learning_rate=1e-3),
        "pip install optax",
    ),
    "pytree_plan": ("jax", lambda: interop.pytree_plan({"body": 1}), "pip install jax"),
}


@pytest.mark.same_everywhere
@pytest.mark.parametrize("name", CALLS)
def test_says_what_to_install(name, monkeypatch, tmp_path):
    package, call, install = CALLS[name]
    monkeypatch.setitem(sys.modules, package, None)
    prototxt._messages.cache_clear()  # made by earlier tests
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ImportError) as caught:
        call()
    assert install in str(caught.value)
    assert not list(tmp_path.iterdir())

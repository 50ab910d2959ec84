"""What a type checker and an IDE see of the classes that are made at import."""

import re
import sys
from pathlib import Path

import keras
import pytest

import difflr

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import stubs  # noqa: E402 - the folder has to be on the path first

pytestmark = pytest.mark.same_everywhere

RIGHT = """
import difflr
import keras

difflr.optimizers.AdamW(keras.optimizers.schedules.CosineDecay(1e-3, 100), weight_decay=0.05, multipliers=0.5)
difflr.optimizers.SGD(0.1, 0.9, nesterov=True, fused=False, name="sgd", clipnorm=1.0)
difflr.layers.Conv2D(16, (3, 3), padding="same", W_learning_rate_multiplier=0.1, name="stem", dtype="float32")
difflr.layers.Convolution2D(16, 3, b_learning_rate_multiplier=0.2, input_shape=(8, 8, 3)).kernel
difflr.layers.LSTM(4, learning_rate_multiplier={"recurrent_kernel": 0.1}, return_sequences=True)
difflr.layers.LayerNormalization(learning_rate_multiplier=0.5).multipliers
difflr.optimizers.differential(keras.optimizers.SGD)
"""
WRONG = {
    "difflr.optimizers.AdamW(beta_1='high')": "arg-type",
    "difflr.optimizers.AdamW(multiplier=0.1)": "call-arg",
    "difflr.optimizers.SGD(0.1, weight_decay_follows=3)": "arg-type",
    "difflr.optimizers.Adamm()": "attr-defined",
    "difflr.layers.Conv2D(16, 3, W_learning_rate_multiplier='a tenth')": "arg-type",
    "difflr.layers.Conv2D(16, 3, learning_rate_multiplyer=0.1)": "call-arg",
    "difflr.layers.Dense(3, nmae='head')": "call-arg",
    "difflr.layers.BatchNormalization(W_learning_rate_multiplier=0.1)": "call-arg",
    "difflr.layers.MaxPooling2D()": "attr-defined",
}


@pytest.mark.parametrize("module", stubs.MODULES, ids=lambda module: module.__name__)
def test_the_stub_is_what_keras_has(module):
    text = stubs.path_of(module).read_text()
    version = re.search(r"from Keras (\S+)\.$", text, re.MULTILINE).group(1)
    if stubs.keras_version() != version:
        pytest.skip(f"the stub lists Keras {version}; installed is {keras.__version__}")
    assert text == stubs.stub(module), f"{stubs.path_of(module)} is not what Keras {version} has: run `make stubs`"


@pytest.mark.parametrize("module", stubs.MODULES, ids=lambda module: module.__name__)
def test_the_stub_names_what_can_be_imported(module):
    namespace = set(re.findall(r"^(?:class |from \S+ import \S+ as )?(\w+)", stubs.stub(module), re.MULTILINE))
    assert set(module.__all__) <= namespace


def test_right_arguments_pass_a_type_checker_and_wrong_ones_do_not(tmp_path):
    api = pytest.importorskip("mypy.api")
    script = tmp_path / "script.py"
    script.write_text(f"{RIGHT}\n" + "\n".join(WRONG) + "\n")
    config = tmp_path / "mypy.ini"
    config.write_text(  # of difflr alone: the types of torch take half a minute
        f"[mypy]\nmypy_path = {ROOT / 'src'}\nignore_missing_imports = True\nfollow_imports = skip\n"
        "[mypy-difflr.*]\nfollow_imports = silent\n"
    )
    found, trouble, _ = api.run([str(script), f"--config-file={config}", f"--cache-dir={tmp_path / 'cache'}"])
    assert not trouble
    first = RIGHT.count("\n") + 2
    seen = {int(line): code for line, code in re.findall(r"^\S+?:(\d+): error: .*\[([\w-]+)\]$", found, re.MULTILINE)}
    assert seen == dict(enumerate(WRONG.values(), start=first)), found


def test_the_package_says_that_it_is_typed():
    assert (Path(difflr.__file__).parent / "py.typed").exists()

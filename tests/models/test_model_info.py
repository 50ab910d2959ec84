"""What a model's file says besides its layers, and that plain Keras loads it all the same."""

import json
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest

from difflr.models import ModelInfo, read_info, write_info
from processes import environment

pytestmark = pytest.mark.same_everywhere

PLAIN = """
import json, sys, zipfile
import keras, numpy as np
model = keras.saving.load_model("pets.keras")
names = json.loads(zipfile.ZipFile("pets.keras").read("difflr.json"))["classes"]
scores = model.predict(np.ones((1, 3)), verbose=0)[0]
assert not any(name.split(".")[0] == "difflr" for name in sys.modules)
print(json.dumps([names[scores.argmax()], scores.tolist()]))
"""


@pytest.fixture
def file(tmp_path):
    keras.utils.set_random_seed(0)
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save(tmp_path / "pets.keras")
    return tmp_path / "pets.keras"


@pytest.mark.parametrize(
    "info",
    [
        ModelInfo(("cat", "żółw\n\"'"), "classes", "pictures", (3, 5), 1),
        ModelInfo(("a", "b"), "labels", "texts"),
        ModelInfo((), "numbers"),
    ],
)
def test_what_is_written_is_read(info, file):
    assert read_info(file) is None
    write_info(file, info)
    assert read_info(file) == info


def test_plain_keras_loads_it_and_knows_the_names(file):
    write_info(file, ModelInfo(("cat", "dog")))
    done = subprocess.run(
        [sys.executable, "-c", PLAIN], cwd=file.parent, env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    name, scores = json.loads(done.stdout.splitlines()[-1])
    np.testing.assert_allclose(scores, keras.saving.load_model(file).predict(np.ones((1, 3)), verbose=0)[0], rtol=1e-5)
    assert name == ("cat", "dog")[int(np.argmax(scores))]


@pytest.mark.parametrize(
    "content", [b"", b"[1]", b"{}", b'{"classes": 3}', b'{"classes": [], "task": "x"}', b'{"classes": [], "size": [1]}']
)
def test_what_cannot_be_read_is_refused(content, file):
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("difflr.json", content)
    with pytest.raises(ValueError, match="difflr.json in .*pets.keras cannot be read"):
        read_info(file)


def test_other_tasks_are_refused():
    with pytest.raises(ValueError, match="`task` must be 'classes', 'labels' or 'numbers'. Received: 'class'"):
        ModelInfo(task="class")
    with pytest.raises(ValueError, match="`data` must be 'pictures'"):
        ModelInfo(data="images")

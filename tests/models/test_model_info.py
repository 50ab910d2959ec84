"""What a model's file says besides its layers."""

import zipfile

import keras
import pytest

from difflr.models import ModelInfo, read_info, write_info

pytestmark = pytest.mark.same_everywhere


@pytest.fixture
def file(tmp_path):
    keras.utils.set_random_seed(0)
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save(tmp_path / "pets.keras")
    return tmp_path / "pets.keras"


@pytest.mark.parametrize(
    "info",
    [
        ModelInfo(("cat", "żółw\n\"'"), "classes", "images", (3, 5), 1),
        ModelInfo(("a", "b"), "labels", "texts"),
        ModelInfo((), "numbers"),
    ],
)
def test_what_is_written_is_read(info, file):
    assert read_info(file) is None
    write_info(file, info)
    assert read_info(file) == info


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
    with pytest.raises(ValueError, match="`data` must be 'images'"):
        ModelInfo(data="image")

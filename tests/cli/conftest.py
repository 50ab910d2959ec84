"""Tiny data in a folder."""

import keras
import numpy as np
import pytest
from PIL import Image

from cli.commands import network

COLORS = {"blue": (30, 30, 220), "green": (20, 200, 40), "red": (220, 20, 30)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """`net.keras`, `bare.keras` without a head, and `images/`, 6 of each class and one damaged."""
    folder = tmp_path_factory.mktemp("files")
    model = network()
    model.save(folder / "net.keras")
    keras.Model(model.inputs, model.get_layer("top").output).save(folder / "bare.keras")
    random = np.random.default_rng(0)
    for name, color in COLORS.items():
        (folder / "images" / name).mkdir(parents=True)
        for number in range(6):
            image = np.clip(random.normal(color, 30, (10, 12, 3)), 0, 255).astype("uint8")
            Image.fromarray(image).save(folder / "images" / name / f"{number}.png")
    (folder / "images" / "red" / "damaged.png").write_bytes(b"\x89PNG\r\n\x1a\n and then nothing")
    return folder


@pytest.fixture
def here(folder, tmp_path, monkeypatch):
    """A folder of this test's own, with what `folder` has."""
    for path in folder.iterdir():
        (tmp_path / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    return tmp_path

"""`difflr predict`: images, texts, arrays and pipes, in every form; and plain Keras says the same without difflr."""

import csv
import io
import json
import os
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from cli.colors import NAMES, color_network
from cli.commands import difflr, refused, succeeded
from cli.test_evaluate import text_network
from difflr.models import ModelInfo, write_info
from difflr_command.app import app
from difflr_command.network import Network
from processes import environment

pytestmark = pytest.mark.usefixtures("quick_compilation")

COLORS = {"blue": (20, 20, 200), "green": (20, 200, 20), "red": (200, 20, 20)}


@pytest.fixture
def shots(here):
    """`colors.keras`, and an image of each color."""
    color_network(here / "colors.keras")
    for name, color in COLORS.items():
        Image.new("RGB", (20, 10), color).save(here / f"{name}.png")
    return here


def rows(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_images_as_csv_and_json(shots):
    files = [f"{name}.png" for name in ("red", "blue", "green")]
    result = difflr("predict", "colors.keras", *files, "--csv", "--top", "2", "--batch-size", "2")
    assert result.code == 0, result
    found = rows(result.out)
    assert [row["file"] for row in found] == files
    assert [row["class"] for row in found] == ["red", "blue", "green"]
    model = keras.saving.load_model("colors.keras")
    for row, name in zip(found, ("red", "blue", "green"), strict=True):
        image = np.broadcast_to(np.array(COLORS[name], "float32"), (1, 8, 8, 3))
        expected = np.asarray(model.predict(image, verbose=0))[0]
        assert float(row["probability"]) == pytest.approx(expected.max(), abs=1e-5)
        assert float(row["probability_2"]) == pytest.approx(np.sort(expected)[-2], abs=1e-5)
        assert row["error"] == ""
    document = succeeded("predict", "colors.keras", *files, "--top", "3")
    assert [entry["class"] for entry in document] == ["red", "blue", "green"]
    assert sum(one["probability"] for one in document[0]["top"]) == pytest.approx(1)


@pytest.mark.same_everywhere
def test_a_pipe_of_names_and_a_folder(shots):
    (shots / "below" / "deep").mkdir(parents=True)
    (shots / "red.png").rename(shots / "below" / "deep" / "red.png")
    (shots / ".hidden.png").write_bytes((shots / "blue.png").read_bytes())
    piped = CliRunner().invoke(app, ["predict", "colors.keras"], input="green.png\n\nblue.png\n")
    assert piped.exit_code == 0, piped
    assert [line.split(" ")[:2] for line in piped.stdout.splitlines()] == [
        ["green.png:", "green"],
        ["blue.png:", "blue"],
    ]
    assert difflr("predict", "colors.keras", "below").out.startswith("below/deep/red.png: red ")
    both = CliRunner().invoke(app, ["predict", "colors.keras", "below", "-", "--csv"], input="green.png\n")
    assert [row["class"] for row in rows(both.stdout)] == ["red", "green"]


@pytest.mark.same_everywhere
def test_a_table_of_images_and_what_a_folder_holds_besides(shots):
    (shots / "below").mkdir()
    (shots / "red.png").rename(shots / "below" / "red.png")
    (shots / "below" / "readme.txt").write_text("no image")
    (shots / "below" / "list.jsonl").write_text('{"image": "red.png"}\n{"image": "../blue.png"}\n')
    found = rows(difflr("predict", "colors.keras", "below/list.jsonl", "--csv").out)
    assert [row["class"] for row in found] == ["red", "blue"]
    assert "2 files in below left out: no images" in difflr("predict", "colors.keras", "below").err
    assert "no column 'path'" in refused("predict", "colors.keras", "below/list.jsonl", "--file-column", "path")
    assert "for tables of texts" in refused("predict", "colors.keras", "blue.png", "--text-column", "text")


@pytest.mark.same_everywhere
def test_what_cannot_be_read_is_named_and_the_others_are_predicted(shots):
    (shots / "damaged.png").write_bytes(b"nothing")
    names = "red.png\ngone.png\ndamaged.png\nblue.png\n"
    result = CliRunner().invoke(app, ["predict", "colors.keras", "-", "--csv"], input=names)
    assert result.exit_code == 1
    found = rows(result.stdout)
    assert [row["class"] for row in found] == ["red", "", "", "blue"]
    assert [row["error"] for row in found] == ["", "there is no such file", "no image, or damaged", ""]
    assert "gone.png is skipped: there is no such file" in result.stderr
    assert "2 of 4 examples could not be read" in result.stderr
    result = CliRunner().invoke(app, ["predict", "colors.keras", "--json"], input=names)
    assert [entry.get("error") for entry in json.loads(result.stdout)][1] == "there is no such file"


@pytest.mark.same_everywhere
def test_names_that_are_no_utf_8_and_names_with_commas(shots):
    name = os.fsdecode(b'caf\xe9, "x".png')
    (shots / name).write_bytes((shots / "red.png").read_bytes())
    result = difflr("predict", "colors.keras", ".", "-o", "found.csv")
    assert result.code == 0, result
    found = {row["file"]: row["class"] for row in rows((shots / "found.csv").read_text())}
    assert found['./caf\\udce9, "x".png'.removeprefix("./")] == "red"


@pytest.mark.same_everywhere
@pytest.mark.parametrize("output", ["found.csv", "found.json"])
def test_an_interrupted_output_is_not_there_or_as_it_was(shots, monkeypatch, output):
    words = ["predict", "colors.keras", "red.png", "blue.png", "--batch-size", "1", "-o", output]
    assert difflr(*words).code == 0
    before = (shots / output).read_text()
    assert "red.png" in before
    predict = Network.predict
    numbers = iter(range(9))

    def interrupted(self, inputs, batch_size):
        if next(numbers) == 1:
            raise KeyboardInterrupt
        return predict(self, inputs, batch_size)

    monkeypatch.setattr(Network, "predict", interrupted)
    result = difflr(*words)
    assert result.code == 130
    assert f"Interrupted: {output} is not written." in result.err
    assert (shots / output).read_text() == before
    assert not list(shots.glob(".unfinished*"))


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TextVectorization needs TensorFlow")
def test_texts(here):
    text_network(here / "words.keras")
    (here / "films.csv").write_text('id;text\n1;a good film\n2;"bad; really"\n')
    (here / "lines.txt").write_text("good\n\nbad, bad\n")
    found = rows(difflr("predict", "words.keras", "films.csv", "lines.txt", "--csv", "--batch-size", "3").out)
    assert [row["text"] for row in found] == ["a good film", "bad; really", "good", "bad, bad"]
    assert [row["class"] for row in found] == ["good", "bad", "good", "bad"]
    piped = CliRunner().invoke(app, ["predict", "words.keras", "--csv"], input="good\nbad\n")
    assert [row["class"] for row in rows(piped.stdout)] == ["good", "bad"]
    assert "no column 'review'" in refused("predict", "words.keras", "films.csv", "--text-column", "review")
    assert "Received: words.keras" in refused("predict", "words.keras", "words.keras")


@pytest.mark.same_everywhere
def test_several_labels_and_numbers(here):
    inputs = keras.Input((2,))
    layer = keras.layers.Dense(2, activation="sigmoid")
    model = keras.Model(inputs, layer(inputs))
    layer.set_weights([8 * np.eye(2), np.array([-4, -4])])
    model.save("labels.keras")
    write_info("labels.keras", ModelInfo(("sea", "sun"), "labels"))
    np.savez("x.npz", x=[[1.0, 1], [0, 1], [0, 0]])
    found = rows(difflr("predict", "labels.keras", "x.npz", "--csv").out)
    assert [row["labels"] for row in found] == ["sea;sun", "sun", ""]
    assert float(found[1]["sea"]) == pytest.approx(1 / (1 + np.exp(4)), abs=1e-5)
    layer = keras.layers.Dense(1)
    model = keras.Model(inputs, layer(inputs))
    layer.set_weights([np.array([[1], [2]]), np.array([0.5])])
    model.save("sum.keras")
    assert [line.split(": ")[1] for line in difflr("predict", "sum.keras", "x.npz").out.splitlines()] == [
        "3.5",
        "2.5",
        "0.5",
    ]
    assert "x of wide.npz holds (None, 3)" in _wide_is_refused(here)


def _wide_is_refused(here):
    np.savez("wide.npz", x=np.zeros((2, 3)))
    return refused("predict", "sum.keras", "wide.npz")


@pytest.mark.same_everywhere
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["gren.png"], "There is no file gren.png. Did you mean 'green.png'?"),
        (["red.png", "--csv", "--json"], "give one of them"),
        (["red.png", "-o", "found.txt"], "a .csv or a .json file"),
        (["red.png", "-o", "gone/found.csv"], "there is no folder"),
        (["names.csv", "-o", "names.csv"], "output names.csv would replace what is read"),
        (["red.png", "--size", "999"], "pixels: leave out --size"),
        (["empty"], "There was nothing to predict"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(words, told, shots):
    (shots / "empty").mkdir()
    (shots / "names.csv").write_text("file\nred.png\n")
    assert told in refused("predict", "colors.keras", *words)


WITHOUT = """
    import sys

    class Refuse:
        def find_spec(self, name, path=None, target=None):
            if name.split(".")[0] in ("difflr", "difflr_command"):
                raise ImportError(f"{name} is not installed")

    sys.meta_path.insert(0, Refuse())
    import json, zipfile
    import keras
    import numpy as np

    model = keras.saving.load_model("tuned.keras")
    about = json.loads(zipfile.ZipFile("tuned.keras").read("difflr.json"))
    scores = model.predict(np.load("x.npy"), verbose=0)
    assert not [name for name in sys.modules if name.startswith("difflr")]
    print(json.dumps([[about["classes"][row.argmax()], float(row.max())] for row in scores]))
"""


@pytest.mark.same_everywhere
def test_a_tuned_model_predicts_in_plain_keras_without_difflr(shots):
    """The scale is a layer and the names are in the file; difflr cannot be imported."""
    layers = [keras.layers.Conv2D(4, 3, name="stem"), keras.layers.GlobalAveragePooling2D()]
    head = keras.layers.Dense(3, activation="softmax")
    keras.Sequential([keras.Input((8, 8, 3)), *layers, head]).save("raw.keras")
    quick = ["--epochs", "1", "--freeze-epochs", "0", "--batch-size", "9", "--learning-rate", "0.05"]
    assert difflr("fine-tune", "raw.keras", "images", "--scale", "caffe", *quick).code == 0
    document = succeeded("predict", "tuned.keras", *(f"{name}.png" for name in NAMES))
    images = [np.broadcast_to(np.array(COLORS[name], "float32"), (8, 8, 3)) for name in NAMES]
    np.save("x.npy", np.stack(images))
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(WITHOUT)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for (name, probability), entry in zip(json.loads(done.stdout.splitlines()[-1]), document, strict=True):
        assert name == entry["class"]
        assert probability == pytest.approx(entry["probability"], abs=1e-5)

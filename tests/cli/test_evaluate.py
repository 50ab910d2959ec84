"""`difflr evaluate`: what it measures of images, texts and arrays, what it writes, and what stops it."""

import json
import re

import keras
import numpy as np
import pytest
from PIL import Image

from cli.colors import NAMES, color_network
from cli.commands import difflr, refused, succeeded
from difflr.models import ModelInfo, write_info
from difflr_command import evaluating
from difflr_command.network import Network

pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture
def colors(here):
    """`colors.keras`, and `mixed/`: five of six images are in the right folder, one is damaged."""
    color_network(here / "colors.keras")
    color = {"blue": (20, 20, 200), "green": (20, 200, 20), "red": (200, 20, 20)}
    for folder, name, shown in [
        ("blue", "1", "blue"),
        ("blue", "2", "blue"),
        ("green", "1", "green"),
        ("green", "wrong", "red"),
        ("red", "1", "red"),
        ("red", "2", "red"),
    ]:
        (here / "mixed" / folder).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 10), color[shown]).save(here / "mixed" / folder / f"{name}.png")
    (here / "mixed" / "red" / "damaged.png").write_bytes(b"\x89PNG\r\n\x1a\n and then nothing")
    return here


@pytest.mark.same_everywhere
def test_images(colors):
    result = succeeded("evaluate", "colors.keras", "mixed", "--batch-size", "4")
    assert result["num_examples"] == 6
    assert result["accuracy"] == pytest.approx(5 / 6)
    assert result["confusion"] == [[2, 0, 0], [0, 1, 1], [0, 0, 2]]
    assert result["skipped"] == [["red/damaged.png", "no image, or damaged"]]
    (mistake,) = result["mistakes"]
    assert (mistake["name"], mistake["truth"], mistake["predicted"][:3]) == ("green/wrong.png", "green", "red")
    # As plain Keras says of the same image.
    model = keras.saving.load_model("colors.keras")
    image = np.broadcast_to(np.array([200.0, 20, 20], "float32"), (1, 8, 8, 3))
    probability = np.asarray(model.predict(image, verbose=0))[0]
    assert mistake["predicted"] == f"red {100 * probability[2]:.0f} %"
    assert mistake["badness"] == pytest.approx(1 - probability[1], rel=1e-5)


@pytest.mark.same_everywhere
def test_what_is_shown_and_written(colors):
    pytest.importorskip("matplotlib")
    result = difflr("evaluate", "colors.keras", "mixed", "--report", "page.html", "--plots", "shots")
    assert result.code == 0, result
    assert "Accuracy 83.3 % (5 of 6 right" in result.out
    assert re.search(r"green +2 +100.0 % +50.0 % +66.7 % +red \(1\)", result.out)
    assert re.search(r"green +red \d+ % +green/wrong.png", result.out)
    assert "skipped, 1: red/damaged.png (no image, or damaged)" in result.out
    assert {file.name for file in (colors / "shots").iterdir()} == {"confusion.png", "calibration.png", "mistakes.png"}
    page = (colors / "page.html").read_text()
    assert "green/wrong.png" in page
    assert page.index("data:image/jpeg;base64,") < page.index("<svg")  # the worst mistakes first
    command = re.search(r"<pre>(.*?)</pre>", page)[1]
    written = "--report page.html --plots shots"
    assert command == f"difflr --backend {keras.backend.backend()} evaluate colors.keras mixed {written}"
    again = difflr(*command.split()[1:])
    assert again.code == 0


@pytest.mark.same_everywhere
def test_of_ready_parts_the_test_part_is_taken(colors):
    (colors / "mixed").rename(colors / "test")
    (colors / "all").mkdir()
    (colors / "test").rename(colors / "all" / "test")
    (colors / "all" / "train").mkdir()
    assert succeeded("evaluate", "colors.keras", "all")["num_examples"] == 6
    (colors / "all" / "test" / "readme.txt").write_text("no image")
    shown = difflr("evaluate", "colors.keras", "all").out
    assert "test is taken" in shown
    assert "left out, in no class folder: 1 file (readme.txt)" in shown


@pytest.mark.same_everywhere
def test_a_table_of_images(colors):
    """In any form of table; the column is found, or named; and a table of texts is told from it."""
    lines = [{"where": f"mixed/{name}", "label": name[:-6]} for name in ("blue/1.png", "green/1.png", "red/2.png")]
    (colors / "list.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert succeeded("evaluate", "colors.keras", "list.jsonl", "--file-column", "where")["accuracy"] == 1
    assert "--file-column" in refused("evaluate", "colors.keras", "list.jsonl")
    (colors / "texts.csv").write_text("text,label\nsky,blue\n")
    assert "A table of texts needs a model that takes texts" in refused("evaluate", "colors.keras", "texts.csv")


@pytest.mark.same_everywhere
def test_logits_and_models_without_names(colors):
    """The classes of the folder are the outputs in the order of the alphabet; logits become probabilities."""
    expected = succeeded("evaluate", "colors.keras", "mixed")
    color_network(colors / "logits.keras", activation=None, info=False)
    result = succeeded("evaluate", "logits.keras", "mixed")
    assert result["confusion"] == expected["confusion"]
    assert result["calibration_error"] == pytest.approx(expected["calibration_error"], abs=1e-6)
    assert list(result["classes"]) == list(NAMES)


@pytest.mark.same_everywhere
def test_arrays_with_several_labels_and_with_numbers(here):
    inputs = keras.Input((2,))
    layer = keras.layers.Dense(2, activation="sigmoid", name="head")
    keras.Model(inputs, layer(inputs)).save("labels.keras")
    layer.set_weights([8 * np.eye(2), np.array([-4, -4])])
    model = keras.Model(inputs, layer(inputs))
    model.save("labels.keras")
    write_info("labels.keras", ModelInfo(("sea", "sun"), "labels"))
    np.savez("labels.npz", x=[[1.0, 0], [0, 1], [1, 1], [0, 0]], y=[[1, 0], [0, 1], [1, 1], [1, 0]])
    result = succeeded("evaluate", "labels.keras", "labels.npz")
    assert result["micro_f1"] == pytest.approx(2 * 4 / (4 + 5))
    assert result["mistakes"][0]["truth"] == "sea"

    layer = keras.layers.Dense(1, name="head")
    model = keras.Model(inputs, layer(inputs))
    layer.set_weights([np.array([[1], [2]]), np.array([0.5])])
    model.save("sum.keras")
    write_info("sum.keras", ModelInfo((), "numbers"))
    np.savez("sum.npz", x=[[1.0, 0], [0, 1], [1, 1]], y=[1.0, 2, 3])
    result = succeeded("evaluate", "sum.keras", "sum.npz")
    assert (result["mae"], result["rmse"]) == (pytest.approx(0.5), pytest.approx(0.5))
    assert result["r2"] == pytest.approx(1 - 0.75 / 2)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TextVectorization needs TensorFlow")
def test_texts(here):
    text_network(here / "words.keras")
    (here / "films.csv").write_text("text,label\ngood film,good\nbad film,bad\nbad,good\n,good\n" + "good,good\n" * 8)
    result = succeeded("evaluate", "words.keras", "films.csv", "--batch-size", "4")
    assert result["confusion"] == [[1, 0], [1, 9]]
    assert result["skipped"] == [["line 5", "no text"]]
    page = difflr("evaluate", "words.keras", "films.csv", "--report", "page.html")
    assert page.code == 0, page
    assert "<blockquote>bad</blockquote>" in (here / "page.html").read_text()


def text_network(path):
    """`good` in a text makes it good, `bad` bad."""
    words = keras.layers.TextVectorization(output_sequence_length=3, vocabulary=["good", "bad", "film"])
    inputs = keras.Input((), dtype="string")
    embedding = keras.layers.Embedding(5, 2, name="embedding")
    x = keras.layers.GlobalAveragePooling1D()(embedding(words(inputs)))
    model = keras.Model(inputs, keras.layers.Activation("softmax")(x))
    embedding.set_weights([np.array([[0, 0], [0, 0], [0, 9], [9, 0], [0, 0]])])
    model.save(path)
    write_info(path, ModelInfo(("bad", "good"), "classes", "texts"))


@pytest.mark.same_everywhere
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nowhere.keras", "mixed"], "no model file nowhere.keras"),
        (["colors.keras", "nowhere"], "no data at nowhere"),
        (["colors.keras", "data.npz"], "colors.keras takes images, and data.npz holds arrays"),
        (["colors.keras", "other"], "has the class 'grene'.*Did you mean 'green'"),
        (["four.keras", "mixed"], "has 3 classes, and four.keras, which holds no names of classes, has 4"),
        (["colors.keras", "mixed", "--report", "gone/page.html"], "no folder .*gone"),
        (["colors.keras", "mixed", "--plots", "colors.keras"], "colors.keras is a file. Name a folder"),
        (["colors.keras", "mixed", "--scale", "0..1"], "leave out --scale 0..1"),
        (["colors.keras", "mixed", "--size", "big"], "--size is a number of pixels"),
        (["raw.keras", "mixed", "--size", "8"], "Cannot tell how .*--scale"),
        (["raw.keras", "mixed"], "images of any size"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)
def test_what_is_wrong_is_told_in_one_line_and_nothing_is_written(words, told, colors):
    np.savez("data.npz", x=np.zeros((2, 2)), y=[0, 1])
    for name in ("blue", "grene"):
        (colors / "other" / name).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(colors / "other" / name / "1.png")
    pool = keras.layers.GlobalAveragePooling2D()
    keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Rescaling(1.0), pool, keras.layers.Dense(4)]).save(
        "four.keras"
    )
    keras.Sequential([keras.Input((None, None, 3)), pool, keras.layers.Dense(3)]).save("raw.keras")
    before = sorted(colors.rglob("*"))
    assert re.search(told, refused("evaluate", *words))
    assert sorted(colors.rglob("*")) == before


@pytest.mark.same_everywhere
def test_an_interrupt_in_the_middle_writes_nothing(colors, monkeypatch):
    def interrupted(self, inputs, batch_size):
        raise KeyboardInterrupt

    monkeypatch.setattr(Network, "predict", interrupted)
    before = sorted(colors.iterdir())
    result = difflr("evaluate", "colors.keras", "mixed", "--report", "page.html", "--json")
    assert (result.code, result.out) == (130, "")
    assert "Interrupted: nothing is written." in result.err
    assert sorted(colors.iterdir()) == before

    monkeypatch.setattr(evaluating, "labeled", lambda *words: interrupted(0, 0, 0))
    result = difflr("evaluate", "colors.keras", "mixed")
    assert result.code == 130
    assert "Interrupted: nothing was begun." in result.err


@pytest.mark.same_everywhere
def test_images_that_are_removed_meanwhile_are_named(colors, monkeypatch):
    predict = Network.predict

    def removing(self, inputs, batch_size):
        (colors / "mixed" / "red" / "2.png").unlink(missing_ok=True)
        return predict(self, inputs, batch_size)

    monkeypatch.setattr(Network, "predict", removing)
    result = difflr("evaluate", "colors.keras", "mixed", "--batch-size", "1", "--json")
    assert result.code == 1
    assert "red/2.png was there at the start, and cannot be read now: No such file" in result.err
    assert json.dumps(result.out) == '""'

"""What is measured, against plain NumPy and against cases that can be counted by hand; and what is drawn of it."""

import json

import numpy as np
import pytest

import difflr
from difflr.report.class_evaluation import interval, reliability
from difflr.report.contact_sheet import contact_sheet
from difflr.report.measured import Measured
from difflr.report.write_evaluation import write_evaluation, write_plots

pytestmark = pytest.mark.same_everywhere

NAMES = ("cat", "dog", "eel")
SCORES = np.array([[0.9, 0.1, 0], [0.6, 0.3, 0.1], [0.2, 0.8, 0], [0.95, 0.05, 0], [0.5, 0.4, 0.1], [0.1, 0.2, 0.7]])
Y = np.array([0, 0, 1, 1, 2, 2])


def softmax(values):
    powers = np.exp(values)
    return powers / powers.sum(1, keepdims=True)


def random_case(num_classes, number=300, seed=0):
    random = np.random.default_rng(seed)
    y = random.integers(0, num_classes, number)
    values = random.normal(size=(number, num_classes))
    values[np.arange(number), y] += 1
    return y, softmax(values)


def test_classes_that_can_be_counted_by_hand():
    found = difflr.evaluation(Y, SCORES, NAMES, names=[f"{number}.jpg" for number in range(6)])
    assert found.confusion.tolist() == [[2, 0, 0], [1, 1, 0], [1, 0, 1]]
    numbers = found.numbers()
    assert numbers["accuracy"] == pytest.approx(4 / 6)
    assert found.measures["precision"].tolist() == [0.5, 1, 1]
    assert found.measures["recall"].tolist() == [1, 0.5, 0.5]
    assert numbers["macro_f1"] == pytest.approx(np.mean([2 / 3, 2 / 3, 2 / 3]))
    assert numbers["log_loss"] == pytest.approx(-np.log([0.9, 0.6, 0.8, 0.05, 0.1, 0.7]).mean())
    assert found.sentence() == "Accuracy 66.7 % (4 of 6 right; 95 % interval 30 to 90 %)"
    worst, second = found.mistakes(5)
    assert (worst.name, worst.truth, worst.predicted) == ("3.jpg", "dog", "cat 95 %")
    assert (second.name, second.truth, second.predicted) == ("4.jpg", "eel", "cat 50 %")
    assert found.table()[1][1] == ["dog", "2", "100.0 %", "50.0 %", "66.7 %", "cat (1)"]


def test_wilsons_interval_is_the_published_one():
    assert interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)  # Newcombe 1998, table I
    assert interval(0, 20)[0] == 0
    assert interval(20, 20)[1] == pytest.approx(1)


@pytest.mark.parametrize("num_classes", [2, 3, 15])
def test_calibration_against_a_loop(num_classes):
    y, scores = random_case(num_classes)
    found = difflr.evaluation(y, scores, [str(number) for number in range(num_classes)])
    error, confidence, right = 0.0, scores.max(1), scores.argmax(1) == y
    for number in range(15):
        inside = (confidence > number / 15) & (confidence <= (number + 1) / 15)
        if inside.any():
            error += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert found.numbers()["calibration_error"] == pytest.approx(error)
    if num_classes > 10:
        top = np.argsort(-scores, 1)[:, :5]
        assert found.numbers()["top_5_accuracy"] == pytest.approx((top == y[:, None]).any(1).mean())


def test_a_calibrated_model_has_no_error_and_a_sure_one_all_of_it():
    random = np.random.default_rng(0)
    confidence = random.uniform(0.5, 1, 100_000)
    assert reliability(confidence, random.uniform(size=100_000) < confidence).error < 0.01
    assert reliability(np.ones(10), np.zeros(10, bool)).error == 1


def test_one_output_decides_between_two_classes():
    one = difflr.evaluation([0, 1, 1], [[0.2], [0.9], [0.4]], ("no", "yes"))
    two = difflr.evaluation([0, 1, 1], [[0.8, 0.2], [0.1, 0.9], [0.6, 0.4]], ("no", "yes"))
    assert one.numbers() == pytest.approx(two.numbers())
    assert one.numbers()["accuracy"] == pytest.approx(2 / 3)


def test_a_class_that_does_not_occur_is_no_number():
    found = difflr.evaluation([0, 0], [[0.9, 0.1, 0], [0.8, 0.1, 0.1]], NAMES)
    assert found.numbers()["macro_f1"] == 1
    data = json.loads(json.dumps(found.as_data(), allow_nan=False))
    assert data["classes"]["dog"] == {"precision": None, "recall": None, "f1": None, "examples": 0}


def test_several_labels():
    y = np.array([[1, 0], [1, 1], [0, 0], [0, 1]])
    scores = np.array([[0.9, 0.6], [0.7, 0.2], [0.1, 0.1], [0.4, 0.9]])
    found = difflr.evaluation(y, scores, ("sea", "sun"))
    assert found.numbers()["micro_f1"] == pytest.approx(2 * 3 / (4 + 4))
    assert found.measures["f1"].tolist() == [1, 0.5]
    assert found.numbers()["all_right"] == 0.5
    worst = found.mistakes(1)[0]
    assert (worst.position, worst.truth, worst.predicted) == (1, "sea, sun", "sea")
    assert json.loads(json.dumps(found.as_data(), allow_nan=False))["labels"]["sun"]["examples"] == 2


def test_numbers():
    random = np.random.default_rng(0)
    y = random.normal(3, 2, 50)
    scores = y + random.normal(0, 0.5, 50)
    found = difflr.evaluation(y, scores[:, None])
    errors = scores - y
    assert found.numbers() == pytest.approx(
        {
            "mae": np.abs(errors).mean(),
            "rmse": np.sqrt((errors**2).mean()),
            "r2": 1 - (errors**2).sum() / ((y - y.mean()) ** 2).sum(),
        }
    )
    assert found.mistakes(1)[0].position == np.abs(errors).argmax()
    assert np.isnan(difflr.evaluation([2.0, 2.0], [[1.0], [3.0]]).numbers()["r2"])  # what does not vary has none


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], []), "one length, above 0. Received: 0 answers"),
        (([0, 1], [[0.5, 0.5]], NAMES[:2]), "2 answers and 1 predictions"),
        (([0], [[0.5, 0.5]], NAMES), r"a column for each of 3 names. Received: shape \(1, 2\)"),
        (([0], [[4.0, -3.0]], NAMES[:2]), "must be probabilities.*Received: -3 to 4.*softmax"),
        (([2], [[0.5, 0.5]], NAMES[:2]), "whole numbers from 0 to 1"),
        (([[0, 2]], [[0.5, 0.5]], NAMES[:2]), "are 0 and 1"),
        (([0], [[float("nan"), 0.5]], NAMES[:2]), "NaN or infinite values, 1 of 2"),
        (([0.5], [[1.0, 2.0]]), r"one shape. Received: \(1, 1\) and \(1, 2\)"),
    ],
)
def test_what_does_not_fit_is_told(arguments, message):
    with pytest.raises(ValueError, match=message):
        difflr.evaluation(*arguments)


CASES = {
    "two": (*random_case(2, 40), ("no", "yes")),
    "many": (*random_case(23, 200), tuple(f"a long name of class {number}" for number in range(23))),
    "no mistake": (np.array([0, 1]), np.array([[1.0, 0], [0, 1]]), ("<b>", "$_\\frac{")),
    "labels": (np.array([[1, 0], [0, 0]]), np.array([[0.9, 0.6], [0.7, 0.2]]), ("sea", "sun")),
    "amounts": (np.array([[1.0, 2], [2, 2], [4, 2]]), np.array([[1.5, 2], [2, 2], [3, 1]]), ()),
}


@pytest.mark.parametrize("case", CASES)
def test_pages_and_images_of_every_kind(case, tmp_path):
    pytest.importorskip("matplotlib")
    pytest.importorskip("jinja2")
    y, scores, names = CASES[case]
    images = np.random.default_rng(0).integers(0, 256, (len(y), 6, 5, 1 if case == "two" else 3))
    found = difflr.evaluation(y, scores, names, show=lambda position: images[position])
    assert isinstance(found, Measured)
    page = write_evaluation(tmp_path / "page.html", found, title="<i>x</i>", command="difflr evaluate & more")
    text = page.read_text()
    assert "&lt;i&gt;x&lt;/i&gt;" in text
    assert "difflr evaluate &amp; more" in text
    assert text.count("data:image/jpeg;base64,") == len(found.mistakes(24))
    if case == "no mistake":
        assert "<b>" not in text.split("<body>")[1].replace("<figcaption><b>", "")
    files = write_plots(tmp_path, found)
    assert len(files) == len(found.plots()) + bool(found.mistakes(1))
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in files)


def test_texts_are_shown_as_texts(tmp_path):
    pytest.importorskip("jinja2")
    texts = ["<script>a film</script>", "b" * 1000, "c"]
    found = difflr.evaluation([0, 0, 1], [[0.1, 0.9], [0.2, 0.8], [0.1, 0.9]], ("bad", "good"), show=texts.__getitem__)
    text = write_evaluation(tmp_path / "page.html", found, title="Films").read_text()
    assert "<blockquote>&lt;script&gt;a film&lt;/script&gt;</blockquote>" in text
    assert f"<blockquote>{'b' * 400}…</blockquote>" in text
    assert contact_sheet(found) is None

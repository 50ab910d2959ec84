"""`difflr fine-tune`: what it trains, what it writes, and how it goes on after an interrupt."""

import dataclasses
import json
import re

import keras
import numpy as np
import pytest

import difflr as library
from cli.commands import difflr, refused, succeeded
from difflr_command import checkpoint, progress, sources, trackers
from difflr_command.settings import Settings

pytestmark = pytest.mark.usefixtures("quick_compilation")

QUICK = ["--epochs", "2", "--batch-size", "4", "--learning-rate", "0.05"]


def weights(file):
    return keras.saving.load_model(file).get_weights()


def predictions(file, x):
    return keras.saving.load_model(file).predict(x, verbose=0)


@pytest.fixture
def interrupt(monkeypatch):
    """Ctrl-C in the middle of the third epoch."""

    def on_train_batch_end(self, batch, logs=None):
        if self.epoch == 2 and batch == 1:
            raise KeyboardInterrupt

    def begin():
        monkeypatch.setattr(progress.ShowProgress, "on_train_batch_end", on_train_batch_end)

    return begin


@pytest.mark.same_everywhere
def test_images_with_a_new_head(here):
    words = ["fine-tune", "bare.keras", "images", "--new-head", *QUICK, "--epochs", "1", "-o", "new.keras"]
    result = succeeded(*words)
    assert result["classes"] == ["blue", "green", "red"]
    assert (result["num_train"], result["num_validation"]) == (15, 3)
    assert result["skipped"] == [["red/damaged.png", "no image, or damaged"]]
    assert result["freeze_epochs"] == 1
    assert len(result["history"]["loss"]) == len(result["history"]["val_accuracy"]) == 2
    before, after = keras.saving.load_model("bare.keras"), keras.saving.load_model("new.keras")
    assert after.get_layer("head").units == 3
    moved = {
        layer.name: float(np.abs(layer.get_weights()[0] - after.get_layer(layer.name).get_weights()[0]).max())
        for layer in before.layers
        if layer.weights
    }
    assert 0 < moved["stem"] < moved["top"]
    multipliers = {row["path"]: row["multiplier"] for row in result["plan"]["rows"]}
    assert multipliers["stem/kernel"] == pytest.approx(0.75**2)  # three groups, each 0.75 of the next
    assert multipliers["head/kernel"] == 1
    assert {path.name for path in here.iterdir()} == {"bare.keras", "net.keras", "new.keras", "images"}
    assert after.compiled  # for evaluate, and by stock Keras: it loads where difflr is not
    assert "difflr" not in json.dumps([after.get_config(), after.get_compile_config()])


@pytest.mark.same_everywhere
def test_an_interrupted_run_goes_on_as_if_it_had_not_been(here, interrupt):
    x = np.random.default_rng(0).uniform(0, 255, (12, 6)).astype("float32")
    np.savez("data.npz", x=x, y=np.arange(12) % 2)
    dense = [keras.layers.Dense(4, name="stem"), keras.layers.Dropout(0.3), keras.layers.Dense(2, name="head")]
    keras.Sequential([keras.Input((6,)), keras.layers.Rescaling(1 / 255), *dense]).save("dense.keras")
    quick = ["--epochs", "3", "--freeze-epochs", "0", "--batch-size", "4", "--validation-split", "0"]
    words = ["fine-tune", "dense.keras", "data.npz", *quick, "--rule", "stem=0.5", "--seed", "3"]
    unbroken = succeeded(*words, "-o", "unbroken.keras")
    interrupt()
    broken = difflr(*words, "-o", "tuned.keras")
    assert broken.code == 130
    assert "Interrupted after 2 of 3 epochs" in broken.err
    assert not (here / "tuned.keras").exists()
    command = next(line for line in broken.err.splitlines() if line.endswith("--resume")).split()
    backend = keras.backend.backend()
    rest = "--rule stem=0.5 --epochs 3 --batch-size 4 --seed 3 --freeze-epochs 0 --validation-split 0.0 --resume"
    assert command == f"difflr --backend {backend} fine-tune dense.keras data.npz {rest}".split()

    assert "interrupted run, 2 epochs of it. Resume it with --resume" in refused(*words)
    assert "--seed was 3, now 4" in refused(*words, "--seed", "4", "--resume")

    progress.ShowProgress.on_train_batch_end = lambda self, batch, logs=None: None
    resumed = succeeded(*command[1:])
    assert resumed["history"] == unbroken["history"]
    for one, other in zip(weights("unbroken.keras"), weights("tuned.keras"), strict=True):
        np.testing.assert_array_equal(one, other)
    assert not (here / "tuned.keras.checkpoint").exists()


@pytest.mark.same_everywhere
def test_an_interrupt_before_the_first_epoch_is_over_leaves_nothing(here, monkeypatch):
    def interrupted(self, epoch, logs=None):
        raise KeyboardInterrupt

    monkeypatch.setattr(progress.ShowProgress, "on_epoch_begin", interrupted)
    before = sorted(here.iterdir())
    result = difflr("fine-tune", "net.keras", "images")
    assert result.code == 130
    assert "nothing is kept" in result.err
    assert sorted(here.iterdir()) == before
    assert "There is nothing to resume" in refused("fine-tune", "net.keras", "images", "--resume")


@pytest.mark.same_everywhere
def test_an_epoch_counts_as_kept_when_it_is_on_the_disk(here, monkeypatch):
    """A full disk in the first epoch leaves nothing, and in the second the first."""

    def full(path, content):
        if "epoch-2" in str(path):
            raise OSError(28, "No space left on device")
        return write(path, content)

    write = checkpoint.write_whole
    words = ["fine-tune", "net.keras", "images", "--epochs", "2", "--freeze-epochs", "0"]
    monkeypatch.setattr(checkpoint, "write_whole", full)
    result = difflr(*words)
    assert result.code == 1
    assert "1 of 2 epochs is kept in tuned.keras.checkpoint" in result.err
    assert "No space left on device" in result.err
    assert sorted(path.name for path in (here / "tuned.keras.checkpoint").iterdir()) == [
        "best-1.npz",
        "epoch-1.weights.h5",
        "run.json",
    ]
    assert "keeps an interrupted run, 1 epoch of it" in refused(*words)
    monkeypatch.setattr(checkpoint, "write_whole", write)
    assert len(succeeded(*words, "--resume")["history"]["loss"]) == 2

    monkeypatch.setattr(checkpoint, "write_whole", lambda path, content: full("epoch-2", content))
    result = difflr(*words, "-o", "other.keras")
    assert result.code == 1
    assert "kept" not in result.err
    assert not (here / "other.keras.checkpoint").exists()


@pytest.mark.same_everywhere
def test_the_model_is_written_before_the_report(here, monkeypatch):
    def failing(*arguments, **named):
        raise ValueError("Axis limits cannot be NaN or Inf")

    words = ["fine-tune", "net.keras", "images", "--epochs", "1", "--freeze-epochs", "0", "--report", "report.html"]
    monkeypatch.setattr(library, "write_report", failing)
    result = difflr(*words)
    assert result.code == 1
    assert "the tuned model is written to tuned.keras; only the report is not" in result.err
    tuned = weights("tuned.keras")
    assert not np.array_equal(tuned[0], weights("net.keras")[0])
    written = []
    monkeypatch.setattr(library, "write_report", lambda page, *arguments, **named: written.append(str(page)))
    succeeded(*words, "--resume")  # nothing is trained again
    assert written == ["report.html"]
    for one, other in zip(tuned, weights("tuned.keras"), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.same_everywhere  # tests/models/test_with_scale.py is about the backends
@pytest.mark.parametrize("scale", ["0..1", "-1..1", "imagenet", "caffe"])
def test_the_saved_model_takes_images_as_they_are(scale, here):
    """What it says of 0..255 is what was measured while training."""
    keras.utils.set_random_seed(7)
    layers = [keras.layers.Conv2D(4, 3, name="stem"), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3)]
    keras.Sequential([keras.Input((None, None, 3)), *layers]).save("raw.keras")
    size = ["--size", "9x8", "--validation", "images"]
    result = succeeded("fine-tune", "raw.keras", "images", "--scale", scale, *size, *QUICK, "--epochs", "1")
    tuned = keras.saving.load_model("tuned.keras")
    examples = library.data.read_folder("images", (9, 8))
    right = tuned.predict(examples.x.astype("float32"), verbose=0).argmax(1) == examples.y
    assert right.mean() == pytest.approx(result["history"]["val_accuracy"][-1])
    assert library.data.has_own_scale(tuned)
    info = library.models.read_info(here / "tuned.keras")
    assert info == library.models.ModelInfo(("blue", "green", "red"), "classes", "images", (9, 8), 3)
    plan = library.Plan(tuned)  # plans of the one fit the other
    assert [row.path for row in plan.rows] == [
        row.path for row in library.Plan(keras.saving.load_model("raw.keras")).rows
    ]


@pytest.mark.same_everywhere
@pytest.mark.parametrize("freeze_epochs", [0, 1])
def test_the_rates_shown_are_those_trained_with(freeze_epochs, here, monkeypatch):
    rates = []

    def on_train_batch_begin(self, batch, logs=None):
        optimizer = self.model.optimizer
        row = next(row for row in library.plan_of(self.model).rows if row.path == "head/kernel")
        factor = row.multiplier * keras.ops.convert_to_numpy(row.schedule(optimizer.iterations - row.schedule_start))
        rates.append((self.epoch, float(factor * keras.ops.convert_to_numpy(optimizer.learning_rate))))

    monkeypatch.setattr(progress.ShowProgress, "on_train_batch_begin", on_train_batch_begin, raising=False)
    result = difflr("fine-tune", "net.keras", "images", *QUICK, "--freeze-epochs", freeze_epochs)
    assert result.code == 0
    alone, together = ([rate for epoch, rate in rates if (epoch < freeze_epochs) == head] for head in (True, False))
    shown = float(re.search(r"rates above, ([\d.e-]+) times the multiplier", result.out)[1])
    assert shown == pytest.approx(max(together), rel=1e-2)
    multiplier, rate = re.search(r"stem +[\d,]+ +([\d.e-]+) +([\d.e-]+)", result.out).groups()
    assert float(rate) == pytest.approx(float(multiplier) * shown, rel=1e-2)
    if freeze_epochs:
        head = float(re.search(r"Epoch 1: the head alone, up to ([\d.e-]+)\.", result.out)[1])
        assert head == pytest.approx(max(alone), rel=1e-2)


@pytest.mark.same_everywhere
def test_a_failure_in_training_is_exit_code_1(here, monkeypatch):
    def failing(self, epoch, logs=None):
        self.epoch = epoch
        raise MemoryError("no memory is left")

    monkeypatch.setattr(progress.ShowProgress, "on_epoch_begin", failing)
    result = difflr("fine-tune", "net.keras", "images", "--json")
    assert (result.code, result.out) == (1, "")
    assert result.err.splitlines()[-1] == "difflr: error: MemoryError: no memory is left"


@pytest.mark.same_everywhere
def test_arrays_with_a_plan_that_freezes_the_body(here):
    x = np.random.default_rng(0).uniform(0, 255, (12, 8, 8, 3)).astype("float32")
    np.savez("data.npz", x=x[:8], y=np.arange(8) % 2, x_val=x[8:], y_val=np.arange(4) % 2)
    assert difflr("plan", "net.keras", "--rule", "stem=frozen", "--rule", "top=frozen", "-o", "plan.json").code == 0
    result = difflr("fine-tune", "net.keras", "data.npz", "--plan", "plan.json", *QUICK, "--epochs", "1")
    assert result.code == 0, result.err
    assert "2 classes, 8 arrays to train on, 4 to validate on" in result.out
    assert "classes 0: 4 + 2, 1: 4 + 2 (to train on + to validate on)" in result.out
    assert re.search(r"^1/1 +plan ", result.out, re.MULTILINE)  # no epoch for the head alone
    assert re.search(r"Validation accuracy: [\d.]+ % \([0-4] of 4 right\)\.\nWritten: tuned\.keras", result.out)
    before, after = weights("net.keras"), weights("tuned.keras")
    assert [np.array_equal(*each) for each in zip(before, after, strict=True)] == [True] * 4 + [False] * 2


def test_texts(here):
    pytest.importorskip("tensorflow", reason="TextVectorization needs it on every backend")
    words = keras.layers.TextVectorization(output_sequence_length=4, name="words")
    words.adapt(["good film", "bad film"])
    inputs = keras.Input((), dtype="string")
    x = keras.layers.GlobalAveragePooling1D()(keras.layers.Embedding(10, 4, name="embedding")(words(inputs)))
    keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid", name="head")(x)).save("words.keras")
    lines = ["opinion;review", *["good;a good film", "None;a bad film"] * 6]
    (here / "films.csv").write_text("\n".join(lines))
    columns = ["--text-column", "review", "--label-column", "opinion"]
    rates = [
        "--recipe",
        "none",
        "--rule",
        "**=2",
        "--freeze-epochs",
        "0",
        "--epochs",
        "6",
        "--batch-size",
        "2",
        "--learning-rate",
        "0.5",
    ]
    result = succeeded("fine-tune", "words.keras", "films.csv", *columns, *rates)
    assert result["classes"] == ["None", "good"]
    assert result["history"]["val_accuracy"][-1] == 1
    assert not np.array_equal(weights("words.keras")[-3], weights("tuned.keras")[-3])
    tuned = keras.saving.load_model("tuned.keras")
    assert tuned.get_layer("words")(np.array(["a good film"])).shape == (1, 4)


@pytest.mark.same_everywhere
def test_texts_of_any_length_stay_as_long_as_they_are(here):
    """The layer pads to the longest text it sees: here one is 500 times longer than the others."""
    pytest.importorskip("tensorflow", reason="TextVectorization needs it on every backend")
    words = keras.layers.TextVectorization(name="words")
    words.adapt(["good bad film"])
    inputs = keras.Input((), dtype="string")
    x = keras.layers.Embedding(10, 4, mask_zero=True, name="embedding")(words(inputs))
    x = keras.layers.GlobalAveragePooling1D()(x)
    keras.Model(inputs, keras.layers.Dense(2, activation="softmax", name="head")(x)).save("words.keras")
    texts = ["a good film,good", "a bad film,bad"] * 60 + [f"{'film ' * 1500},good"]
    (here / "films.csv").write_text("\n".join(["text,label", *texts]))
    model = keras.saving.load_model("words.keras")
    source = sources.source(Settings(here / "words.keras", here / "films.csv"), model)
    trained, _ = source.fitted(model)
    data = source.read(lambda done, total: None)
    assert sum(map(len, data.train.x)) == 120 * 3 + 1500
    assert data.prepare(data.train.x[:8]).shape == (8, 16)
    assert data.prepare(data.train.x[-8:]).shape == (8, 2048)
    assert trained.predict(data.prepare(data.train.x[:4]), verbose=0).shape == (4, 2)
    assert data.fingerprint() != dataclasses.replace(data, train=data.train.take(range(120, -1, -1))).fingerprint()


WRONG = [
    (["nowhere.keras", "images"], "no model file nowhere.keras"),
    (["net.keras", "nowhere"], "no data at nowhere"),
    (["net.keras", "net.keras"], "Data is a folder .* Received: net.keras"),
    (["bare.keras", "images"], r"puts out \(None, 4, 4, 4\), not a number for each class.*--new-head"),
    (["net.keras", "two"], "tells 3 classes apart, and the data has 2.*--new-head"),
    (["net.keras", "images", "--features", "top"], "give --new-head too"),
    (["net.keras", "images", "--new-head", "--features", "tpo"], "no layer 'tpo'. Did you mean 'top'"),
    (["net.keras", "images", "--rule", "stm=2"], "Did you mean 'stem'"),
    (["net.keras", "images", "--scale", "0..1"], "scales its images itself.*leave out --scale"),
    (["net.keras", "images", "--size", "9"], "takes images of 8 x 8 pixels: leave out --size"),
    (["net.keras", "images", "--validation", "nowhere"], "no validation data at nowhere"),
    (["net.keras", "images", "--validation", "images", "--validation-split", "0.3"], "from DATA: leave out one"),
    (["net.keras", "images", "--report", "one.keras", "-o", "one.keras"], "the same file: one.keras"),
    (["net.keras", "text.csv", "--report", "text.csv"], "report text.csv would replace what is read"),
    (["net.keras", "images", "--log", ""], "--log knows tensorboard"),
    (["net.keras", "text.csv", "--label-column", ","], "is a name, or several"),
    (["net.keras", "text.csv", "--label-column", "label,label"], "is a name, or several"),
    (
        ["net.keras", "text.csv", "--file-column", "text", "--label-column", "text"],
        "The column 'text' of text.csv holds paths of images, and cannot be the labels",
    ),
    (["net.keras", "images", "--seed", str(2**32)], "less than or equal to 4294967295"),
    (["net.keras", "images", "--recipe", "none:1"], "'none' takes no arguments"),
    (
        ["net.keras", "images", "--rule", "stem:decay=0", "--rule", "stem=frozen"],
        "has no effect.*use --rule TARGET=trainable after it",
    ),
    (["net.keras", "images", "--validation", "data.npz"], "must be of the form of the data"),
    (["net.keras", "images", "--learning-rate", "0"], "--learning-rate must be above 0"),
    (["net.keras", "images", "-o", "tuned.h5"], "a .keras file"),
    (["net.keras", "images", "-o", "nowhere/tuned.keras"], "there is no folder"),
    (["net.keras", "images", "--report", "nowhere/report.html"], "report nowhere/report.html cannot be written"),
    (["net.keras", "images", "--rule", "stem=frozen", "--rule", "top=frozen", "--freeze-epochs", "1"], "nothing but"),
    (
        ["raw.keras", "images"],
        "Cannot tell how .* scaled: it begins with no Rescaling.*--scale 0..1 .*-1..1 for MobileNet",
    ),
    (["raw.keras", "images", "--scale", "0..1"], "images of any size.*--size 160"),
    (["net.keras", "images", "--targets", "labels"], "--targets is for tables and .npz files"),
    (["net.keras", "images", "--text-column", "words"], "--text-column is for tables"),
    (["net.keras", "images", "--plan", "nowhere.json"], "no plan nowhere.json"),
    (["raw.keras", "data.npz", "--scale", "0..1"], "--scale is for images"),
    (["net.keras", "data.npz"], r"inputs of shape \(None, 8, 8, 3\), and x of data.npz holds \(None, 5, 5, 3\)"),
    (
        ["net.keras", "floats.npz"],
        "1 number to predict, and the model puts .* softmax.*--new-head.*--targets labels",
    ),
    (["one.keras", "gap.npz", "--targets", "labels"], "puts out one number.* 4 classes.*--targets numbers"),
    (
        ["net.keras", "text.csv"],
        "no column 'file'.* paths of images.* are: text, label.*--file-column. A table of texts needs a model that",
    ),
    (["one.keras", "text.csv"], "takes no texts: it has no TextVectorization layer"),
    (
        ["net.keras", "text.csv", "--text-column", "text"],
        "--text-column is for tables of texts, and the model takes imag",
    ),
]


@pytest.fixture(scope="module")
def wrong(folder):
    """More files, to go wrong with."""
    raw = keras.Sequential(
        [keras.Input((None, None, 3)), keras.layers.Conv2D(4, 3), keras.layers.GlobalAveragePooling2D()]
    )
    raw.add(keras.layers.Dense(3, activation="softmax"))
    raw.save(folder / "raw.keras")
    (folder / "two").mkdir()
    for name in ("red", "green"):
        (folder / "two" / name).symlink_to(folder / "images" / name)
    np.savez(folder / "data.npz", x=np.zeros((4, 5, 5, 3)), y=[0, 1, 2, 0])
    np.savez(folder / "floats.npz", x=np.zeros((4, 8, 8, 3)), y=[0.5, 1, 2, 0])
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(folder / "one.keras")
    np.savez(folder / "gap.npz", x=np.zeros((4, 2)), y=[0, 3, 1, 0])
    (folder / "text.csv").write_text("text,label\na,b\nc,d\n")


@pytest.mark.same_everywhere
@pytest.mark.parametrize(("words", "told"), WRONG, ids=lambda each: " ".join(each) if isinstance(each, list) else "")
def test_what_is_wrong_is_told_in_one_line_and_nothing_is_written(words, told, wrong, here):
    before = sorted(here.iterdir())
    assert re.search(told, refused("fine-tune", *words))
    assert sorted(here.iterdir()) == before


@pytest.mark.same_everywhere
def test_the_report_shows_mistakes_data_rates_and_how_to_make_it_again(here):
    pytest.importorskip("matplotlib")
    words = ["fine-tune", "net.keras", "images", *QUICK, "--report"]
    assert difflr(*words, "one.html").code == 0
    result = difflr(*words, "two.html", "--seed", "1", "--compare", "one.html", "-o", "two.keras")
    assert result.code == 0, result
    page = (here / "two.html").read_text()
    mistakes = succeeded("evaluate", "two.keras", "images")["mistakes"]
    shown = re.findall(r"predicted <span.*?<br>(.*?)</figcaption>", page)
    assert set(shown) <= {mistake["name"] for mistake in mistakes}
    assert page.index("What it gets wrong") < page.index("<h2>Results")
    assert "Learning rate of each layer at each step" in page
    assert "The rates at each step are not drawn" not in page
    assert "red/damaged.png" in page
    assert page.count('alt="" loading="lazy"') == 24  # images as they are augmented
    assert "2: net on images: the same multipliers." in page
    record = library.read_report("two.html")
    assert record["settings"]["optimizer"] == "AdamW"
    assert record["history"]["phase"] == [1, 2, 2]
    command = re.search(r"<pre>difflr (.*?)</pre>", page)[1].split()
    assert difflr(*command).code == 0
    again = library.read_report("two.html")
    assert again["history"] == record["history"]


@pytest.mark.same_everywhere
def test_a_run_is_logged_where_it_is_asked_for(here, monkeypatch):
    logged, ended = [], []

    class Tracker:
        id = "7"

        def __init__(self, title, settings, run_id):
            assert (title, settings["epochs"], run_id) == ("net on images", "2", None)

        def log(self, logs, epoch):
            logged.append((epoch, logs["val_loss"], logs["learning_rate/head/kernel"]))

        def end(self, failed, files):
            ended.append((failed, [file.name for file in files]))

    monkeypatch.setattr(trackers, "KINDS", {"mlflow": Tracker})
    monkeypatch.setattr(trackers, "PACKAGES", {"mlflow": ()})
    result = succeeded("fine-tune", "net.keras", "images", *QUICK, "--log", "mlflow")
    assert [epoch for epoch, *_ in logged] == [1, 2, 3]
    assert [loss for _, loss, _ in logged] == pytest.approx(result["history"]["val_loss"])
    assert ended == [(False, ["tuned.keras"])]


@pytest.mark.same_everywhere
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--log", "tensorbord"], "--log knows tensorboard, mlflow, wandb"),
        (["--compare", "one.html"], "give --report too"),
        (["--report", "page.html", "--compare", "gone.html"], "no report gone.html"),
        (["--report", "page.html", "--compare", "net.keras"], "net.keras' is no report of difflr"),
    ],
)
def test_reports_and_logs_that_cannot_be_are_told_before_anything(words, told, here):
    assert told in refused("fine-tune", "net.keras", "images", *words)


@pytest.mark.same_everywhere
def test_an_interrupt_while_the_report_is_written_costs_the_report_alone(here, monkeypatch):
    def interrupted(*arguments, **named):
        raise KeyboardInterrupt

    words = ["fine-tune", "net.keras", "images", *QUICK, "--report", "page.html"]
    with monkeypatch.context() as patch:
        patch.setattr(library, "write_report", interrupted)
        result = difflr(*words)
    assert result.code == 130
    assert "Interrupted: tuned.keras is written; only the report is not; --resume writes it." in result.err
    assert (here / "tuned.keras").exists()
    assert not (here / "page.html").exists()
    assert difflr(*words, "--resume").code == 0
    assert (here / "page.html").exists()

"""A report is one file that loads nothing, whatever the names in it, and that a later report can compare with."""

import html.parser
import json
import re
import shutil
import subprocess

import keras
import numpy as np
import pytest

import difflr

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")

pytestmark = pytest.mark.same_everywhere  # what a run did is tested by effect in test_what_happened.py


class Loads(html.parser.HTMLParser):
    """What a browser would fetch or run, and the text it would show."""

    def __init__(self):
        super().__init__()
        self.loads, self.handlers, self.scripts, self.text, self.ids = [], [], [], [], []
        self._skip = False

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name in ("src", "href", "xlink:href", "data", "action", "srcset", "poster"):
                self.loads.append((tag, value))
            if name == "id":
                self.ids.append(value)
            self.handlers += [name] if name.startswith("on") else []
            self.loads += [(tag, url) for url in re.findall(r"url\(([^)]*)\)", value or "")]
        if tag == "script":
            self.scripts.append(dict(attrs))
        self._skip = tag in ("script", "style")

    def handle_endtag(self, tag):
        self._skip = False

    def handle_data(self, data):
        self.text += [] if self._skip else [data]


def parsed(path):
    page = Loads()
    page.feed(path.read_text())
    return page


@pytest.fixture(scope="module")
def reports(run, hostile_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("reports")
    first = difflr.write_report(folder / "first.html", run.model, run.history, phases=run.phases, title="First")
    second = difflr.write_report(
        folder / "second.html",
        hostile_run.model,
        hostile_run.history,
        phases=hostile_run.phases,
        title="</title></script><script>alert(2)</script>",
        notes="<b>bold</b> & {{ 7 * 7 }}",
        settings={"<i>data</i>": "</script><script>alert(3)</script>", "seed": 3},
        earlier=[first],
    )
    return first, second


@pytest.mark.parametrize("number", [0, 1])
def test_nothing_is_loaded_and_nothing_runs(reports, number):
    page = parsed(reports[number])
    assert page.loads
    assert all(value.startswith(("#", "data:image/png;base64,")) for _, value in page.loads)
    assert not page.handlers
    assert page.scripts == [{"type": "application/json", "id": "difflr-run"}]
    assert 'http-equiv="Content-Security-Policy" content="default-src \'none\';' in reports[number].read_text()
    assert len(page.ids) == len(set(page.ids))
    assert reports[number].stat().st_size < 400_000


def test_hostile_names_are_shown_as_they_are(reports):
    text = "".join(parsed(reports[1]).text)
    assert "</title></script><script>alert(2)</script>" in text
    assert "<b>bold</b> & {{ 7 * 7 }}" in text
    assert "backbone/<script" in text
    assert "模型😀&amp;" in text
    assert "<i>data</i>" in text


def test_the_page_says_what_happened(reports, run):
    text = " ".join("".join(parsed(reports[0]).text).split())
    for line in ("First", "rule 1: 'backbone'", "kind:head", "2 epochs", "SGD", "WarmupCosine(peak_learning_rate=0.01"):
        assert line in text
    assert f"{run.history.history['val_loss'][-1]:.4g}" in text
    for picture in (
        "Multiplier of each layer",
        "Learning rate of each layer at each step",
        "Who is trainable",
        "Update to weight ratio of each group",
    ):
        assert picture in text


def test_it_is_read_back(reports, run):
    record = difflr.read_report(reports[0])
    assert record["title"] == "First"
    np.testing.assert_allclose(record["history"]["loss"], run.history.history["loss"], rtol=1e-5)
    assert record["plan"]["backbone/stem/kernel"] == 0
    assert record["plan"]["backbone/block1/kernel"] == 0.1
    assert record["settings"]["optimizer"] == "SGD"
    assert record["versions"][keras.backend.backend()]
    assert difflr.read_report(reports[1])["title"] == "</title></script><script>alert(2)</script>"


def test_earlier_runs_stand_beside_it(reports, run, tmp_path):
    saved = tmp_path / "record.json"
    saved.write_text(json.dumps(difflr.read_report(reports[0]) | {"title": "From JSON"}))
    again = difflr.read_report(reports[0]) | {"title": "Faster"}
    again["settings"] = again["settings"] | {"weight_decay": 0.5}
    again["plan"] = again["plan"] | {"head/kernel": 0.25}
    path = difflr.write_report(
        tmp_path / "new.html", run.plan, run.history.history, settings={"momentum": 0}, earlier=[saved, again]
    )
    text = " ".join("".join(parsed(path).text).split())
    assert "2: From JSON: the same multipliers." in text
    assert "3: Faster: another multiplier for 1 of 8 variables (head/kernel: 0.25, now 1)." in text
    assert re.search("weight_decay *- *- *0.5", text)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("<html><body>Something else</body></html>", "does not hold the data of a run"),
        ('<script type="application/json" id="difflr-run">{"format": "difflr run 1"</script>', "cannot be read"),
        ('{"format": "difflr run 99"}', "expected the format 'difflr run 1'"),
        ('{"format": "difflr run 1"}', "no valid 'title'"),
        ("[" * 100_000, "does not hold"),
        ("", "does not hold"),
        (b"\xff\xfe\x00", "is no report of difflr"),
    ],
)
def test_what_is_no_report_is_refused_and_nothing_is_written(run, tmp_path, content, reason):
    other = tmp_path / "other.html"
    other.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=reason) as caught:
        difflr.write_report(tmp_path / "new.html", run.model, run.history, earlier=[other])
    assert "other.html" in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["other.html"]


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("history", {"loss": ["<b>"]}),
        ("history", {"loss": [1.0]}),
        ("epochs", []),
        ("epochs", [None]),
        ("plan", {"head": "x"}),
        ("model", {"trained": "many"}),
        ("settings", {"a": []}),
        ("phases", [[1]]),
        ("title", 3),
    ],
)
def test_damaged_records_are_refused(reports, run, tmp_path, part, value):
    record = difflr.read_report(reports[0]) | {part: value}
    with pytest.raises(ValueError, match=f"'{part}'"):
        difflr.write_report(tmp_path / "new.html", run.plan, {"loss": [1.0]}, earlier=[record])
    assert not list(tmp_path.iterdir())


def test_a_plan_and_a_dict_are_enough(run, tmp_path):
    path = difflr.write_report(tmp_path / "run.html", run.plan, {"loss": [0.9, np.nan]}, phases=run.phases)
    text = "".join(parsed(path).text)
    assert "difflr.GroupLogger()" in text
    assert difflr.read_report(path)["history"]["loss"] == [0.9, None]


def test_wrong_arguments_are_told(run, tmp_path):
    path = tmp_path / "run.html"
    with pytest.raises(TypeError, match="`plan` must be a difflr.Plan or a built model"):
        difflr.write_report(path, "model", {"loss": [1.0]})
    with pytest.raises(ValueError, match="The history is empty"):
        difflr.write_report(path, run.plan, {})
    with pytest.raises(TypeError, match="`earlier` must be a list"):
        difflr.write_report(path, run.plan, {"loss": [1.0]}, earlier=3)
    with pytest.raises(FileNotFoundError, match=r"no report .*gone\.html"):
        difflr.write_report(path, run.plan, {"loss": [1.0]}, earlier=["gone.html"])
    with pytest.raises(FileNotFoundError, match="no folder"):
        difflr.write_report(tmp_path / "gone" / "run.html", run.plan, {"loss": [1.0]})
    assert not list(tmp_path.iterdir())


def test_without_jinja_the_extra_is_named(run, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "jinja2", None)
    with pytest.raises(ImportError, match=r"difflr\[report\]"):
        difflr.write_report(tmp_path / "run.html", run.plan, {"loss": [1.0]})


def test_200_layers_stay_small(plan_of_200_layers, tmp_path):
    rng = np.random.default_rng(0)
    groups = [f"encoder/block{number}_*" for number in range(200)]
    log = {
        f"{measure}/{group}": list(rng.uniform(1e-6, 1e-3, 30))
        for measure in ("learning_rate", "update_ratio", "gradient_norm")
        for group in groups
    }
    path = difflr.write_report(tmp_path / "run.html", plan_of_200_layers, {"loss": list(rng.normal(size=30)), **log})
    assert path.stat().st_size < 1_000_000


def test_the_same_run_gives_the_same_file(run, tmp_path):
    files = [difflr.write_report(tmp_path / name, run.plan, {"loss": [0.9]}, phases=run.phases) for name in "ab"]
    one, two = (re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", "then", file.read_text()) for file in files)
    assert one == two


@pytest.mark.skipif(not shutil.which("chromium"), reason="needs the browser chromium")
def test_a_browser_without_network_shows_it(reports, tmp_path):
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    command += ["--proxy-server=127.0.0.1:9", "--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr"]
    done = subprocess.run(
        [*command, "--dump-dom", f"file://{reports[1]}"], capture_output=True, text=True, timeout=120, check=True
    )
    page = Loads()
    page.feed(done.stdout)
    assert "Who is trainable in which phase" in "".join(page.text)
    assert len(page.scripts) == 1
    assert done.stdout.count("<svg") == done.stdout.count("</svg>") >= 6
    told = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert not told

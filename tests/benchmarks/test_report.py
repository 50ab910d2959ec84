import json

import pytest

from benchmarks import report, run, tables, targets

pytestmark = pytest.mark.same_everywhere


@pytest.fixture
def docs(tmp_path, device):
    (tmp_path / "measured" / "cost").mkdir(parents=True)
    (tmp_path / "measured" / "cost" / "cpu.json").write_text(json.dumps(device()))
    return tmp_path


def test_page_has_every_part_and_its_pictures_exist(docs):
    text = report.write(docs).read_text()
    assert "{{" not in text
    for title, picture, *_ in report.PARTS:
        assert f"<summary>{title}</summary>" in text
        if picture:
            assert f"images/cost-{picture}-cpu.png" in text
            assert (docs / "images" / f"cost-{picture}-cpu.png").stat().st_size > 0


def test_another_device_is_another_section_after_the_processor(docs, device):
    (docs / "measured" / "cost" / "a-card.json").write_text(json.dumps(device("A Card")))
    text = report.write(docs).read_text()
    assert text.index("## Measured on: 2 cores, CPU") < text.index("## Measured on: A Card")
    assert text.count("<summary>Step time</summary>") == 2


def test_parts_that_were_not_measured_are_left_out_and_failures_told(docs):
    only = {"device": "x", "backends": {"jax": {"failed": {"fit": "ValueError: no"}, "import_seconds": 0.1}}}
    (docs / "measured" / "cost" / "cpu.json").write_text(json.dumps(only))
    text = report.write(docs).read_text()
    assert "<summary>Step time" not in text
    assert "Not measured on JAX: fit: `ValueError: no`" in text


def test_targets_say_what_is_missed(device):
    found = {what: (most, measured) for what, most, measured in targets.all_targets(device())}
    assert found["JAX, jit: AdamW step, large, 150 groups"] == (1.02, 1.01)
    assert found["torch, eager: AdamW step, small, 150 groups"] == (0.3, 0.25)
    assert found["torch, eager: SGD step, small"] == (0.5, 0.25)
    assert found["JAX, jit: difflr / MultiOptimizer, small, 150 groups"] == (1.0, 1.01 / 2)
    text = targets.target_table(device())
    assert "| JAX: plan of 10,000 variables, s | ≤ 1 | 1.50 |" in text
    assert "| JAX: `import difflr`" not in text
    assert f" of {len(found)} targets are reached" in text


def test_a_backend_measured_alone_leaves_the_others_numbers(docs, device):
    run.keep(docs, "jax", {"gpu": None, "bandwidth": 1.0})
    held = json.loads((docs / "measured" / "cost" / "cpu.json").read_text())["backends"]
    assert held["jax"]["bandwidth"] == 1.0
    assert held["jax"]["steps"]
    assert held["torch"] == device()["backends"]["torch"]


@pytest.mark.parametrize(("seconds", "text"), [(2.0, "2 s"), (0.0123, "12.3 ms"), (4.5e-6, "4.5 µs")])
def test_duration(seconds, text):
    assert tables.duration(seconds) == text


def test_slug():
    assert report.slug("NVIDIA H100 (80 GB)") == "nvidia-h100-80-gb"

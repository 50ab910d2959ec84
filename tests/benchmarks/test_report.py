import json

import pytest

from benchmarks import report, run, targets

pytestmark = pytest.mark.same_everywhere


@pytest.fixture
def docs(tmp_path, device):
    (tmp_path / "measured" / "cost").mkdir(parents=True)
    (tmp_path / "measured" / "cost" / "cpu.json").write_text(json.dumps(device()))
    return tmp_path


def test_page_has_the_ratios_and_the_picture(docs):
    text = report.write(docs).read_text()
    assert "{{" not in text
    assert "| time or memory / stock Keras | JAX, jit | torch, eager |" in text
    assert "| step, small weights, 150 groups | 1.01 | 0.25 |" in text
    assert "| compiling, 12 groups | 1.11 |  |" in text
    assert "| `fit`, 9 of 12 blocks frozen (stock: `trainable = False`) | 1.00 | 1.00 |" in text
    assert "| peak memory, 150 groups | 1.01 | 1.01 |" in text
    assert "images/cost-steps-cpu.png" in text
    assert (docs / "images" / "cost-steps-cpu.png").stat().st_size > 0


def test_another_device_is_another_section_after_the_processor(docs, device):
    (docs / "measured" / "cost" / "a-card.json").write_text(json.dumps(device("A Card")))
    text = report.write(docs).read_text()
    assert text.index("## On 2 cores, CPU") < text.index("## On A Card")
    assert text.count("| peak memory") == 2


def test_parts_that_were_not_measured_are_left_out_and_failures_told(docs):
    only = {"device": "x", "backends": {"jax": {"failed": {"fit": "ValueError: no"}, "import_seconds": 0.1}}}
    (docs / "measured" / "cost" / "cpu.json").write_text(json.dumps(only))
    text = report.write(docs).read_text()
    assert "| step" not in text
    assert "Not measured on JAX: fit: `ValueError: no`" in text


def test_targets_say_what_is_missed(device):
    found = {what: (most, measured) for what, most, measured in targets.all_targets(device())}
    assert found["JAX, jit: AdamW step, large, 150 groups"] == (1.02, 1.01)
    assert found["torch, eager: AdamW step, small, 150 groups"] == (0.3, 0.25)
    assert found["torch, eager: SGD step, small"] == (0.5, 0.25)
    assert found["JAX, jit: difflr / MultiOptimizer, small, 150 groups"] == (1.0, 1.01 / 2)
    missed = targets.missed(device())
    assert "JAX: plan of 10,000 variables, s: 1.5, should be at most 1" in missed
    assert not any("`import difflr`" in line for line in missed)
    assert missed[-1].endswith(f" of {len(found)} targets are reached")


def test_a_backend_measured_alone_leaves_the_others_numbers(docs, device):
    run.keep(docs, "jax", {"gpu": None, "bandwidth": 1.0})
    held = json.loads((docs / "measured" / "cost" / "cpu.json").read_text())["backends"]
    assert held["jax"]["bandwidth"] == 1.0
    assert held["jax"]["steps"]
    assert held["torch"] == device()["backends"]["torch"]


def test_slug():
    assert report.slug("NVIDIA H100 (80 GB)") == "nvidia-h100-80-gb"

"""The soak's numbers: growth and slowing down are seen, warming up is not taken for them."""

import json

import keras
import pytest
from benchmarks.soak import report, worker

pytestmark = pytest.mark.same_everywhere


def lines(growth=0, slower=1):
    """An hour in which memory grows by so many bytes a minute, and the steps of the last third are so much slower."""
    return [
        {
            "epoch": minute,
            "minutes": float(minute),
            "trainable": ["head", "everything"][minute // 5 % 2],
            "first": minute % 5 == 0,
            "resident_bytes": 500 * report.MEGABYTE + (minute - 20) * growth if minute > 10 else 0,
            "step_seconds": (9 if minute % 5 == 0 else 1) * (slower if minute >= 40 else 1) / 1e3,
            "steps": 100,
            "loss": 1.0,
        }
        for minute in range(61)
    ]


def test_growth_and_slowing_down_are_seen():
    flat, grown = report.numbers(lines()), report.numbers(lines(growth=report.MEGABYTE, slower=2))
    assert flat["growth_per_hour"] == pytest.approx(0)
    assert grown["growth_per_hour"] == pytest.approx(60)
    assert flat["step_ratios"] == {"head": pytest.approx(1), "everything": pytest.approx(1)}
    assert grown["step_ratios"] == {"head": pytest.approx(2), "everything": pytest.approx(2)}
    assert flat["steps"] == 6100
    assert flat["changes"] == 12


def test_a_short_run_writes_its_page(tmp_path, monkeypatch):
    monkeypatch.setattr(worker, "EPOCHS_PER_PHASE", 2)
    monkeypatch.setattr(worker, "EXAMPLES", 96)
    folder = tmp_path / "measured" / "soak"
    folder.mkdir(parents=True)
    file = folder / f"{keras.backend.backend()}.jsonl"
    worker.main(0.01, file, least=8)
    lived = [json.loads(line)["trainable"] for line in file.read_text().splitlines()]
    assert lived == ["head", "head", "upper half", "upper half", "everything", "everything", "head", "head"]
    text = report.write(tmp_path).read_text()
    assert "| 3 |" in text
    assert (tmp_path / "images" / "soak.png").exists()

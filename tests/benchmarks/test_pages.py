"""The pages of evidence are what their numbers make of them: a field that is renamed, a line that is edited shows here."""

import json
import pathlib
import shutil

import pytest
from benchmarks.evidence import report as evidence
from benchmarks.evidence import runs as evidence_runs
from benchmarks.soak import report as soak
from benchmarks.twelve_checks import report as twelve_checks
from benchmarks.twelve_checks import runs

from benchmarks import pictures, versions
from benchmarks import report as cost

DOCS = pathlib.Path(__file__).parents[2] / "docs"

pytestmark = pytest.mark.same_everywhere


def test_the_twelve_checks(tmp_path):
    results = runs.Results(DOCS / "measured" / "twelve_checks.jsonl")
    assert twelve_checks.write(results, tmp_path).read_text() == (DOCS / "twelve_checks.md").read_text()


def test_the_comparison(tmp_path, monkeypatch):
    monkeypatch.setattr(evidence, "draw", lambda found, file: file)
    results = evidence_runs.Results(DOCS / "measured" / "evidence.jsonl")
    assert evidence.write(results, tmp_path).read_text() == (DOCS / "comparison.md").read_text()


def test_the_hour_of_training(tmp_path):
    shutil.copytree(DOCS / "measured" / "soak", tmp_path / "measured" / "soak")
    assert soak.write(tmp_path).read_text() == (DOCS / "soak.md").read_text()


def test_the_cost(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "draw", lambda device, file: file)
    shutil.copytree(DOCS / "measured" / "cost", tmp_path / "measured" / "cost")
    assert cost.write(tmp_path).read_text() == (DOCS / "cost.md").read_text()


def test_the_versions(tmp_path, monkeypatch):
    monkeypatch.setattr(versions, "DOCS", tmp_path)
    shutil.copy(DOCS / "versions.md", tmp_path)
    versions.write(json.loads((DOCS / "measured" / "versions.json").read_text()))
    assert (tmp_path / "versions.md").read_text() == (DOCS / "versions.md").read_text()

"""The pages of evidence are what their numbers make of them: a field that is renamed, a line that is edited shows here."""

import pathlib
import shutil

import pytest
from benchmarks.soak import report as soak
from benchmarks.twelve_checks import report as twelve_checks
from benchmarks.twelve_checks import runs

DOCS = pathlib.Path(__file__).parents[2] / "docs"

pytestmark = pytest.mark.same_everywhere


def test_the_twelve_checks(tmp_path):
    results = runs.Results(DOCS / "measured" / "twelve_checks.jsonl")
    assert twelve_checks.write(results, tmp_path).read_text() == (DOCS / "twelve_checks.md").read_text()


def test_the_hour_of_training(tmp_path):
    shutil.copytree(DOCS / "measured" / "soak", tmp_path / "measured" / "soak")
    assert soak.write(tmp_path).read_text() == (DOCS / "soak.md").read_text()

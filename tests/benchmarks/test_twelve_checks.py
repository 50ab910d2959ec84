"""The twelve checks: difflr passes the quick ones here, and the judge passes nothing that is wrong."""

import keras
import pytest
from benchmarks.twelve_checks import all_checks, check, freezing, report, runs, saving, speed, targets
from benchmarks.twelve_checks.check import FAILED, PASSED, REFUSED, SLOWER, Check, Outcome, ratios

import difflr

# Elsewhere than on torch what they need is compiled for seconds; `make checks` runs them all on all three.
ON_TORCH = ("backbone", "plateau", "unfreeze", "freeze", "resume", "decay")
QUICK = [
    name
    for name in runs.NAMES
    if name not in ("step", "devices") and (keras.backend.backend() == "torch" or name not in ON_TORCH)
]


def test_names_and_processes_are_those_of_the_checks():
    assert tuple(all_checks.CHECKS) == tuple(runs.NAMES)
    assert tuple(name for name, each in all_checks.CHECKS.items() if each.alone) == runs.ALONE
    assert runs.SIDES == check.SIDES
    assert all(check.PLAIN in each.ways(side) for each in all_checks.CHECKS.values() for side in check.SIDES)


@pytest.mark.parametrize("name", QUICK)
def test_difflr_passes(name):
    for _, outcome in all_checks.CHECKS[name].outcomes("difflr"):
        assert outcome.verdict == PASSED, outcome.seen


@pytest.mark.parametrize(
    ("made", "seen"),
    [
        (lambda model: keras.optimizers.SGD(1.0), "body's kernel moved 1, asked 0.1"),
        (lambda model: keras.optimizers.SGD(0.1), "head's kernel moved 0.1, asked 1"),
        (
            lambda model: difflr.optimizers.SGD(1.0, multipliers=difflr.Plan(model, {"body": 0.1})),
            "biases moved 0.55, asked 2",
        ),
    ],
)
def test_what_moves_otherwise_fails(made, seen):
    outcome = targets.overlap_trial(made)
    assert outcome.verdict == FAILED
    assert seen in outcome.seen


def test_silence_fails_and_a_warning_passes():
    assert targets.nothing_trial(lambda model: keras.optimizers.SGD(1.0)).verdict == FAILED

    def warns(model):
        import warnings

        warnings.warn("no layer bodi", stacklevel=1)
        return keras.optimizers.SGD(1.0)

    assert targets.nothing_trial(warns).verdict == PASSED


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="compiled for seconds elsewhere")
def test_a_break_in_the_momentum_fails(monkeypatch):
    monkeypatch.setattr(keras.optimizers.Adam, "load_own_variables", lambda self, store: None)
    assert saving.resume_trial(lambda model: keras.optimizers.Adam(1e-2)).verdict == FAILED


def test_momentum_is_that_of_sgd():
    """By hand: v = 0.9 v + 0.01; four steps an epoch."""
    assert freezing.momentum_moves(2)[0] == pytest.approx((0.01 + 0.019 + 0.0271 + 0.03439) / 4)


@pytest.mark.parametrize(("ratio", "verdict"), [(1.0, PASSED), (1.5, SLOWER)])
def test_slower_is_told_from_the_ratio_of_neighbors(monkeypatch, ratio, verdict):
    monkeypatch.setattr(speed, "trained_with", lambda make: None)
    monkeypatch.setattr(speed.measure, "in_turn", lambda *a, **k: ([1.0, 2.0, 3.0], [ratio, 2 * ratio, 3 * ratio]))
    outcome = speed.step_trial(lambda model: None)
    assert outcome.verdict == verdict
    assert outcome.seen.startswith(f"{ratio:.2f} times")


def test_ratios_allow_nothing_where_nothing_is_to_move():
    assert ratios({"a": 0.0}, {"a": 0.0}).verdict == PASSED
    assert ratios({"a": 0.0}, {"a": 1e-9}).verdict == FAILED


def test_an_error_is_a_refusal_with_its_first_line():
    def trial(text):
        raise ValueError(text)

    told = check.tried(
        trial, {"text": "\nGraph execution error:\nDetected at node x\nObject <thing at 0x7ff2>:\n  is wrong\nmore"}
    )
    assert told == Outcome(REFUSED, "ValueError: Object <thing>: is wrong")


def made_up(verdict, seen="x moved 1", **fields):
    return {"keras": "3.15.1", "date": "2026-01-31", "way": "", "verdict": verdict, "seen": seen, **fields}


@pytest.fixture
def results(tmp_path):
    found = runs.Results(tmp_path / "measured" / "twelve_checks.jsonl")
    for backend in runs.BACKENDS:
        for side in runs.SIDES:
            verdict = "refused" if (side, backend) == ("Keras", "jax") else "passed"
            found.replace(backend, side, ["nothing"], [made_up(verdict, check="nothing", side=side, backend=backend)])
    return found


def test_the_page_says_what_was_seen(results, tmp_path):
    page = report.write(results, tmp_path).read_text()
    assert "{{" not in page
    assert (
        "| 2 | A pattern that matches nothing | JAX: **refused**; TensorFlow: passed; PyTorch: passed | passed |"
        in page
    )
    assert "Keras passes 2 of 3; difflr passes 3 of 3." in page


def test_a_workaround_is_counted_apart(results, tmp_path):
    lines = [made_up("failed", check="clip", side="Keras", backend="torch")]
    lines.append(made_up("passed", check="clip", side="Keras", backend="torch", way="by hand"))
    results.replace("torch", "Keras", ["clip"], lines)
    assert report.cell(results.of(check="clip", side="Keras", backend="torch")) == "**failed**, workaround"
    assert report.counts(results).startswith("Keras passes 2 of 4, 1 more with a workaround; ")


def test_a_check_run_again_replaces_its_lines(results):
    results.replace("jax", "Keras", ["nothing"], [made_up("passed", check="nothing", side="Keras", backend="jax")])
    assert "| A pattern that matches nothing | passed | passed |" in report.overview(results, all_checks.CHECKS)
    again = runs.Results(results.file)
    assert [line["verdict"] for line in again.of(backend="jax", side="Keras")] == ["passed"]
    assert len(again.lines) == 6


def test_a_process_that_ends_early_is_a_refusal(monkeypatch):
    monkeypatch.setattr(runs.sys, "executable", "/bin/false")
    (line,) = runs.in_a_process("torch", "Keras", ["devices"])
    assert (line["verdict"], line["check"]) == ("refused", "devices")
    assert "exit status 1" in line["seen"]


def test_nothing_measured_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="No check has run yet"):
        report.write(runs.Results(tmp_path / "none.jsonl"), tmp_path)


def test_a_check_needs_only_a_trial_and_ways():
    each = Check("t", "x", lambda n: Outcome(PASSED, str(n)), keras={"": {"n": 1}}, difflr={"": {"n": 2}})
    assert [outcome.seen for _, outcome in each.outcomes("difflr")] == ["2"]

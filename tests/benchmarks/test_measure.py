import itertools

import pytest

from benchmarks import measure


def test_ratio_is_the_median_of_neighbors_not_the_ratio_of_medians():
    found = measure.compared([1.0, 10.0, 2.0], [2.0, 10.0, 5.0])
    assert found["ratio"]["median"] == 2.0
    assert (found["stock_seconds"]["median"], found["seconds"]["median"]) == (2.0, 5.0)


def test_spread_of_one_number_is_that_number():
    assert measure.spread([3.0]) == {"median": 3.0, "low": 3.0, "high": 3.0, "samples": 1}


def test_contenders_take_turns_and_change_who_begins(monkeypatch):
    clock = itertools.count()
    monkeypatch.setattr(measure.time, "perf_counter", lambda: next(clock))
    called = []
    first, second = (lambda steps, name=name: called.append((name, steps)) for name in "AB")
    times = measure.in_turn(first, second, seconds=1e9, least=1, most=3)
    assert [name for name, _ in called[-6:]] == list("ABBAAB")
    assert all(len(each) == 3 for each in times)


def test_there_are_at_least_so_many_rounds_however_late_it_is():
    times = measure.in_turn(lambda steps: None, lambda steps: None, seconds=0.0, least=4, most=9)
    assert len(times[0]) == 4


@pytest.mark.parametrize(("seconds", "steps"), [(1.0, 1), (measure.SAMPLE_SECONDS / 4, 4), (0.0, 100)])
def test_a_sample_is_as_many_steps_as_fill_it(seconds, steps):
    assert measure.steps_per_sample(seconds) == steps


def test_peak_is_no_less_than_what_is_held():
    assert measure.peak_bytes() >= 0.95 * measure.resident_bytes() > 0  # the kernel counts the two at different moments

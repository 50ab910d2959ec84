"""Clocks, turns, medians and memory. Nothing here knows Keras."""

import gc
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

SAMPLE_SECONDS = 0.02  # a sample is as many steps as fill this, so that the clock and its noise do not count


def spread(numbers: list[float]) -> dict[str, float]:
    """The median and the quartiles."""
    if len(numbers) < 2:
        return {"median": numbers[0], "low": numbers[0], "high": numbers[0], "samples": len(numbers)}
    low, median, high = statistics.quantiles(numbers, n=4, method="inclusive")
    return {"median": median, "low": low, "high": high, "samples": len(numbers)}


def compared(first: list[float], second: list[float]) -> dict[str, dict[str, float]]:
    """Two contenders that took turns: the times of the second, of the first, and of each pair the ratio."""
    ratios = [b / a for a, b in zip(first, second, strict=True)]
    return {"seconds": spread(second), "stock_seconds": spread(first), "ratio": spread(ratios)}


def seconds_of(action: Callable[[], None], clock: Callable[[], float] | None = None) -> float:
    """How long `action` takes, by a clock such as `time.process_time`; by default by the one on the wall."""
    clock = clock or time.perf_counter
    start = clock()
    action()
    return clock() - start


def steps_per_sample(step_seconds: float) -> int:
    """How many steps make one sample."""
    return max(1, min(100, round(SAMPLE_SECONDS / max(step_seconds, 1e-9))))


def in_turn(
    first: Callable[[int], None],
    second: Callable[[int], None],
    seconds: float,
    least: int,
    most: int,
    clock: Callable[[], float] | None = None,
) -> tuple[list[float], list[float]]:
    """Seconds a step of two contenders in turn: A B, B A, A B, ... until the time is up.

    Args:
        first: Takes a number of steps and waits for their end.
        second: The same.
        seconds: How long, at most.
        least: Rounds, however long they take.
        most: Rounds, at most.
        clock: What the two are timed with; by default the clock on the wall.
    """
    contenders = (first, second)
    for contender in contenders:
        contender(2)
    steps = [steps_per_sample(min(seconds_of(lambda c=c: c(1)) for _ in range(2))) for c in contenders]
    times: tuple[list[float], list[float]] = ([], [])
    end = time.perf_counter() + seconds
    gc.collect()
    gc.disable()
    try:
        while len(times[0]) < least or (len(times[0]) < most and time.perf_counter() < end):
            for which in (0, 1) if len(times[0]) % 2 == 0 else (1, 0):
                took = seconds_of(lambda which=which: contenders[which](steps[which]), clock)
                times[which].append(took / steps[which])
    finally:
        gc.enable()
    return times


def resident_bytes() -> int:
    """The memory this process holds now; where the system does not say, the most it ever held."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return peak_bytes()
    return pages * resource.getpagesize()


def peak_bytes() -> int:
    """The most memory this process ever held, from the operating system."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024

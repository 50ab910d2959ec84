"""The measurements on one backend, in a process of its own: Keras reads its backend once.

python -m benchmarks.worker BACKEND SETTINGS FILE          everything, as JSON in FILE
python -m benchmarks.worker BACKEND memory WHAT HOW FILE   the peak memory of one thing
"""

import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


def main(arguments: list[str]) -> None:
    os.environ["KERAS_BACKEND"] = arguments[0]
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if arguments[1] == "memory":
        peak_of(arguments[2], arguments[3], Path(arguments[4]))
    else:
        everything(arguments[1], Path(arguments[2]), arguments[3:])


def everything(name: str, file: Path, only: list[str]) -> None:
    """Measures it all and writes after each part, so that a later failure costs nothing."""
    import keras

    from benchmarks import devices, settings

    keras.utils.set_random_seed(0)
    chosen = settings.BY_NAME[name]
    results: dict[str, Any] = {
        "settings": name,
        "gpu": devices.gpu_name(),
        "versions": devices.versions(),
        "failed": {},
    }
    for part, measured in PARTS.items():
        if only and part not in only:
            continue
        start = time.perf_counter()
        try:
            results[part] = measured(chosen)
        except Exception as error:
            traceback.print_exc()
            results["failed"][part] = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        print(f"  {keras.backend.backend()}: {part}, {time.perf_counter() - start:.0f} s", file=sys.stderr)
        file.write_text(json.dumps(results, indent=1))


def peak_of(what: str, how: str, file: Path) -> None:
    """The peak memory of one bare contender (`how` groups) or one frozen model (`plan` or `hand`)."""
    import keras

    import difflr  # noqa: F401 - every contender pays for the import alike
    from benchmarks import contenders, devices, fitting, settings

    if keras.backend.backend() == "jax":
        import jax

        jax.jit(lambda x: x + 1)(1.0)  # the compiler is there before we count
    base = devices.begin_counting_memory()
    if what == "frozen":
        run = fitting.frozen_blocks(9, how == "plan", steps=2, width=2048)
        run(2)
    else:
        contender = contenders.make(what, "large", int(how), settings.MODES[keras.backend.backend()][0])
        contender.first_step()
        contender.run(3)
    file.write_text(json.dumps(devices.peak_memory() - base))


def opponents(groups: tuple[int, ...]) -> Iterator[tuple[str, int]]:
    """Everyone besides stock, with each number of groups."""
    import keras

    from benchmarks import contenders

    for name in contenders.names(keras.backend.backend()):
        if name == "stock again":
            yield name, 1
        else:
            yield from ((name, number) for number in groups if number > 1 or name == "difflr")


def modes() -> list[str]:
    import keras

    from benchmarks import settings

    return settings.MODES[keras.backend.backend()]


def pair(first: Callable, second: Callable, chosen: Any) -> dict[str, Any]:
    from benchmarks import measure

    return measure.compared(*measure.in_turn(first, second, chosen.seconds, chosen.least, chosen.most))


def bandwidth(chosen: Any) -> float:
    from benchmarks import devices

    return devices.bandwidth()


def steps(chosen: Any) -> list[dict[str, Any]]:
    """Compile time (of the small model: it does not depend on the size), step time and state of everyone."""
    from benchmarks import contenders

    rows = []
    for mode in modes():
        for model, groups_here in (("small", chosen.groups), ("large", chosen.large_groups)):
            stock = contenders.make("stock", model, 1, mode)
            stock.first_step()
            rows.append({"mode": mode, "model": model, "name": "stock", "groups": 1, "state": state_of(stock)})
            for name, groups in opponents(groups_here):
                other = contenders.make(name, model, groups, mode)
                row = {"mode": mode, "model": model, "name": name, "groups": groups}
                if model == "small":
                    row["compile"] = compiled(stock, other, chosen.compile_rounds)
                else:
                    other.first_step()
                rows.append(row | pair(stock.run, other.run, chosen) | {"state": state_of(other)})
                del other
    return rows


def compiled(stock: Any, other: Any, rounds: int) -> dict[str, Any]:
    """From a function to the end of its first step, in turn."""
    from benchmarks import measure

    times: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds):
        order = [(1, other), (0, stock)]
        for which, contender in order if number % 2 == 0 else reversed(order):
            times[which].append(measure.seconds_of(contender.first_step))
    return measure.compared(*times)


def state_of(contender: Any) -> dict[str, int]:
    sizes = contender.variables()
    return {"variables": len(sizes), "bytes": int(sum(sizes))}


def optimizers(chosen: Any) -> list[dict[str, Any]]:
    """Other optimizers, one group per variable, against their stock versions."""
    import keras

    from benchmarks import contenders, settings

    rows = []
    for name in chosen.optimizers[keras.backend.backend()]:
        for mode in modes():
            for model in settings.WIDTHS:
                both = [
                    contenders.make(who, model, groups, mode, name)
                    for who, groups in (("stock", 1), ("difflr", settings.COUNT))
                ]
                for contender in both:
                    contender.first_step()
                row = {"optimizer": name, "mode": mode, "model": model, "groups": settings.COUNT}
                rows.append(row | pair(both[0].run, both[1].run, chosen))
    return rows


def frozen(chosen: Any) -> list[dict[str, Any]]:
    """A step of `fit` with the first blocks frozen by a plan and by hand, and of stock that trains them all."""
    from benchmarks import fitting

    rows = []
    for share in chosen.frozen:
        by_hand = fitting.frozen_blocks(share, False, chosen.fit_steps)
        by_plan = fitting.frozen_blocks(share, True, chosen.fit_steps)
        rows.append({"frozen": share} | per_step(pair(by_hand, by_plan, chosen), chosen))
    return rows


def fit(chosen: Any) -> list[dict[str, Any]]:
    """A step of `fit` on whole networks, one group per layer."""
    import keras

    from benchmarks import fitting, measure

    rows = []
    for network in chosen.networks[keras.backend.backend()]:
        stock = fitting.network(network, False, chosen.fit_steps)
        ours = fitting.network(network, True, chosen.fit_steps)
        first = [measure.seconds_of(lambda run=run: run(1)) for run in (stock.run, ours.run)]
        row = {"network": network, "groups": ours.groups, "parameters": ours.parameters, "first_epoch_seconds": first}
        rows.append(row | per_step(pair(stock.run, ours.run, chosen), chosen))
    return rows


def per_step(compared: dict[str, Any], chosen: Any) -> dict[str, Any]:
    """Seconds of an epoch as seconds of a step."""
    for key in ("seconds", "stock_seconds"):
        compared[key] |= {each: compared[key][each] / chosen.fit_steps for each in ("median", "low", "high")}
    return compared


def plans(chosen: Any) -> list[dict[str, Any]]:
    """How long a plan takes: three rules of patterns, and one rule for each variable."""
    import keras

    import difflr
    from benchmarks import models

    rows = []
    for number in chosen.variables[keras.backend.backend()]:
        model = models.ManyVariables(number)
        patterns = {"blocks/1*": 0.1, "kind:bias": 2.0, "blocks/2*": difflr.FROZEN}
        each = [(variable, 0.5 + i / 1e6) for i, variable in enumerate(model.trainable_variables)]
        times = {"patterns": plan_seconds(model, patterns), "one rule a variable": plan_seconds(model, each)}
        rows.append({"variables": number} | times)
    return rows


def plan_seconds(model: Any, rules: Any) -> float:
    from statistics import median

    import difflr
    from benchmarks import measure

    return median(measure.seconds_of(lambda: difflr.Plan(model, rules)) for _ in range(3))


PARTS: dict[str, Callable] = {
    "bandwidth": bandwidth,
    "steps": steps,
    "optimizers": optimizers,
    "frozen": frozen,
    "fit": fit,
    "plans": plans,
}


if __name__ == "__main__":
    main(sys.argv[1:])

"""`make fuzz`: makes texts up for all readers, guided by the code they reach (atheris, which is libFuzzer).

python -m faults.fuzz FOLDER [options of libFuzzer]

It begins with the texts in `corpus`. Texts that reach new code are added to FOLDER; findings, one of each kind, are
written to FOLDER-findings.
"""

import json
import random
import sys
import time
import traceback
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["difflr"]):
    import difflr  # noqa: F401

from faults import readers

ODD = [
    None, True, False, 0, 1, -1, 0.5, 1e-3, 1e308, -1e-9, 2**31, 10**30, 10**400, float("nan"), float("inf"), "", "*",
    "**/", "[", "[9-1]", "kind:bias", "kind:", "head", "backbone/low", "backbone/low/kernel", "head/bias", "a" * 3000,
    "\ud800", "\x00", "0.1", "keep", "update", [], {}, [[]], {"": None}, [1, 2], "SGD", "difflr", "builtins", "eval",
    "keras.optimizers.schedules", "CosineDecay", "difflr>Joined", "difflr>LateStart", "difflr>ScheduleProduct", "__lambda__",
    "function", "__tensor__", "__numpy__", "Lambda", "val_loss", "*a" * 30,
]  # fmt: skip
FOLDER = sys.argv[1]
counts = {}
started = time.process_time()


def changed(data, longest, seed):
    """A text made from another one: a change in its tree where it is JSON, else libFuzzer's own in its bytes."""
    numbers = random.Random(seed)
    text = data.decode("utf-8", "surrogateescape")
    name, _, content = text.partition("\n")
    if numbers.random() < 0.02:
        name = numbers.choice(sorted(readers.READERS))
    try:
        tree = json.loads(content)
    except (ValueError, RecursionError):
        tree = None
    if tree is None or numbers.random() < 0.15:
        content = atheris.Mutate(content.encode("utf-8", "surrogateescape"), longest).decode("utf-8", "surrogateescape")
    else:
        for _ in range(numbers.choice((1, 1, 1, 2, 5))):
            tree = change(tree, numbers)
        content = json.dumps(tree)
    return f"{name}\n{content}".encode("utf-8", "surrogateescape")[:longest]


def change(tree, numbers):
    """`tree` with one node changed, removed, doubled or replaced by an odd one or by another of its nodes."""
    places = list(nodes(tree))
    if not places:
        return numbers.choice(ODD)
    holder, key = numbers.choice(places)
    what = numbers.randrange(6)
    if what == 0:
        del holder[key]
    elif what == 1:
        holder[key] = numbers.choice(ODD)
    elif what == 2:
        other, place = numbers.choice(places)
        holder[key] = json.loads(json.dumps(other[place]))
    elif what == 3 and isinstance(holder, list):
        holder.insert(key, json.loads(json.dumps(holder[key])))
    elif what == 4 and isinstance(holder, dict):
        word = numbers.choice([each for each in ODD if isinstance(each, str)] + [str(k) for h, k in places])
        holder[word] = holder.pop(key)
    elif type(holder[key]) in (int, float) and abs(holder[key]) < 1e300:
        holder[key] = holder[key] * numbers.choice((-1, 0.5, 2, 1000)) + numbers.choice((0, 1))
    else:
        holder[key] = [holder[key]] if numbers.random() < 0.5 else {"class_name": holder[key]}
    return tree


def nodes(tree):
    pending = [tree]
    while pending:
        holder = pending.pop()
        for key in holder if isinstance(holder, dict) else range(len(holder) if isinstance(holder, list) else 0):
            yield holder, key
            pending.append(holder[key])


def one(data):
    text = data.decode("utf-8", "surrogateescape")
    name = text.partition("\n")[0]
    try:
        message = readers.read(text)
    except readers.Finding as finding:
        message = note(finding, data)
    if name in readers.READERS:
        accepted, refused = counts.get(name, (0, 0))
        counts[name] = (accepted + (message is None), refused + (message is not None))
    if sum(map(sum, counts.values())) % 20_000 == 0:
        report()


def note(finding, data):
    """Writes a finding down, if it is the first of its kind."""
    frame = traceback.extract_tb((finding.__cause__ or finding).__traceback__)[-1]
    kind = f"{frame.name}-{frame.lineno}-{type(finding.__cause__ or finding).__name__}"
    folder = Path(f"{FOLDER}-findings")
    folder.mkdir(exist_ok=True)
    if not (folder / kind).exists():
        (folder / kind).write_bytes(data)
        print(f"FINDING {kind}: {finding}", flush=True)
    return str(finding)


def report():
    print(f"after {time.process_time() - started:.0f} s of processor time (accepted, refused): {counts}", flush=True)


def main():
    Path(FOLDER).mkdir(exist_ok=True)
    for name in readers.READERS:
        for number, text in enumerate(readers.corpus(name)):
            (Path(FOLDER) / f"{name}-{number}").write_bytes(text.encode("utf-8", "surrogateescape"))
    readers.model()
    readers.watch()
    atheris.Setup(sys.argv, one, custom_mutator=changed)
    atheris.Fuzz()


if __name__ == "__main__":
    main()

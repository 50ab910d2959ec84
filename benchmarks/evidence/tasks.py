"""The tasks: a network that knows one thing, and data that asks for another.

`DEVELOPMENT` are those on which the constants of `fine_tune` were chosen. `TASKS` are those of the page: they share
networks with the others, but no pair of network and data, and nothing of ours was set by what came out of them.
"""

import dataclasses
import functools
from collections.abc import Callable

import keras
import numpy as np

from benchmarks.evidence import minilm, networks, sources

DRAW_SEED = 2026  # of validation and test, which are the same for every seed
Part = tuple[np.ndarray, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Data:
    """Inputs and labels, three times."""

    train: Part
    validation: Part
    test: Part


@dataclasses.dataclass(frozen=True)
class Task:
    """A pretrained network and new data.

    Args:
        title: What it is, in a few words.
        build: Makes the model: pretrained weights and, where it is new, a head drawn with the current seed.
        data: From a seed to the data; the seed draws the training part.
        groups: The body's parts, from the input on: lists of patterns of layer-tree paths. The rest is the head.
        epochs: How long to train, a head stage included.
        batch_size: How many examples a step.
    """

    title: str
    build: Callable[[], keras.Model]
    data: Callable[[int], Data]
    groups: tuple[tuple[str, ...], ...]
    epochs: int
    batch_size: int = 16


def drawn(labels, seed, per_class, without=()):
    """Positions of `per_class` of every class, or all where there are fewer, drawn with `seed` outside `without`."""
    generator = np.random.default_rng(seed)
    free = np.ones(len(labels), bool)
    free[list(without)] = False
    found = [generator.permutation(np.flatnonzero(free & (labels == label)))[:per_class] for label in np.unique(labels)]
    return np.concatenate(found)


def split(source, train, validation, test):
    """Data by seed: so many of each class of what the cached `source()` returns."""

    def data(seed):
        inputs, labels = source()
        held = drawn(labels, DRAW_SEED, validation + test)
        tested = held[drawn(labels[held], DRAW_SEED, test)]
        validated = np.setdiff1d(held, tested)
        parts = (drawn(labels, seed, train, without=held), validated, tested)
        return Data(*((inputs[part], labels[part]) for part in parts))

    return data


# -- pictures


@functools.cache
def changed_digits(change, keep=tuple(range(10))):
    """Digits that no small network has seen, changed; the classes `keep` alone, or renamed."""
    pictures, labels = networks.new_digits()
    those = np.isin(labels, keep)
    return change(pictures[those]), np.searchsorted(keep, labels[those]).astype("int32")


def _noisy(pictures, scale):
    return np.clip(pictures + np.random.default_rng(0).normal(scale=scale, size=pictures.shape), 0, 255)


def unchanged(pictures):
    return pictures


def corrupted(pictures):
    """Inverted, blurred, with noise."""
    padded = np.pad(pictures, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    blurred = sum(padded[:, y : y + 28, x : x + 28] for y in range(3) for x in range(3)) / 9
    return _noisy(255 - blurred, 50).astype("float32")


def noisy(pictures):
    return _noisy(pictures, 60).astype("float32")


def turned_negatives(pictures):
    """Dark on light, turned by a quarter."""
    return np.ascontiguousarray(255 - np.rot90(pictures, axes=(1, 2)))


def faint_noisy_negatives(pictures):
    """Dark on light with a third of the contrast, and noise."""
    return _noisy(200 - pictures / 3, 40).astype("float32")


@functools.cache
def shifted_digits():
    pictures, labels = networks.new_digits()
    return pictures, ((labels + 3) % 10).astype("int32")


@functools.cache
def faint_noisy_clothes():
    pictures, labels = sources.clothes()
    noise = np.random.default_rng(0).normal(scale=30, size=pictures.shape)
    return np.clip(220 - pictures * 0.5 + noise, 0, 255).astype("float32"), labels


@functools.cache
def odd_digits():
    """Whether a digit is odd."""
    pictures, labels = networks.new_digits()
    return pictures, (labels % 2).astype("int32")


# -- texts


def _balanced(lines, labels, per_class):
    few = drawn(labels, DRAW_SEED, per_class)
    return [lines[position] for position in few], labels[few]


@functools.cache
def texts(name, per_class):
    """A part of a set of texts; `name` as in `sources.texts`."""
    return _balanced(*sources.texts(name), per_class)


@functools.cache
def words(name, per_class):
    lines, labels = texts(name, per_class)
    return sources.word_numbers(lines, networks.WORDS), labels


@functools.cache
def e_mail_words():
    lines, labels = _balanced(*sources.e_mails(), 400)
    return sources.word_numbers(lines, networks.WORDS), labels


@functools.cache
def _pieces(name, per_class, length):
    lines, labels = texts(name, per_class)
    tokens = minilm.Tokenizer()(lines, length)
    vocabulary = np.union1d([0], tokens)  # the pieces that occur
    return vocabulary, (np.searchsorted(vocabulary, tokens).astype("int32"), labels)


def minilm_task(title, name, num_classes, sizes, epochs, length, num_layers=6):
    per_class = sum(sizes) + 20
    return Task(
        title,
        lambda: networks.minilm_model(num_classes, length, _pieces(name, per_class, length)[0], num_layers),
        split(lambda: _pieces(name, per_class, length)[1], *sizes),
        (("minilm/*embedding*",), *((f"minilm/block{number}_*",) for number in range(num_layers))),
        epochs,
    )


CONVOLUTIONS = (("conv1",), ("conv2",), ("conv3",), ("dense",))
NORMALISED = (("conv1", "norm1"), ("conv2", "norm2"), ("conv3", "norm3"), ("dense",))
TRANSFORMER = (
    ("embedding", "positions"),
    *((f"attention{n}", f"attention_norm{n}", f"hidden{n}", f"output{n}", f"norm{n}") for n in (1, 2)),
)
RECURRENT = (("embedding",), ("gru1",), ("gru2",))
FIRES = (
    ("squeezenet/conv1", "squeezenet/fire2_*", "squeezenet/fire3_*"),
    ("squeezenet/fire[45]_*",),
    ("squeezenet/fire[67]_*",),
    ("squeezenet/fire[89]_*",),
)


def small(
    title, change, sizes, epochs, normalized=False, keep=tuple(range(10)), known=tuple(range(10)), new_head=False
):
    return Task(
        title,
        lambda: networks.small_network(len(keep), normalized, known, keep_head=not new_head),
        split(lambda: changed_digits(change, keep), *sizes),
        NORMALISED if normalized else CONVOLUTIONS,
        epochs,
    )


def _clothes(title, normalized=False):
    task = small(title, unchanged, (12, 30, 1), 12, normalized, new_head=True)
    return dataclasses.replace(task, data=split(sources.clothes, 12, 30, 1))


DEVELOPMENT = {
    "squeezenet digits": Task(
        "SqueezeNet (ImageNet) → 160 digits",
        lambda: networks.squeezenet_model(10, 40, gray=True),
        split(sources.handwritten_digits, 16, 30, 1),
        FIRES,
        epochs=8,
    ),
    "minilm newsgroups": minilm_task("MiniLM → 100 postings", "20newsgroups-train", 20, (5, 10, 1), 6, 12),
    "transformer tweets": Task(
        "small transformer (newsgroups) → 160 tweets, two authors",
        lambda: networks.text_network(networks.small_transformer_body, 2),
        split(lambda: words("election-tweets-2016", 400), 80, 200, 1),
        TRANSFORMER,
        epochs=8,
    ),
    "recurrent reuters": Task(
        "recurrent network (newsgroups) → 155 news items, eight topics",
        lambda: networks.text_network(networks.recurrent_body, 8),
        split(lambda: words("reuters-r8-train", 100), 20, 25, 1),
        RECURRENT,
        epochs=8,
    ),
    "corrupted": small("small network → 100 corrupted digits", corrupted, (10, 30, 1), 16),
    "noisy": small("small network → 100 noisy digits", noisy, (10, 30, 1), 12),
    "shifted labels": dataclasses.replace(
        small("small network → 100 digits, labels shifted by 3", unchanged, (10, 30, 1), 12),
        data=split(shifted_digits, 10, 30, 1),
    ),
    "corrupted, BatchNorm": small("the same with BatchNorm → 100 corrupted", corrupted, (10, 30, 1), 16, True),
    "noisy, BatchNorm, new head": small(
        "the same with BatchNorm → 100 noisy, new head", noisy, (10, 30, 1), 12, True, new_head=True
    ),
    "corrupted, BatchNorm, 500": small("the same with BatchNorm → 500 corrupted", corrupted, (50, 30, 1), 12, True),
    "clothes": _clothes("small network (digits) → 120 pictures of clothes"),
    "clothes, BatchNorm": _clothes("the same with BatchNorm", normalized=True),
    "faint clothes": dataclasses.replace(
        _clothes("small network (digits) → 300 faint, noisy pictures of clothes"),
        data=split(faint_noisy_clothes, 30, 30, 1),
        epochs=10,
    ),
    "squeezenet clothes": Task(
        "SqueezeNet (ImageNet) → 120 pictures of clothes",
        lambda: networks.squeezenet_model(10, 40, gray=True),
        split(sources.clothes, 12, 20, 1),
        FIRES,
        epochs=8,
    ),
    "odd": Task(
        "small network (digits) → whether 50 digits are odd",
        lambda: networks.small_network(2),
        split(odd_digits, 25, 150, 1),
        CONVOLUTIONS,
        epochs=12,
    ),
    "transformer e-mails": Task(
        "small transformer (newsgroups) → 120 e-mails, spam or not",
        lambda: networks.text_network(networks.small_transformer_body, 2),
        split(e_mail_words, 60, 200, 1),
        TRANSFORMER,
        epochs=8,
    ),
    "recurrent e-mails": Task(
        "recurrent network (newsgroups) → 120 e-mails, spam or not",
        lambda: networks.text_network(networks.recurrent_body, 2),
        split(e_mail_words, 60, 200, 1),
        RECURRENT,
        epochs=8,
    ),
    "minilm reuters": minilm_task("MiniLM, three layers → 80 news items", "reuters-r8-train", 8, (10, 25, 1), 8, 12, 3),
}

TASKS = {
    "label shift": small(
        "small network (digits 0 to 4) → 60 digits 5 to 9",
        unchanged,
        (12, 20, 120),
        12,
        keep=(5, 6, 7, 8, 9),
        known=(0, 1, 2, 3, 4),
        new_head=True,
    ),
    "input shift": small(
        "small network (digits) → 120 digits, rotated and inverted", turned_negatives, (12, 20, 80), 12
    ),
    "both shifts, BatchNorm": small(
        "small network with BatchNorm (digits 0 to 4) → 60 noisy digits 5 to 9",
        noisy,
        (12, 20, 120),
        16,
        True,
        keep=(5, 6, 7, 8, 9),
        known=(0, 1, 2, 3, 4),
        new_head=True,
    ),
    "news, transformer": Task(
        "small transformer (newsgroups) → 140 news items, eight topics",
        lambda: networks.text_network(networks.small_transformer_body, 8),
        split(lambda: words("reuters-r8-train", 100), 20, 15, 30),
        TRANSFORMER,
        epochs=8,
    ),
    "tweets, recurrent": Task(
        "recurrent network (newsgroups) → 160 tweets, two authors",
        lambda: networks.text_network(networks.recurrent_body, 2),
        split(lambda: words("election-tweets-2016", 600), 80, 100, 300),
        RECURRENT,
        epochs=8,
    ),
    "tweets, MiniLM": minilm_task(
        "MiniLM's lower two layers (sentences) → 80 tweets, two authors",
        "election-tweets-2016",
        2,
        (40, 100, 300),
        epochs=6,
        length=12,
        num_layers=2,
    ),
    "emoji": Task(
        "SqueezeNet (ImageNet) → 108 emoji, nine categories",
        lambda: networks.squeezenet_model(9, 40),
        split(functools.partial(sources.emoji, 40), 12, 25, 40),
        FIRES,
        epochs=8,
    ),
    "long, BatchNorm": dataclasses.replace(
        small(
            "small network with BatchNorm (digits) → 500 faint, noisy negatives, 1,008 steps",
            faint_noisy_negatives,
            (50, 30, 100),
            16,
            True,
        ),
        batch_size=8,
    ),
}

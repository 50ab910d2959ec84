"""The data of `difflr fine-tune`, read: what is trained and validated on."""

import dataclasses
import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

import difflr
from difflr.data import Batches, Examples, ImageFiles
from difflr.text_table import counted
from difflr_command.settings import Settings, option

OnImage = Callable[[int, int], None]


@dataclasses.dataclass
class Data:
    """The training and validation data.

    Args:
        train: The training examples.
        validation: The validation examples, or `None`.
        prepare: What makes of a batch of `x` what the model takes.
        remarks: What should be known of both together.
    """

    train: Examples
    validation: Examples | None
    prepare: Callable[[np.ndarray], np.ndarray] | None = None
    remarks: tuple[str, ...] = ()

    @property
    def skipped(self) -> list[tuple[str, str]]:
        """What could not be read, of both."""
        return list(dict.fromkeys(each for part in self._parts for each in part.skipped))

    @property
    def notes(self) -> list[str]:
        """Notes on what was done to both parts of the data."""
        return list(dict.fromkeys([*(each for part in self._parts for each in part.notes), *self.remarks]))

    @property
    def num_validation(self) -> int:
        """Validation examples."""
        return 0 if self.validation is None else len(self.validation)

    def counts(self) -> dict[str, tuple[int, int]]:
        """For each class, how many examples are trained on and how many validated on."""
        validation = {} if self.validation is None else self.validation.counts()
        return {name: (number, validation.get(name, 0)) for name, number in self.train.counts().items()}

    def fingerprint(self) -> str:
        """A number that changes when the data does; images in files are in `manifest`."""
        digest = hashlib.sha256()
        for part in self._parts:
            for array in (part.x, part.y):
                if isinstance(array, ImageFiles):
                    continue
                digest.update(f"{array.dtype} {array.shape}".encode())
                for piece in _pieces(array):
                    digest.update(piece)
        return digest.hexdigest()

    def manifest(self) -> dict[str, int]:
        """File -> checksum, of all images."""
        files = [part.x.manifest() for part in self._parts if isinstance(part.x, ImageFiles)]
        return {name: number for part in files for name, number in sorted(part.items())}

    def batches(self, batch_size: int, seed: int) -> Batches:
        """The training batches, shuffled."""
        return Batches(self.train.x, self.train.y, batch_size, seed=seed, prepare=self.prepare)

    def validation_batches(self, batch_size: int) -> Batches | None:
        """The validation batches, in order."""
        if self.validation is None:
            return None
        return Batches(self.validation.x, self.validation.y, batch_size, prepare=self.prepare)

    @property
    def _parts(self) -> list[Examples]:
        return [self.train] if self.validation is None else [self.train, self.validation]


def _pieces(array: np.ndarray) -> Iterable[bytes]:
    """The content of an array, not the addresses of its objects."""
    if array.dtype != object:
        return [np.ascontiguousarray(array).tobytes()]
    return (each.tobytes() if isinstance(each, np.ndarray) else f"{len(each)} {each}".encode() for each in array)


def split(data: Data, settings: Settings) -> Data:
    """With a part of the training examples for validation, if there are none and some are asked for."""
    divided = _divided(data, settings)
    if divided.validation is None:
        return divided
    known = set(_contents(divided.train.x))
    number = sum(one in known for one in _contents(divided.validation.x))
    remark = (
        f"{number:,} of {divided.num_validation:,} validation examples are trained on, too: the accuracy is too high"
    )
    return dataclasses.replace(divided, remarks=(remark,)) if number else divided


def _contents(x: np.ndarray | ImageFiles) -> Iterable[int]:
    """A number for each example, the same for equal ones."""
    if isinstance(x, ImageFiles):
        return x.checksums
    rows = _pieces(x) if x.dtype == object else (np.ascontiguousarray(row).tobytes() for row in x)
    return map(hash, rows)


def _divided(data: Data, settings: Settings) -> Data:
    if data.validation is not None or not settings.validation_split:
        return data
    labels = data.train.y if data.train.task == "classes" else np.zeros(len(data.train), "int32")
    train, held_out = difflr.data.stratified_split(labels, settings.validation_split, settings.seed)
    if not len(held_out):
        return data
    return dataclasses.replace(data, train=data.train.take(train), validation=data.train.take(held_out))


def targets_of(task: str) -> str:
    """The option `--targets` for data of a task.

    Args:
        task: As in `difflr.models.ModelInfo`.
    """
    return {"classes": "labels", "labels": "several"}.get(task, "numbers")


def check_shape(expected: tuple[int | None, ...], x: np.ndarray | ImageFiles, file: Path) -> None:
    """Checks that a model takes the arrays of a file.

    Args:
        expected: The shape of the model's inputs.
        x: Its inputs.
        file: Where they are from.

    Raises:
        ValueError: If it does not.
    """
    fits = isinstance(expected, tuple) and len(expected) == len(x.shape)
    if not fits or any(a not in (None, b) for a, b in zip(expected[1:], x.shape[1:], strict=True)):
        raise ValueError(f"The model takes inputs of shape {expected}, and x of {file} holds {(None, *x.shape[1:])}.")


def names_of(examples: Examples, path: Path, data: str) -> list[str]:
    """The names of examples: their files, or their numbers.

    Args:
        examples: The examples.
        path: The folder or file they are from.
        data: As in `difflr.models.ModelInfo`.
    """
    if isinstance(examples.x, ImageFiles):
        folder = path if path.is_dir() else path.parent
        return [str(file.relative_to(folder) if file.is_relative_to(folder) else file) for file in examples.x.files]
    kind, first = ("text", 1) if data == "texts" else ("row", 0)
    return [f"{kind} {number}" for number in range(first, first + len(examples))]


def only_for(owner: str, takes: str, **options: object) -> None:
    """Checks that options about other data are left out.

    Args:
        owner: What they are for.
        takes: What the model takes.
        **options: Their values.

    Raises:
        ValueError: If one is not.
    """
    for name, value in options.items():
        if value is not None:
            raise ValueError(f"{option(name)} is for {owner}, and the model takes {takes}: leave it out.")


def image_size(sides: tuple[int | None, int | None], asked: tuple[int, int] | None) -> tuple[int, int]:
    """Height and width of the images that a model takes.

    Args:
        sides: What its inputs say.
        asked: The option `--size`.

    Raises:
        ValueError: If neither says it, or they differ.
    """
    height, width = asked or sides
    if height is None or width is None:
        raise ValueError("The model takes images of any size: say in which, such as --size 160.")
    if any(side not in (None, wanted) for side, wanted in zip(sides, (height, width), strict=True)):
        raise ValueError(f"The model takes images of {sides[0]} x {sides[1]} pixels: leave out --size.")
    return int(height), int(width)


def image_scale(own: bool, asked: str | None) -> tuple[str, str]:
    """The scale of the images that a model takes, and who converts them to it.

    Args:
        own: Whether the model scales them itself.
        asked: The option `--scale`.

    Raises:
        ValueError: If it is neither asked for nor to be seen, or the model has its own.
    """
    if own and asked not in (None, "0..255"):
        raise ValueError(
            f"The model scales its images itself, by a Rescaling or Normalization layer: leave out --scale {asked}."
        )
    if own:
        return "0..255", "which the model scales itself"
    if asked is None:
        known = "; ".join(f"{name} for {who}" for name, who in list(difflr.data.SCALES.items())[1:])
        raise ValueError(
            "Cannot tell how the model expects pixel values to be scaled: it begins with no Rescaling or Normalization "
            f"layer. Say it: --scale {known}."
        )
    return asked, "as they are" if asked == "0..255" else "from 0..255 by a layer that is saved with the model"


def described(path: Path, form: str, data: Data) -> str:
    """The data in a line.

    Args:
        path: Where it lies.
        form: What it is.
        data: The data.
    """
    classes = f"{counted(len(data.train.class_names), 'class', 'classes')}, " if data.train.class_names else ""
    train = counted(len(data.train), form.removesuffix("s"), form)
    return f"{path}: {classes}{train} to train on, {data.num_validation:,} to validate on"

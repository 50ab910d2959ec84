"""The data of `difflr fine-tune`, read: what is trained and validated on."""

import dataclasses
import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

import difflr
from difflr.data import Batches, Examples, PictureFiles
from difflr.text_table import counted
from difflr_command.settings import Settings

OnPicture = Callable[[int, int], None]


@dataclasses.dataclass
class Data:
    """The training and validation data.

    Args:
        train: The training examples.
        validation: The validation examples, or `None`.
        prepare: What makes of a batch of `x` what the model takes.
    """

    train: Examples
    validation: Examples | None
    prepare: Callable[[np.ndarray], np.ndarray] | None = None

    @property
    def skipped(self) -> list[tuple[str, str]]:
        """What could not be read, of both."""
        return list(dict.fromkeys(each for part in self._parts for each in part.skipped))

    @property
    def notes(self) -> list[str]:
        """Notes on what was done to both parts of the data."""
        return list(dict.fromkeys(each for part in self._parts for each in part.notes))

    @property
    def num_validation(self) -> int:
        """Validation examples."""
        return 0 if self.validation is None else len(self.validation)

    def counts(self) -> dict[str, tuple[int, int]]:
        """For each class, how many examples are trained on and how many validated on."""
        validation = {} if self.validation is None else self.validation.counts()
        return {name: (number, validation.get(name, 0)) for name, number in self.train.counts().items()}

    def fingerprint(self) -> str:
        """A number that changes when the data does; pictures in files are in `manifest`."""
        digest = hashlib.sha256()
        for part in self._parts:
            for array in (part.x, part.y):
                if isinstance(array, PictureFiles):
                    continue
                digest.update(f"{array.dtype} {array.shape}".encode())
                for piece in _pieces(array):
                    digest.update(piece)
        return digest.hexdigest()

    def manifest(self) -> dict[str, int]:
        """File -> checksum, of all pictures."""
        files = [part.x.manifest() for part in self._parts if isinstance(part.x, PictureFiles)]
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


def check_shape(expected: tuple[int | None, ...], x: np.ndarray | PictureFiles, file: Path) -> None:
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


def name_below(file: Path, folder: Path) -> str:
    """The name of a file as it is shown: without the folder, if it lies there."""
    return str(file.relative_to(folder)) if file.is_relative_to(folder) else str(file)


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

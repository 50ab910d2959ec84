"""The data of `difflr fine-tune`: read, fitted to the model's inputs, divided into training and validation."""

import dataclasses
import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

import difflr
from difflr.data import Batches, Examples
from difflr.data.examples import some

if TYPE_CHECKING:
    from difflr_command.tuning import Settings

__all__ = ["Data", "read", "some"]


@dataclasses.dataclass
class Data:
    """What is trained and validated on.

    Args:
        train: The training examples.
        validation: The validation examples, or `None`.
        described: What it is, in one line.
        numbered: Whether the labels are numbers of outputs, so that the model may have more.
        scale: The scale of pictures; `None` if these are none.
        texts: Whether `x` are texts.
        notes: What the user should know.
    """

    train: Examples
    validation: Examples | None
    described: str = ""
    numbered: bool = False
    scale: str | None = None
    texts: bool = False
    notes: list[str] = dataclasses.field(default_factory=list)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes in the order of the outputs; none if the targets are no labels."""
        return self.train.class_names

    @property
    def num_train(self) -> int:
        """Training examples."""
        return len(self.train)

    @property
    def num_validation(self) -> int:
        """Validation examples."""
        return 0 if self.validation is None else len(self.validation)

    @property
    def skipped(self) -> list[tuple[str, str]]:
        """What could not be read, of both."""
        parts = [self.train] if self.validation is None else [self.train, self.validation]
        return list(dict.fromkeys(each for part in parts for each in part.skipped))

    def fingerprint(self) -> str:
        """A number that changes when the data does."""
        digest = hashlib.sha256()
        for part in (self.train, self.validation):
            for array in () if part is None else (part.x, part.y):
                digest.update(f"{array.dtype} {array.shape}".encode())
                digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def vectorize(self, model: keras.Model) -> keras.Model:
        """Turns texts into numbers by the model's own layer; returns the model that takes these (or the same one)."""
        if not self.texts:
            return model
        layer, rest = difflr.models.after_vectorization(model)
        self.train = dataclasses.replace(self.train, x=_numbers(layer, self.train.x))
        if self.validation is not None:
            self.validation = dataclasses.replace(self.validation, x=_numbers(layer, self.validation.x))
        return rest

    def batches(self, batch_size: int, seed: int) -> Batches:
        """The training batches, shuffled."""
        return Batches(self.train.x, self.train.y, batch_size, seed=seed, prepare=self._prepare)

    def validation_batches(self, batch_size: int) -> Batches | None:
        """The validation batches, in order."""
        if self.validation is None:
            return None
        return Batches(self.validation.x, self.validation.y, batch_size, prepare=self._prepare)

    def _prepare(self, batch: np.ndarray) -> np.ndarray:
        return batch if self.scale is None else difflr.data.to_scale(batch, self.scale)


def read(settings: "Settings", model: keras.Model) -> Data:
    """The data for `model`.

    Raises:
        ValueError: If it cannot be read, or does not fit the model's inputs.
    """
    if not settings.data.exists():
        raise ValueError(f"There is no data at {settings.data}.")
    if len(model.inputs or [0]) != 1:
        raise ValueError(
            f"The model takes {len(model.inputs)} inputs, and only models with one can be fine-tuned here."
        )
    kind = _kind(settings.data)
    data = {"pictures": _pictures, "texts": _texts, "arrays": _arrays}[kind](settings, model)
    given = (("--scale", settings.scale), ("--size", settings.size))
    for option, value in given if kind != "pictures" else ():
        if value is not None:
            raise ValueError(f"{option} is for folders of pictures; {settings.data} is none.")
    if data.validation is None and settings.validation_split:
        labels = data.train.y if data.class_names else np.zeros(len(data.train), "int32")
        train, held_out = difflr.data.stratified_split(labels, settings.validation_split, settings.seed)
        if len(held_out):
            data.train, data.validation = data.train.take(train), data.train.take(held_out)
    number = f"{len(data.class_names)} classes, " if data.class_names else ""
    data.described = (
        f"{settings.data}: {number}{data.num_train} {kind} to train on, {data.num_validation} to validate on"
    )
    return data


def _kind(path: Path) -> str:
    if path.is_dir():
        return "pictures"
    kinds = {".csv": "texts", ".tsv": "texts", ".npz": "arrays"}
    if path.suffix.lower() not in kinds:
        raise ValueError(
            f"Data is a folder with a folder of pictures for each class, a .csv or .tsv of texts and labels, or an .npz "
            f"with x and y. Received: {path}."
        )
    return kinds[path.suffix.lower()]


def _other(settings: "Settings", kind: str) -> Path | None:
    """The validation data that was given, which has to be of the same form."""
    path = settings.validation
    if path is None:
        return None
    if not path.exists():
        raise ValueError(f"There is no validation data at {path}.")
    if _kind(path) != kind:
        raise ValueError(f"--validation must be of the form of the data. Received: {settings.data} and {path}.")
    return path


def _pictures(settings: "Settings", model: keras.Model) -> Data:
    shape = model.input_shape
    if not isinstance(shape, tuple) or len(shape) != 4 or shape[-1] not in (1, 3, 4):
        raise ValueError(
            f"{settings.data} holds pictures, and the model takes inputs of shape {shape}, not (batch, height, width, "
            "channels) with 1, 3 or 4 channels."
        )
    scale, notes = settings.scale, []
    own = difflr.data.has_own_scale(model)
    if scale is None and not own:
        known = "; ".join(f"{name} for {who}" for name, (_, who) in list(difflr.data.SCALES.items())[1:])
        raise ValueError(
            f"In which numbers the model wants its pictures cannot be seen: it begins with no Rescaling or "
            f"Normalization layer. Say it: --scale {known}."
        )
    if own and scale not in (None, "0..255"):
        raise ValueError(
            f"The model scales its pictures itself, by a Rescaling or Normalization layer: leave out --scale {scale}."
        )
    size = _size(settings.size, shape[1:3])
    scale = scale or "0..255"
    how = ", which the model scales itself" if own else ""
    notes.append(f"pictures at {size[0]} x {size[1]} pixels in {scale}{how}")
    train = difflr.data.read_folder(settings.data, size, channels=shape[-1])
    other = _other(settings, "pictures")
    validation = None
    if other is not None:
        validation = difflr.data.read_folder(other, size, channels=shape[-1], class_names=train.class_names)
    return Data(train, validation, scale=scale, notes=notes)


def _size(asked: str | None, sides: tuple[int | None, int | None]) -> tuple[int, int]:
    """Height and width: the model's, where it has them."""
    wanted = None
    if asked is not None:
        found = re.fullmatch(r"([1-9]\d*)(?:x([1-9]\d*))?", asked.strip().lower())
        if not found:
            raise ValueError(
                f"--size is a number of pixels, or height x width, such as 160 or 120x160. Received: {asked}."
            )
        wanted = (int(found[1]), int(found[2] or found[1]))
    if wanted is None and None in sides:
        raise ValueError("The model takes pictures of any size: say in which to train, such as --size 160.")
    if wanted is None:
        return int(sides[0] or 0), int(sides[1] or 0)
    if any(side not in (None, pixels) for side, pixels in zip(sides, wanted, strict=True)):
        raise ValueError(f"The model takes pictures of {sides[0]} x {sides[1]} pixels: leave out --size {asked}.")
    return wanted


def _texts(settings: "Settings", model: keras.Model) -> Data:
    difflr.models.after_vectorization(model)  # before the texts are read
    columns = {"text_column": settings.text_column, "label_column": settings.label_column}
    try:
        train = difflr.data.read_table(settings.data, **columns)
        other = _other(settings, "texts")
        validation = None
        if other is not None:
            validation = difflr.data.read_table(other, **columns, class_names=train.class_names)
    except ValueError as error:  # the arguments by the names they have here
        raise ValueError(re.sub(r"`(text|label)_column`", r"--\1-column", str(error))) from None
    return Data(
        train, validation, texts=True, notes=["texts become numbers by the model's own TextVectorization layer"]
    )


def _arrays(settings: "Settings", model: keras.Model) -> Data:
    train, validation = difflr.data.read_arrays(settings.data)
    other = _other(settings, "arrays")
    if other is not None:
        validation, _ = difflr.data.read_arrays(other)
    shape = model.input_shape
    for part in (train, validation):
        if part is None:
            continue
        received = part.x.shape[1:]
        fits = isinstance(shape, tuple) and len(shape) - 1 == len(received)
        if not fits or any(a not in (None, b) for a, b in zip(shape[1:], received, strict=True)):
            raise ValueError(f"The model takes inputs of shape {shape}, and x holds {(None, *received)}.")
        if bool(part.class_names) != bool(train.class_names):
            raise ValueError("y holds labels (whole numbers) in one part of the data, and not in the other.")
    if validation is not None and len(validation.class_names) > len(train.class_names):
        raise ValueError(
            f"The validation data has labels up to {validation.y.max()}, training only up to {train.y.max()}."
        )
    if train.class_names and len(np.unique(train.y)) < 2:
        raise ValueError(f"y has one class only, {train.y[0]}: there is nothing to tell apart.")
    return Data(train, validation, numbered=True)


def _numbers(layer: Any, texts: np.ndarray) -> np.ndarray:
    parts = [keras.ops.convert_to_numpy(layer(texts[begin : begin + 1024])) for begin in range(0, len(texts), 1024)]
    return np.concatenate(parts)

"""The data of `difflr fine-tune`: a source for each form of it, which knows its classes before much is read."""

import dataclasses
import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

import keras
import numpy as np

import difflr
from difflr.data import Batches, Examples
from difflr.data.examples import counted, known_classes
from difflr.data.folder import classes_in
from difflr_command.settings import Settings
from difflr_command.texts import TextsToNumbers

Parts = tuple[Examples, Examples | None]
OnPicture = Callable[[int, int], None]


@dataclasses.dataclass
class Data:
    """What is trained and validated on.

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
        """What was done to the data, both parts."""
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
        """A number that changes when the data does."""
        digest = hashlib.sha256()
        for part in self._parts:
            for array in (part.x, part.y):
                digest.update(f"{array.dtype} {array.shape}".encode())
                for piece in _pieces(array):
                    digest.update(piece)
        return digest.hexdigest()

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


class Source(Protocol):
    """Data of one form.

    Attributes:
        class_names: The classes in the order of the outputs; none if the targets are no labels.
        notes: What the user should know.
        info: What the model's file is to say besides.
    """

    class_names: tuple[str, ...]
    notes: list[str]
    info: difflr.models.ModelInfo

    def fitted(self, model: keras.Model) -> tuple[keras.Model, keras.Model]:
        """The model that is trained, and the one that is saved: the same layers, and others before them."""

    def read(self, on_picture: OnPicture) -> Data:
        """All of the data."""


def source(settings: Settings, model: keras.Model) -> Source:
    """The data for `model`, not read yet.

    Raises:
        ValueError: If the model does not take such data.
    """
    if len(model.inputs or [0]) != 1:
        raise ValueError(
            f"The model takes {len(model.inputs)} inputs, and only models with one can be fine-tuned here."
        )
    forms: dict[str, type[Pictures] | type[Texts] | type[Arrays]] = {
        "pictures": Pictures,
        "texts": Texts,
        "arrays": Arrays,
    }
    return forms[settings.form](settings, model)


def split(data: Data, settings: Settings) -> Data:
    """With a part of the training examples for validation, if there are none and some are asked for."""
    if data.validation is not None or not settings.validation_split:
        return data
    labels = data.train.y if data.train.class_names else np.zeros(len(data.train), "int32")
    train, held_out = difflr.data.stratified_split(labels, settings.validation_split, settings.seed)
    if not len(held_out):
        return data
    return dataclasses.replace(data, train=data.train.take(train), validation=data.train.take(held_out))


class Pictures:
    """A folder of pictures for each class."""

    def __init__(self, settings: Settings, model: keras.Model):
        shape = model.input_shape
        if not isinstance(shape, tuple) or len(shape) != 4 or shape[-1] not in (1, 3, 4):
            raise ValueError(
                f"{settings.data} holds pictures, and the model takes inputs of shape {shape}, not (batch, height, width, "
                "channels) with 1, 3 or 4 channels."
            )
        self._settings, self._channels = settings, shape[-1]
        self._scale, how = _scale(settings.scale, model)
        self._size = _size(settings, shape[1:3])
        self.class_names, _ = classes_in(settings.data)
        if settings.validation is not None:
            classes_in(settings.validation, self.class_names)
        self.notes = [f"pictures at {self._size[0]} x {self._size[1]} pixels in {self._scale}, {how}"]
        self.info = difflr.models.ModelInfo(self.class_names, "classes", "pictures", self._size, self._channels)

    def fitted(self, model: keras.Model) -> tuple[keras.Model, keras.Model]:
        """Both are the model that takes 0..255."""
        whole = difflr.models.with_scale(model, self._scale)
        return whole, whole

    def read(self, on_picture: OnPicture) -> Data:
        """Reads the pictures."""
        parts = [
            difflr.data.read_folder(
                folder, self._size, channels=self._channels, class_names=self.class_names, on_picture=on_picture
            )
            for folder in (self._settings.data, self._settings.validation)
            if folder is not None
        ]
        return Data(parts[0], parts[1] if len(parts) > 1 else None, lambda batch: batch.astype("float32"))


def _scale(asked: str | None, model: keras.Model) -> tuple[str, str]:
    """The scale of the pictures, and who converts them to it.

    Raises:
        ValueError: If it is neither asked for nor to be seen, or the model has its own.
    """
    own = difflr.data.has_own_scale(model)
    if asked is None and not own:
        known = "; ".join(f"{name} for {who}" for name, (_, who) in list(difflr.data.SCALES.items())[1:])
        raise ValueError(
            "Cannot tell how the model expects pixel values to be scaled: it begins with no Rescaling or Normalization "
            f"layer. Say it: --scale {known}."
        )
    if own and asked not in (None, "0..255"):
        raise ValueError(
            f"The model scales its pictures itself, by a Rescaling or Normalization layer: leave out --scale {asked}."
        )
    if own:
        return "0..255", "which the model scales itself"
    scale = str(asked)
    return scale, "as they are" if scale == "0..255" else "from 0..255 by a layer that is saved with the model"


def _size(settings: Settings, sides: tuple[int | None, int | None]) -> tuple[int, int]:
    """Height and width: the model's, where it has them."""
    wanted = settings.pixels
    if wanted is None and None in sides:
        raise ValueError("The model takes pictures of any size: say in which to train, such as --size 160.")
    if wanted is None:
        return int(sides[0] or 0), int(sides[1] or 0)
    if any(side not in (None, pixels) for side, pixels in zip(sides, wanted, strict=True)):
        raise ValueError(
            f"The model takes pictures of {sides[0]} x {sides[1]} pixels: leave out --size {settings.size}."
        )
    return wanted


class Texts:
    """A table with a text and a label in each row."""

    def __init__(self, settings: Settings, model: keras.Model):
        difflr.models.after_vectorization(model)  # before the texts are read
        columns = {"text_column": settings.text_column, "label_column": settings.label_column}
        self._train = difflr.data.read_table(settings.data, **columns)
        self._validation = None
        self.class_names = self._train.class_names
        if settings.validation is not None:
            self._validation = difflr.data.read_table(settings.validation, **columns, class_names=self.class_names)
        self._numbers: TextsToNumbers | None = None
        self.notes = ["texts become numbers by the model's own TextVectorization layer"]
        self.info = difflr.models.ModelInfo(self.class_names, "classes", "texts")

    def fitted(self, model: keras.Model) -> tuple[keras.Model, keras.Model]:
        """What is trained takes numbers, what is saved takes texts."""
        layer, rest = difflr.models.after_vectorization(model)
        self._numbers = TextsToNumbers(layer, rest)
        return rest, model

    def read(self, on_picture: OnPicture) -> Data:
        """The texts as numbers."""
        numbers = self._numbers
        assert numbers is not None  # `fitted` comes before
        train, *others = [
            dataclasses.replace(part, x=numbers.of(part.x))
            for part in (self._train, self._validation)
            if part is not None
        ]
        return Data(train, others[0] if others else None, numbers.batch)


class Arrays:
    """The arrays `x` and `y` of an `.npz` file."""

    def __init__(self, settings: Settings, model: keras.Model):
        labels = None if settings.targets is None else settings.targets == "labels"
        train, validation = difflr.data.read_arrays(settings.data, labels=labels)
        if settings.validation is not None:
            validation, _ = difflr.data.read_arrays(settings.validation, labels=bool(train.class_names))
        for part in filter(None, (train, validation)):
            _check_shape(model.input_shape, part.x.shape[1:])
        self._data = Data(train, validation)
        self.class_names = train.class_names
        self.info = difflr.models.ModelInfo(self.class_names, "classes" if self.class_names else "numbers")
        self.notes = []
        if train.class_names:
            known_classes(map(str, np.unique(train.y)), None, f"y of {settings.data}")
            if validation is not None and validation.y.max() > train.y.max():
                raise ValueError(
                    f"The validation data has labels up to {validation.y.max()}, training only up to {train.y.max()}."
                )
            if settings.targets is None:
                self.notes = ["y leaves out no whole number: labels (amounts to predict would be --targets numbers)"]
        elif settings.targets is None:
            self.notes = ["y is no list of labels from 0 on: amounts to predict (else say --targets labels)"]

    def fitted(self, model: keras.Model) -> tuple[keras.Model, keras.Model]:
        """Both are the model."""
        return model, model

    def read(self, on_picture: OnPicture) -> Data:
        """The arrays."""
        return self._data


def _check_shape(expected: tuple[int | None, ...], received: tuple[int, ...]) -> None:
    fits = isinstance(expected, tuple) and len(expected) - 1 == len(received)
    if not fits or any(a not in (None, b) for a, b in zip(expected[1:], received, strict=True)):
        raise ValueError(f"The model takes inputs of shape {expected}, and x holds {(None, *received)}.")


def described(path: Path, form: str, data: Data) -> str:
    """The data in a line.

    Args:
        path: Where it lies.
        form: What it is.
        data: The data.
    """
    classes = f"{counted(len(data.train.class_names), 'class', 'classes')}, " if data.train.class_names else ""
    train = counted(len(data.train), form.removesuffix("s"), form)
    return f"{path}: {classes}{train} to train on, {data.num_validation} to validate on"

"""Where the data of `difflr fine-tune` comes from: for each form a source, which knows its classes before much is read."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

import difflr
from difflr.data.examples import known_classes
from difflr.data.folder import classes_in, ready_split
from difflr.data.table import image_targets
from difflr_command import inputs
from difflr_command.choices import changes_for
from difflr_command.settings import Settings
from difflr_command.texts import TextsToNumbers


def source(settings: Settings, model: keras.Model) -> "Source":
    """The data for `model`, not read yet.

    Raises:
        ValueError: If the model does not take such data.
    """
    if len(model.inputs or [0]) != 1:
        raise ValueError(
            f"The model takes {len(model.inputs)} inputs, and only models with one can be fine-tuned here."
        )
    if settings.form == "arrays":
        return Arrays(settings, model)
    if settings.form == "images" or (settings.form == "table" and _takes_images(model)):
        return Images(settings, model)
    return Texts(settings, model)


def _takes_images(model: keras.Model) -> bool:
    shape = model.input_shape
    return isinstance(shape, tuple) and len(shape) == 4 and shape[-1] in (1, 3, 4)


class Images:
    """A folder of images for each class, or a table with paths of images and their labels."""

    form = "images"

    def __init__(self, settings: Settings, model: keras.Model):
        shape = model.input_shape
        if not _takes_images(model):
            raise ValueError(
                f"{settings.data} holds images, and the model takes inputs of shape {shape}, not (batch, height, width, "
                "channels) with 1, 3 or 4 channels."
            )
        self._channels = shape[-1]
        self._scale, how = inputs.image_scale(difflr.data.has_own_scale(model), settings.scale)
        self._size = inputs.image_size(shape[1:3], settings.pixels)
        self.notes = [f"images at {self._size[0]} x {self._size[1]} pixels in {self._scale}, {how}"]
        self.numbers: np.ndarray | None = None
        self.task = "classes"
        self._parts: list[Path] = [part for part in (settings.data, settings.validation) if part is not None]
        if settings.form == "images":
            self._open: Callable[..., difflr.data.Examples] = difflr.data.open_folder
            self._find_parts(settings)
            self._named: dict[str, Any] = {}
            self.class_names, _ = classes_in(self._parts[0])
            for part in self._parts[1:]:
                classes_in(part, self.class_names)
        else:
            inputs.only_for("tables of texts", "images", text_column=settings.text_column)
            self._open = difflr.data.open_image_table
            columns: dict[str, Any] = {"file_column": settings.file_column, "label_column": settings.label_columns}
            targets = image_targets(settings.data, **columns, targets=settings.targets)
            self.class_names, self.task = targets.class_names, targets.task
            self.notes += targets.notes
            self._named = {**columns, "targets": inputs.targets_of(targets.task)}
            self.numbers = None if self.class_names else targets.y
        self.changes: tuple[str, ...] = ()
        if not settings.no_augment:
            self.changes, note = changes_for(settings.augment, self.class_names)
            self.notes.append(note)
        names = self.class_names or (settings.label_columns if self.task == "numbers" else ())
        self.info = difflr.models.ModelInfo(tuple(names), self.task, "images", self._size, self._channels)

    def _find_parts(self, settings: Settings) -> None:
        """With train/ and val/ in the folder, those are the parts."""
        train, validation, left = ready_split(settings.data)
        if train is None:
            return
        self._parts = [part for part in (train, settings.validation or validation) if part is not None]
        if left:
            self.notes.append(
                f"{train.name}/ is trained on; not touched: {', '.join(f'{part.name}/' for part in left)}"
            )

    def fitted(self, model: keras.Model) -> tuple[keras.Model, keras.Model]:
        """Both are the model that takes 0..255."""
        whole = difflr.models.with_scale(model, self._scale)
        return difflr.models.augmented(whole, self.changes), whole

    def read(self, on_image: inputs.OnImage) -> inputs.Data:
        """Reads each image once, to see which can be read."""
        options = {"channels": self._channels, "class_names": self.class_names or None, "on_image": on_image}
        parts = [self._open(part, self._size, **options, **self._named) for part in self._parts]
        return inputs.Data(parts[0], parts[1] if len(parts) > 1 else None, _as_floats)


def _as_floats(batch: np.ndarray) -> np.ndarray:
    return batch.astype("float32")


class Texts:
    """A table with a text and a label in each row."""

    form = "texts"
    changes: tuple[str, ...] = ()

    def __init__(self, settings: Settings, model: keras.Model):
        difflr.models.after_vectorization(model)  # before the texts are read
        inputs.only_for("images", "texts", size=settings.size, scale=settings.scale, file_column=settings.file_column)
        columns: dict[str, Any] = {
            "text_column": settings.text_column or "text",
            "label_column": settings.label_columns,
        }
        self._train = difflr.data.read_table(settings.data, **columns, targets=settings.targets)
        self._validation = None
        self.class_names, self.task = self._train.class_names, self._train.task
        self.numbers = self._train.y if self.task == "numbers" else None
        if settings.validation is not None:
            self._validation = difflr.data.read_table(
                settings.validation,
                **columns,
                class_names=self.class_names or None,
                targets=inputs.targets_of(self.task),
            )
        self._numbers: TextsToNumbers | None = None
        self.notes = ["texts become numbers by the model's own TextVectorization layer"]
        self.info = difflr.models.ModelInfo(self.class_names, self.task, "texts")

    def fitted(self, model: keras.Model) -> tuple[keras.Model, keras.Model]:
        """Two models: one that trains on numbers, and one to save that takes texts."""
        layer, rest = difflr.models.after_vectorization(model)
        self._numbers = TextsToNumbers(layer, rest)
        return rest, model

    def read(self, on_image: inputs.OnImage) -> inputs.Data:
        """The texts as numbers."""
        numbers = self._numbers
        assert numbers is not None  # `fitted` comes before
        train, *others = [
            dataclasses.replace(part, x=numbers.of(np.asarray(part.x)))
            for part in (self._train, self._validation)
            if part is not None
        ]
        return inputs.Data(train, others[0] if others else None, numbers.batch)


class Arrays:
    """The arrays `x` and `y` of an `.npz` file."""

    form = "arrays"
    changes: tuple[str, ...] = ()

    def __init__(self, settings: Settings, model: keras.Model):
        train, validation = difflr.data.read_arrays(settings.data, targets=settings.targets)
        if settings.validation is not None:
            validation, _ = difflr.data.read_arrays(settings.validation, targets=inputs.targets_of(train.task))
        for part in filter(None, (train, validation)):
            inputs.check_shape(model.input_shape, part.x, settings.data)
        self._data = inputs.Data(train, validation)
        self.class_names = train.class_names
        self.task, self.numbers = train.task, None if train.class_names else train.y
        self.info = difflr.models.ModelInfo(self.class_names, self.task)
        self.notes = []
        if self.task == "classes":
            known_classes(map(str, np.unique(train.y)), None, f"y of {settings.data}")
            if validation is not None and validation.y.max() > train.y.max():
                raise ValueError(
                    f"The validation data has labels up to {validation.y.max()}, training only up to {train.y.max()}."
                )
            if settings.targets is None:
                self.notes = ["y leaves out no whole number: labels (for numbers, say --targets numbers)"]
        elif settings.targets is None and self.task == "numbers":
            self.notes = ["y is no list of labels from 0 on: numbers to predict (else say --targets labels)"]

    def fitted(self, model: keras.Model) -> tuple[keras.Model, keras.Model]:
        """Both are the model."""
        return model, model

    def read(self, on_image: inputs.OnImage) -> inputs.Data:
        """The arrays."""
        return self._data


Source = Images | Texts | Arrays

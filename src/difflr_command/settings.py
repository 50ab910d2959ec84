"""The settings of `difflr fine-tune`, and the checks that need neither Keras nor the data."""

import dataclasses
import enum
import math
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from difflr_command import known_models
from difflr_command.claim import claim
from difflr_command.data_options import can_report, columns_in, pixels
from difflr_command.trackers import trackers_in

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    Chosen = TypeVar("Chosen", bound=DataclassInstance)

# The options of fields that are called otherwise; of those that are on, the word that switches them off.
NAMES = {
    "rules": "rule",
    "recipes": "recipe",
    "augmentation": "no-augment",
    "class_weights": "no-class-weights",
}
FIELDS = {name.replace("-", "_"): field for field, name in NAMES.items()}
TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
FORMS = {**dict.fromkeys(TABLES, "table"), ".npz": "arrays"}


@dataclasses.dataclass(frozen=True)
class Settings:
    """The options of `difflr fine-tune` that decide about the run; see there."""

    model: Path
    data: Path
    plan: Path | None = None
    rules: tuple[str, ...] = ()
    recipes: tuple[str, ...] = ()
    epochs: int | None = None
    freeze_epochs: int | None = None
    learning_rate: float | str | None = None  # a number or "auto"
    batch_size: int = 32
    accumulate: int = 1
    patience: int = 5
    class_weights: bool = True
    augment: str | None = None
    augmentation: bool = True
    norm: str = "auto"
    precision: str = "auto"
    seed: int = 0
    new_head: bool = False
    features: str | None = None
    scale: str | None = None
    size: str | None = None
    text_column: str | None = None
    file_column: str | None = None
    label_column: str = "label"
    targets: str | None = None
    validation: Path | None = None
    validation_split: float = 0.2
    output: Path = Path("tuned.keras")
    report: Path | None = None
    compare: tuple[Path, ...] = ()
    log: str | None = None

    @property
    def form(self) -> str:
        """What the data is: `"pictures"`, a folder of them; `"table"`; or `"arrays"`."""
        return form_of(self.data)

    @property
    def label_columns(self) -> tuple[str, ...]:
        """The columns with the labels."""
        return columns_in(self.label_column)

    @property
    def is_named(self) -> bool:
        """Whether the model is a network of a name, which has no head and scales its pictures itself."""
        return known_models.known(self.model) is not None or known_models.is_preset(self.model)

    @property
    def with_new_head(self) -> bool:
        """Whether the model gets a new head: if that is asked for, and always if it is a network of a name."""
        return self.new_head or self.is_named

    @property
    def pixels(self) -> tuple[int, int] | None:
        """Height and width that were asked for."""
        return pixels(self.size)

    def claim_outputs(self) -> None:
        """Claims the files that the run writes.

        Raises:
            ValueError: If that cannot be.
        """
        if self.output.suffix != ".keras":
            raise ValueError(f"The tuned model is a .keras file. Received: --output {self.output}.")
        for path, what in ((self.output, "tuned model"), (self.report, "report")):
            if path is not None:
                claim(path, what)

    def check(self) -> None:
        """Checks what can be checked without the model and the data.

        Raises:
            ValueError: If something cannot be.
        """
        if isinstance(self.learning_rate, float) and not 0 < self.learning_rate < math.inf:
            raise ValueError(f"--learning-rate must be above 0. Received: {self.learning_rate}.")
        if self.augment is not None and not self.augmentation:
            raise ValueError(
                "--augment says how pictures are changed, and --no-augment that they are not: leave out one."
            )
        if self.features and not self.with_new_head:
            raise ValueError("--features says where a new head begins: give --new-head too.")
        trackers_in(self.log)
        if self.report is not None:
            can_report("--report")
        elif self.compare:
            raise ValueError("--compare is about the report: give --report too.")
        for file in self.compare:
            if not file.is_file():
                raise ValueError(f"There is no report {file} to compare with.")
        known_models.check_model(self.model)
        if self.plan is not None and not self.plan.is_file():
            raise ValueError(f"There is no plan {self.plan}.")
        self._check_data()

    def _check_data(self) -> None:
        for path, what in ((self.data, "data"), (self.validation, "validation data")):
            if path is not None and not path.exists():
                raise ValueError(f"There is no {what} at {path}.")
        if self.validation is not None and form_of(self.validation) != self.form:
            raise ValueError(
                f"--validation must be of the form of the data. Received: {self.data} and {self.validation}."
            )
        only = {
            ("scale", "size", "augment", "augmentation"): ("pictures", ("pictures", "table")),
            ("text_column", "file_column", "label_column"): ("tables", ("table",)),
            ("targets",): ("tables and .npz files", ("table", "arrays")),
        }
        for names, (owner, forms) in only.items():
            for name in names:
                if self.form not in forms and getattr(self, name) != _default(name):
                    raise ValueError(f"{option(name)} is for {owner}; {self.data} is none.")
        _ = self.pixels


def form_of(path: Path) -> str:
    """What the data at `path` is: `"pictures"`, `"table"` or `"arrays"`.

    Raises:
        ValueError: If it is none of these.
    """
    if path.is_dir():
        return "pictures"
    if path.suffix.lower() not in FORMS:
        raise ValueError(
            f"Data is a folder with a folder of pictures for each class; a table ({', '.join(TABLES)}) of texts, or of "
            f"paths of pictures, and labels; or an .npz with x and y. Received: {path}."
        )
    return FORMS[path.suffix.lower()]


def option(name: str) -> str:
    """The option for a field of `Settings`."""
    return "--" + NAMES.get(name, name).replace("_", "-")


def from_options(kind: "type[Chosen]", options: Mapping[str, Any]) -> "Chosen":
    """What a command was asked for, out of its options.

    Args:
        kind: `Settings`, or another dataclass that has a field for each option that matters.
        options: The command's arguments by name; others are left out.
    """
    known = {field.name for field in dataclasses.fields(kind)}
    values = {FIELDS.get(name, name): _plain(name, value) for name, value in options.items()}
    return kind(**{name: value for name, value in values.items() if name in known})


def _plain(name: str, value: Any) -> Any:
    if name in FIELDS and isinstance(value, bool):
        return not value
    if isinstance(value, enum.Enum):
        return str(value)
    kept = name in FIELDS or name == "compare"  # options that can be repeated
    return tuple(value or ()) if kept else value


def command(name: str, asked: "DataclassInstance", backend: str) -> str:
    """The command line of these options.

    Args:
        name: The command.
        asked: Its options; the first two are its arguments.
        backend: On which backend.
    """
    first, second, *fields = dataclasses.fields(asked)
    words = ["difflr", "--backend", backend, name, str(getattr(asked, first.name)), str(getattr(asked, second.name))]
    for field in fields:
        value = getattr(asked, field.name)
        if value == field.default:
            continue
        for one in value if isinstance(value, tuple) else (value,):
            words += [option(field.name)] if isinstance(one, bool) else [option(field.name), str(one)]
    return shlex.join(words)


def _default(name: str) -> object:
    return next(field.default for field in dataclasses.fields(Settings) if field.name == name)

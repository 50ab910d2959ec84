"""The options about model and data that commands share, and the checks of what they say."""

import enum
import importlib.util
import pathlib
import re
from typing import Annotated

import typer

DATA, RUN = "Model and data", "Training"


class Scale(enum.StrEnum):
    """The names in `difflr.data.SCALES`, which is not at hand before Keras is imported."""

    BYTES = "0..255"
    UNIT = "0..1"
    SIGNED = "-1..1"
    IMAGENET = "imagenet"
    CAFFE = "caffe"


class Targets(enum.StrEnum):
    """What the labels in a table, or `y` of an `.npz` file, are."""

    LABELS = "labels"
    SEVERAL = "several"
    NUMBERS = "numbers"


TrainedModel = Annotated[
    pathlib.Path, typer.Argument(metavar="MODEL", help="A .keras file, from `difflr fine-tune` or elsewhere.")
]
BatchSize = Annotated[int, typer.Option(min=1, help="Examples per step.", rich_help_panel=RUN)]
BatchToPredict = Annotated[int, typer.Option("--batch-size", min=1, help="Examples per forward pass.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, and everything else on stderr.")]
Seed = Annotated[
    int,
    typer.Option(
        min=0, max=2**32 - 1, help="The seed of the new head, the split, the order and dropout.", rich_help_panel=RUN
    ),
]
NewHead = Annotated[
    bool,
    typer.Option("--new-head", help="Give the model a new head for the classes in DATA.", rich_help_panel=DATA),
]
Features = Annotated[
    str | None,
    typer.Option(
        metavar="LAYER", help="With --new-head: the layer whose output feeds the new head.", rich_help_panel=DATA
    ),
]
ScaleOfImages = Annotated[
    Scale | None,
    typer.Option(
        metavar="SCALE",
        help="The range of pixel values that the model expects: 0..255, 0..1, -1..1, imagenet or caffe. Default: 0..255 "
        "if `difflr fine-tune` wrote the model, or it begins with a Rescaling or Normalization layer; required otherwise.",
        rich_help_panel=DATA,
    ),
]
SizeOfImages = Annotated[
    str | None,
    typer.Option(metavar="N or HxW", help="Image size in pixels, if the model accepts any size.", rich_help_panel=DATA),
]
TextColumn = Annotated[
    str | None, typer.Option(help="The column with the texts. [default: text]", rich_help_panel=DATA)
]
FileColumn = Annotated[
    str | None,
    typer.Option(
        help="The column with the paths of images. [default: file, path, image or similar]",
        rich_help_panel=DATA,
    ),
]
LabelColumn = Annotated[
    str,
    typer.Option(
        help="The column with the labels; or several, separated by commas: numbers, or 0 and 1 for one label each.",
        rich_help_panel=DATA,
    ),
]
KindOfTargets = Annotated[
    Targets | None,
    typer.Option(
        help="The kind of labels: one per example (labels), any number per example (several), or numbers to predict "
        "(numbers). By default the kind is guessed and printed.",
        rich_help_panel=DATA,
    ),
]


def pixels(size: str | None) -> tuple[int, int] | None:
    """Height and width.

    Args:
        size: The option `--size`.

    Raises:
        ValueError: If `size` is neither a number nor two.
    """
    if size is None:
        return None
    found = re.fullmatch(r"([1-9]\d*)(?:x([1-9]\d*))?", size.strip().lower())
    if not found:
        raise ValueError(f"--size is a number of pixels, or height x width, such as 160 or 120x160. Received: {size}.")
    return int(found[1]), int(found[2] or found[1])


def columns_in(label_column: str) -> tuple[str, ...]:
    """The columns with the labels.

    Args:
        label_column: The option `--label-column`.

    Raises:
        ValueError: If it has no name, or one twice.
    """
    names = tuple(name.strip() for name in label_column.split(",") if name.strip())
    if not names or len(set(names)) < len(names):
        raise ValueError(f"--label-column is a name, or several with commas between them. Received: {label_column!r}.")
    return names


def can_report(option: str) -> None:
    """Checks that pages and plots can be made.

    Raises:
        ValueError: If a package is not installed.
    """
    for name in ("jinja2", "matplotlib"):
        if importlib.util.find_spec(name) is None:
            raise ValueError(f'{option} needs {name}: pip install "difflr[report]"')

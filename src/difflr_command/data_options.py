"""The options about model and data that `fine-tune` and `suggest` share."""

import enum
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


BatchSize = Annotated[int, typer.Option(min=1, help="Examples in a step.", rich_help_panel=RUN)]
Seed = Annotated[
    int, typer.Option(min=0, help="Of the new head, the split, the order and dropout.", rich_help_panel=RUN)
]
NewHead = Annotated[
    bool,
    typer.Option("--new-head", help="Give the model a new last layer for the classes in DATA.", rich_help_panel=DATA),
]
Features = Annotated[
    str | None,
    typer.Option(
        metavar="LAYER", help="With --new-head: the layer after which the new one comes.", rich_help_panel=DATA
    ),
]
ScaleOfPictures = Annotated[
    Scale | None,
    typer.Option(
        metavar="SCALE",
        help="The numbers that the model wants pictures in: 0..255, 0..1, -1..1, imagenet or caffe. "
        "By default 0..255 if it begins with a Rescaling or Normalization layer; else you have to say.",
        show_default=False,
        rich_help_panel=DATA,
    ),
]
SizeOfPictures = Annotated[
    str | None,
    typer.Option(metavar="N or HxW", help="Pixels, if the model takes pictures of any size.", rich_help_panel=DATA),
]
TextColumn = Annotated[
    str | None,
    typer.Option(
        help="The column of a table with the texts. [default: text]", show_default=False, rich_help_panel=DATA
    ),
]
FileColumn = Annotated[
    str | None,
    typer.Option(
        help="The column of a table with the paths of pictures. [default: file, path, image or the like]",
        show_default=False,
        rich_help_panel=DATA,
    ),
]
LabelColumn = Annotated[
    str,
    typer.Option(
        help="The column of a table with the labels; or several, with commas between them: amounts, or 0 and 1 for a "
        "label each.",
        rich_help_panel=DATA,
    ),
]
KindOfTargets = Annotated[
    Targets | None,
    typer.Option(
        help="What the labels of a table, or y of an .npz, are: labels, one for each example; several, any number for "
        "each; or numbers to predict. By default what they look like, which is said.",
        show_default=False,
        rich_help_panel=DATA,
    ),
]

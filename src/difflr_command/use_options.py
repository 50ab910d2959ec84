"""The options that `evaluate`, `predict` and `export` share."""

import importlib.util
import re
from typing import Annotated

import typer

from difflr_command.data_options import Scale

OTHER = "A model that difflr did not write"

BatchSize = Annotated[int, typer.Option(min=1, help="Examples that are predicted at once.")]
ScaleOfPictures = Annotated[
    Scale | None,
    typer.Option(
        metavar="SCALE",
        help="The numbers that the model wants pictures in: 0..255, 0..1, -1..1, imagenet or caffe. What `difflr fine-tune` "
        "wrote, and a model that begins with a Rescaling or Normalization layer, takes 0..255.",
        show_default=False,
        rich_help_panel=OTHER,
    ),
]
SizeOfPictures = Annotated[
    str | None,
    typer.Option(metavar="N or HxW", help="Pixels, if the model takes pictures of any size.", rich_help_panel=OTHER),
]
TextColumn = Annotated[str, typer.Option(help="The column with the texts.")]
LabelColumn = Annotated[str, typer.Option(help="The column with the labels.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, and all else on stderr.")]


def pixels(size: str | None) -> tuple[int, int] | None:
    """Height and width.

    Raises:
        ValueError: If `size` is neither a number nor two.
    """
    if size is None:
        return None
    found = re.fullmatch(r"([1-9]\d*)(?:x([1-9]\d*))?", size.strip().lower())
    if not found:
        raise ValueError(f"--size is a number of pixels, or height x width, such as 160 or 120x160. Received: {size}.")
    return int(found[1]), int(found[2] or found[1])


def can_report(option: str) -> None:
    """Checks that pages and plots can be made.

    Raises:
        ValueError: If a package is not installed.
    """
    for name in ("jinja2", "matplotlib"):
        if importlib.util.find_spec(name) is None:
            raise ValueError(f'{option} needs {name}: pip install "difflr[report]"')

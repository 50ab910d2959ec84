"""`difflr models`."""

from typing import Annotated

import typer

from difflr_command import console
from difflr_command.known_models import KNOWN

WHO_SCALES = "itself"


def models(
    name: Annotated[str, typer.Argument(metavar="PART", help="Only those whose name contains this.")] = "",
    hub: Annotated[
        bool, typer.Option("--hub", help="Also KerasHub's presets for images, if KerasHub is installed.")
    ] = False,
) -> None:
    """List the pretrained networks to name instead of a .keras file.

    All were trained on ImageNet and get a new head for your classes. difflr scales images as each network expects.
    """
    with console.bad_input():
        lines = [
            [
                entry.name,
                f"{entry.parameters / 1e6:.1f} M",
                f"{entry.size} x {entry.size}",
                entry.scale if entry.scale != "0..255" else WHO_SCALES,
                "here" if entry.is_here else "",
            ]
            for entry in KNOWN
        ]
        if hub:
            lines += _presets()
        lines = [line for line in lines if name.lower() in line[0].lower()]
        if not lines:
            raise ValueError(f"No network's name contains '{name}'. `difflr models` lists them all.")
        from difflr_command.table import print_table
    header = ["name", "parameters", "images", "scaled", "weights"]
    print_table(console.output(), header, lines, left=("name",), optional=("weights", "scaled"))
    console.output().print(
        "\nWeights that are not here are fetched once. `difflr fine-tune NAME images/` trains one of them."
    )


def _presets() -> list[list[str]]:
    """KerasHub's presets for images."""
    from difflr_command.hub import image_presets

    return [[name, f"{number / 1e6:.1f} M", "", "by the preset", ""] for name, number in image_presets().items()]

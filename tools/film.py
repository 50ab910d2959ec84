"""Makes docs/images/command_line.svg: a terminal in which 60 images of two things become a network in use.

`python tools/film.py`, with the extras `cli` and `report`. The commands are run as shown, on handwritten digits and a small
pretrained network out of two packages on PyPI (`difflr demo --export` has them, too), and their lines appear in the order
and at a fixed fraction of the time in which they came.
Whoever has asked for less motion sees the last image at once.
"""

import io
import os
import re
import shlex
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

from PIL import Image
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

OUTPUT = Path(__file__).parents[1] / "docs" / "images" / "command_line.svg"
WIDTH = 100  # columns
FASTER = 6.0
PAUSE = 1.2  # seconds before a command is "typed"
COMMANDS = (
    "difflr fine-tune squeezenet images --size 96 --epochs 8 -o two.keras --report two.html",
    "difflr evaluate two.keras others",
    "difflr predict two.keras others/three/30.png others/eight/30.png --top 2",
)


def write_images(folder: Path) -> None:
    """30 images of either thing to train on, and 20 others."""
    from difflr.demo import digits

    images, labels = digits.load()
    for name, digit in (("three", 3), ("eight", 8)):
        chosen = images[labels == digit][:50]
        for number, image in enumerate(chosen):
            below = folder / ("images" if number < 30 else "others") / name
            below.mkdir(parents=True, exist_ok=True)
            image = Image.fromarray(255 - image[..., 0]).resize((112, 112), Image.Resampling.BICUBIC)
            image.save(below / f"{number:02d}.png")


def run(command: str, folder: Path) -> list[tuple[float, str]]:
    """What a command prints, and when, in seconds after it began."""
    program = [sys.executable, "-c", "from difflr_command import main; main()"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8", "COLUMNS": str(WIDTH)}
    start, lines = time.perf_counter(), []
    with subprocess.Popen(
        [*program, *shlex.split(command)[1:]],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
    ) as running:
        for line in running.stdout or ():
            lines.append((time.perf_counter() - start, line.rstrip("\n")))
    if running.returncode:
        raise SystemExit("\n".join(line for _, line in lines))
    return lines


def film(folder: Path) -> tuple[list[Text], list[float]]:
    """The lines, and when each appears."""
    lines, times, now = [], [], -1.0  # the first is there almost at once
    for command in COMMANDS:
        now += PAUSE
        lines.append(Text.assemble(("$ ", "bold green"), (command, "bold")))
        times.append(now)
        printed = run(command, folder)
        for after, line in printed:
            for part in textwrap.wrap(line, WIDTH, replace_whitespace=False, drop_whitespace=False) or [""]:
                lines.append(Text(part.rstrip()))
                times.append(now + 0.4 + after / FASTER)
        lines.append(Text(""))
        now = times[-1]
        times.append(now)
    return lines, times


def animated(svg: str, times: list[float]) -> str:
    """The lines of rich's SVG, one after the other."""
    style = ["@keyframes appear { from { opacity: 0 } to { opacity: 1 } }"]
    style.append("@media (prefers-reduced-motion: no-preference) {")
    parts = re.split(r"(<text [^>]*-line-\d+\)\">)", svg)
    for number, part in enumerate(parts):
        found = re.search(r"-line-(\d+)\)", part) if part.startswith("<text ") else None
        if found:
            delay = times[min(int(found[1]), len(times) - 1)]
            parts[number] = part.replace("<text ", f'<text style="animation-delay: {delay:.2f}s" ', 1)
    style += ["  text[style] { animation: appear 0.01s backwards; }", "}"]
    return "".join(parts).replace("</style>", "\n".join(["", *style, "    </style>"]), 1)


def main() -> None:
    """Makes the film."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_images(folder)
        lines, times = film(folder)
    console = Console(record=True, width=WIDTH, file=io.StringIO(), color_system="truecolor", force_terminal=True)
    for line in lines:
        console.print(line, no_wrap=True)
    svg = console.export_svg(title="60 images of two things", theme=MONOKAI, unique_id="film")
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)  # which would be fetched from the network
    OUTPUT.write_text(animated(svg, times), encoding="utf-8")
    print(f"{OUTPUT}: {len(lines)} lines, {times[-1]:.0f} s")


if __name__ == "__main__":
    main()

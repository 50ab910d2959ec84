"""docs/cost.md from the numbers in docs/measured/cost/: a section for each device."""

import json
import re
from pathlib import Path
from typing import Any

from benchmarks import pictures, tables

TEMPLATE = Path(__file__).with_name("cost_template.md")


def slug(name: str) -> str:
    """A device's name as part of a file's: `NVIDIA H100` becomes `nvidia-h100`."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def write(docs: Path) -> Path:
    """Writes the page and its pictures from all numbers in `docs`/measured/cost."""
    files = sorted((docs / "measured" / "cost").glob("*.json"), key=lambda file: (file.stem != "cpu", file.stem))
    sections = [section(json.loads(file.read_text()), file.stem, docs) for file in files]
    page = docs / "cost.md"
    page.write_text(TEMPLATE.read_text().replace("{{ sections }}", "\n\n".join(sections)))
    return page


def section(device: dict[str, Any], name: str, docs: Path) -> str:
    """All about one device."""
    drawn = pictures.draw(device, docs / "images" / f"cost-steps-{name}.png")
    image = f"![Step time against the number of groups, both axes logarithmic](images/{drawn.name})" if drawn else ""
    text = [f"## On {device['device']}", tables.ratio_table(device), image, tables.failures(device)]
    text.append(f"{dates(device)} [All numbers](measured/cost/{name}.json)")
    return "\n\n".join(part for part in text if part)


def dates(device: dict[str, Any]) -> str:
    """When each backend was measured, and with which versions."""
    measured = [part for part in device["backends"].values() if "versions" in part]
    versions = {f"{name} {version}": None for part in measured for name, version in part["versions"].items()}
    return f"Measured {max(part['date'] for part in measured)} with {', '.join(versions)}." if measured else ""

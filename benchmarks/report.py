"""docs/cost.md from the numbers in docs/measured/cost/: a section for each device."""

import json
import re
from pathlib import Path
from typing import Any

from benchmarks import pictures, tables, targets
from benchmarks.folding import folded

TEMPLATE = Path(__file__).with_name("cost_template.md")
PICTURES = {
    "steps": "Step time against the number of groups, both axes logarithmic",
    "compiling": "Time to trace and compile against the number of groups, both axes logarithmic",
    "frozen": "Time of a training step against the number of frozen blocks, frozen by a plan and by hand",
}
PARTS = [
    ("Targets", None, targets.target_table, None),
    ("Step time", "steps", tables.step_tables, "steps"),
    ("Distance to the limit of the memory", None, tables.limit_table, "steps"),
    ("Optimizer state", None, tables.state_table, "steps"),
    ("Compiling", "compiling", tables.compile_table, "steps"),
    ("Other optimizers", None, tables.optimizer_table, "optimizers"),
    ("Frozen layers", "frozen", tables.frozen_table, "frozen"),
    ("Whole training steps", None, tables.fit_table, "fit"),
    ("Peak memory", None, tables.memory_table, "memory"),
    ("Resolving a plan", None, tables.plan_table, "plans"),
    ("Importing", None, tables.import_table, "import_seconds"),
]


def slug(name: str) -> str:
    """A device's name as part of a file's: `NVIDIA H100` becomes `nvidia-h100`."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def write(docs: Path) -> Path:
    """Writes the page and its pictures from all numbers in `docs`/measured/cost."""
    files = sorted((docs / "measured" / "cost").glob("*.json"), key=lambda file: (file.stem != "cpu", file.stem))
    sections = [section(json.loads(file.read_text()), file.stem, docs) for file in files]
    links = ", ".join(f"[{file.name}](measured/cost/{file.name})" for file in files)
    text = TEMPLATE.read_text().replace("{{ sections }}", "\n\n".join(sections)).replace("{{ files }}", links)
    page = docs / "cost.md"
    page.write_text(text)
    return page


def section(device: dict[str, Any], name: str, docs: Path) -> str:
    """All about one device."""
    drawn = pictures.draw_all(device, docs / "images", name)
    text = [f"## Measured on: {device['device']}", tables.version_table(device)]
    for title, picture, make, needs in PARTS:
        if needs is None or tables.results_of(device, needs):
            image = f"![{PICTURES[picture]}](images/{drawn[picture]})\n\n" if picture in drawn else ""
            text.append(image + folded(title, make(device)))
    text.append(tables.failures(device))
    return "\n\n".join(each for each in text if each)

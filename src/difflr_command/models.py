"""Models from files, and plans on the screen."""

import importlib
import json
import zipfile
from pathlib import Path
from typing import Any

import keras
from rich import box
from rich.console import Console
from rich.table import Table

import difflr
from difflr.plan.table import footer, table_rows

NARROW = 110


def load(file: Path, compile: bool = False) -> keras.Model:
    """The model in a `.keras` file, loaded safely: no code in it is run.

    Raises:
        ValueError: If there is no such file, or it cannot be loaded; the message says what to do.
    """
    if not file.is_file():
        raise ValueError(f"There is no model file {file}.")
    if file.suffix != ".keras":
        raise ValueError(
            f"A model is a .keras file. Received: {file}. In Python: "
            f"keras.saving.load_model('{file.name}').save('{file.stem}.keras')"
        )
    if not zipfile.is_zipfile(file):
        raise ValueError(f"{file} is damaged, or no .keras file. Write it by model.save('{file.name}').")
    _import_keras_hub(file)
    try:
        model = keras.saving.load_model(file, compile=compile, safe_mode=True)
    except Exception as error:
        raise ValueError(_why_not(file, error)) from error
    if not isinstance(model, keras.Model):
        raise ValueError(f"{file} holds a {type(model).__name__}, not a model.")
    return model


def _import_keras_hub(file: Path) -> None:
    """Registers the layers of KerasHub, if the file needs them and it is installed."""
    with zipfile.ZipFile(file) as archive:
        if "config.json" in archive.namelist() and b"keras_hub" in archive.read("config.json"):
            try:
                importlib.import_module("keras_hub")
            except ImportError:
                raise ValueError(f"{file} needs KerasHub: pip install keras-hub") from None


def _why_not(file: Path, error: Exception) -> str:
    text = " ".join(str(error).split())
    if "lambda" in text.lower() and "safe" in text.lower():
        return (
            f"{file} holds a Lambda layer, that is Python code, which is not run from a file. Put a registered layer in "
            "its place and save the model anew, or fine-tune it in Python: difflr.fine_tune."
        )
    if "Could not locate" in text or "Unknown" in text:
        return f"{file} needs Python code that is not in Keras: use difflr.fine_tune there. ({text[:200]})"
    return f"{file} cannot be loaded: {text[:300]}"


def print_plan(console: Console, plan: difflr.Plan, learning_rate: float | None = None) -> None:
    """The plan's table: on a terminal as wide as that is, else as `print(plan)` has it."""
    if not console.is_terminal:
        console.print(plan.table(learning_rate))
        return
    header, lines = table_rows(plan, learning_rate)
    if console.width < NARROW:
        header, lines = header[:1] + header[2:], [line[:1] + line[2:] for line in lines]  # without the number
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for number, title in enumerate(header):
        left = number in (0, len(header) - 1)
        title = title if left else title.replace(" ", "\n")
        table.add_column(title, justify="left" if left else "right", overflow="fold", no_wrap=not left)
    for line in lines:
        table.add_row(*line)
    console.print(table)
    console.print(footer(plan, learning_rate))


def plan_as_data(plan: difflr.Plan) -> Any:
    """The plan as plain data, as `Plan.to_json` has it."""
    return json.loads(plan.to_json())

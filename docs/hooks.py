"""Fills in what only Python knows: `{{ names: difflr.layers }}` becomes the public names there."""

import importlib
import re
from typing import Any


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by MkDocs for every page."""
    return re.sub(r"\{\{ names: ([\w.]+) \}\}", lambda found: names_in(found[1]), markdown)


def names_in(module: str) -> str:
    """The public names of `module`, in its own order."""
    return ", ".join(f"`{name}`" for name in importlib.import_module(module).__all__)

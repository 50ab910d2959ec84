"""Fills in what only Python knows: lists of public names, and where a public function is defined.

`{{ names: difflr.layers }}` becomes the names there. `::: difflr.verify` becomes `::: difflr.verification.verify.verify`, as
mkdocstrings would show the module of that name instead of the function; so do the `members` of a folder.
"""

import importlib
import inspect
import pkgutil
import re
import sys
from typing import Any

ANY = r'<code><span title="(?:typing\.)?(?:Any|object)">(?:Any|object)</span></code>'
CONSTANT = re.compile(
    r'(?<=default:)(\s*<code>(?:<span[^>]*>)?)([A-Z_]+)(?=</)|(<span class="o">=</span><span class="n">)([A-Z_]+)(?=</span>)'
)
MEMBERS = re.compile(r"^::: (?P<folder>[\w.]+)\n    options:\n      members: \[(?P<names>\w[^\]]*)\]\n", re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by MkDocs for every page."""
    markdown = re.sub(r"\{\{ names: ([\w.]+) \}\}", lambda found: names_in(found[1]), markdown)
    markdown = MEMBERS.sub(apart, markdown)
    return re.sub(r"^::: (difflr\.[\w.]+)$", lambda found: f"::: {defined(found[1])}", markdown, flags=re.MULTILINE)


def on_post_page(output: str, **_: Any) -> str:
    """Called by MkDocs for every page as HTML: no `Any`, whose text says more, and the values of constants."""
    output = re.sub(rf"\({ANY}\)", "", re.sub(rf"{ANY}, (?=default:)", "", output))
    return CONSTANT.sub(lambda found: (found[1] or found[3]) + value_of(found[2] or found[4]), output)


def value_of(name: str) -> str:
    """The value of a constant of difflr, if it has only one; else its name."""
    modules = [vars(module) for path, module in sys.modules.items() if path.startswith("difflr")]
    values = {repr(names[name]) for names in modules if isinstance(names.get(name), (str, int, tuple))}
    return values.pop() if len(values) == 1 else name


def names_in(module: str) -> str:
    """The public names of `module`, in its own order."""
    return ", ".join(f"`{name}`" for name in importlib.import_module(module).__all__)


def apart(found: re.Match[str]) -> str:
    """The docstring of a folder, and then its members one by one; those of a class stay with it."""
    if not inspect.ismodule(pkgutil.resolve_name(found["folder"])):
        return found[0]
    members = "".join(f"\n::: {found['folder']}.{name.strip()}\n" for name in found["names"].split(","))
    hidden = "      show_root_heading: false\n      show_root_toc_entry: false\n"
    return f"::: {found['folder']}\n    options:\n      members: []\n{hidden}{members}"


def defined(name: str) -> str:
    """The full name of a function or class, from where it is defined."""
    module, _, attribute = name.rpartition(".")
    thing = getattr(importlib.import_module(module), attribute)
    return f"{thing.__module__}.{thing.__qualname__}" if inspect.isroutine(thing) or inspect.isclass(thing) else name

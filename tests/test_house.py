"""What a contributor forgets: the changelog, `__all__`, the documentation, a light import."""

import inspect
import json
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import difflr

ROOT = Path(__file__).parents[1]
NAMESPACES = (
    "difflr",
    "difflr.callbacks",
    "difflr.choosing",
    "difflr.data",
    "difflr.depth",
    "difflr.fine_tuning",
    "difflr.interop",
    "difflr.layers",
    "difflr.models",
    "difflr.optimizers",
    "difflr.phases",
    "difflr.plan",
    "difflr.recipes",
    "difflr.report",
    "difflr.schedules",
    "difflr.verification",
)
HEAVY = ("jax", "jinja2", "matplotlib", "optax", "PIL", "tensorflow", "torch", "typer")


def public_names():
    """Every public name, as (namespace, name)."""
    return [(namespace, name) for namespace in NAMESPACES for name in pkgutil.resolve_name(namespace).__all__]


def test_version_is_the_changelogs_newest():
    headings = re.findall(r"^## \[(\d[^\]]*)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == difflr.__version__
    assert f"\nversion: {difflr.__version__}\n" in (ROOT / "CITATION.cff").read_text()


@pytest.mark.parametrize(("namespace", "name"), public_names())
def test_public_name_is_there_and_says_what_it_is(namespace, name):
    thing = getattr(pkgutil.resolve_name(namespace), name)
    documentation = thing.__doc__ if hasattr(thing, "__doc__") else type(thing).__doc__
    assert documentation, f"{namespace}.{name} has no docstring"
    assert documentation.strip()


def test_all_is_complete():
    assert len(set(difflr.__all__)) == len(difflr.__all__)
    ours = {
        name
        for name, thing in vars(difflr).items()
        if not name.startswith("_")
        and not inspect.ismodule(thing)
        and getattr(thing, "__module__", type(thing).__module__).startswith("difflr")
    }
    assert ours <= set(difflr.__all__)


def test_the_reference_has_every_public_name_and_no_other():
    page = "\n".join(path.read_text() for path in (ROOT / "docs" / "reference").glob("*.md"))
    documented = set(re.findall(r"^::: ([\w.]+)", page, re.MULTILINE))
    for folder, names in re.findall(r"^::: ([\w.]+)\n    options:\n      members: \[(.*)\]", page, re.MULTILINE):
        documented |= {f"{folder}.{name}" for name in names.split(", ") if name}
    made_of_keras = ("difflr.layers", "difflr.optimizers")  # their pages list these names
    missing = [
        f"{namespace}.{name}"
        for namespace, name in public_names()
        if not {f"{namespace}.{name}", f"difflr.{name}"} & documented and namespace not in made_of_keras
    ]
    assert not missing, f"docs/reference/ lacks {missing}: add '::: NAME' to the page of its folder"
    public = {f"{namespace}.{name}" for namespace, name in public_names()}
    others = documented - public - set(NAMESPACES)  # of a class some methods, so that they exist
    others -= {name for name in others if name.rpartition(".")[0] in public and pkgutil.resolve_name(name)}
    assert not others, f"docs/reference/ has {others}, in no `__all__`"


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "Makefile", "noxfile.py", "pyproject.toml", ".ci/run"])
def test_paths_that_are_named_exist(page):
    text = (ROOT / page).read_text()
    paths = set(re.findall(r"\b(?:src|tests|tools|docs|benchmarks|examples)/[\w/]+(?:\.(?:py|md|json))?\b", text))
    missing = sorted(path for path in paths - {"benchmarks/results"} if not (ROOT / path).exists())
    assert not missing, f"{page} names {missing}, which are not there"


def headings(page):
    """The anchors of a Markdown page, as GitHub makes them."""
    found = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", heading.lower().strip())) for heading in found}


@pytest.mark.same_everywhere
@pytest.mark.parametrize("page", [*ROOT.glob("*.md"), *ROOT.glob("examples/*.md")], ids=lambda page: page.name)
def test_links_outside_the_site_lead_somewhere(page):
    """MkDocs checks those of docs/."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for link in re.findall(r"\]\((?!https?:|mailto:)([^)\s]+)\)", text):
        file, _, anchor = link.partition("#")
        target = page.parent / file if file else page
        assert target.exists(), f"{page.name} links to {link}, which is not there"
        assert not anchor or anchor in headings(target), f"{page.name} links to {link}: no such heading"


@pytest.mark.same_everywhere
def test_import_brings_nothing_heavy_that_keras_does_not_and_no_folder_before_its_use():
    code = """
import json, sys, keras
before = set(sys.modules)
import difflr
brought = set(sys.modules) - before
folders = sorted(name for name in difflr._LATE if f"difflr.{name}" in brought)
assert difflr.phases.Phase is difflr.Phase and difflr.suggest is difflr.choosing.suggest
print(json.dumps([sorted({name.split(".")[0] for name in brought}), folders]))
"""
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    packages, folders = json.loads(printed.splitlines()[-1])
    assert not set(packages) & set(HEAVY)
    assert folders == []

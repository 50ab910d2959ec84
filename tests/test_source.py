"""Rules of the house about files, names and types, counted over the source."""

import ast
import inspect
import pkgutil
import re
from collections import Counter, defaultdict

import pytest

from source import FILES, ROOT, listed
from test_house import NAMESPACES

pytestmark = pytest.mark.same_everywhere

LONGEST = 400
MOST_ANY = 1 / 12
# The share of words that say nothing, and the number of words that have a better one.
MOST_OF_WORDS = 0.003
MOST_OF_OTHER_WORDS = 0

WORDS = {"each", "mine", "theirs", "told", "tell", "said", "strange", "stranger", "everybody", "somebody", "nobody"}
# One word per concept, the field's own: see the glossary in CONTRIBUTING.md.
OTHER_WORDS = {
    r"(?<!chain[-_])thaw\w*": "unfreeze",  # chain-thaw is the published name of a way to do it
    r"newcomers?": "newly unfrozen variable",
    r"lanes?|lanes_of": "layer, or row",
    r"habits?": "convention",
    r"laid": "stacked, drawn, opened",
}
# Files of a family, of which none gives the name.
FAMILIES = {
    "difflr.interop.plan_as_data": "rules as plain data and as YAML, from it and to it",
    "difflr.layers": "made of all layers of Keras",
    "difflr.optimizers": "made of all optimizers of Keras",
    "difflr.layers.declaring": "the two parts of every class there",
    "difflr.plan.schedule": "the base of all schedules, and the one that plans know themselves",
    "difflr.phases.ready_made": "a handful of functions of three lines",
    "difflr.recipes.biases_and_norms": "two recipes of three lines",
    "difflr.verification.judgment": "what is found, and the error that says so",
}


def test_no_file_is_too_long():
    lengths = {file.path.relative_to(ROOT): len(file.path.read_text().splitlines()) for file in FILES}
    found = [f"{path}: {number} lines" for path, number in lengths.items() if number > LONGEST]
    assert not found, f"more than {LONGEST} lines; find the second subject and give it a file:{listed(found)}"


def test_no_conflict_is_left_from_a_merge():
    marker = re.compile(r"^[ \t]*(<{7} |>{7} |={7}$)", re.MULTILINE)
    places = [ROOT / name for name in ("src", "tests", "docs", "benchmarks", "examples", "tools")]
    files = [
        *ROOT.glob("*.md"),
        *(path for place in places for path in place.rglob("*") if path.suffix in (".py", ".md")),
    ]
    found = [str(path.relative_to(ROOT)) for path in files if marker.search(path.read_text())]
    assert not found, f"a merge left its markers:{listed(found)}"


def test_a_file_is_named_after_what_is_public_in_it():
    """One of its public names is, or has in it, the name of the file: `plan/rows.py` holds `Row`."""
    public = defaultdict(set)
    for namespace in NAMESPACES:
        module = pkgutil.resolve_name(namespace)
        for name in module.__all__:
            if inspect.isroutine(thing := getattr(module, name)) or inspect.isclass(thing):
                public[thing.__module__].add(name)
    found = [
        f"src/{module.replace('.', '/')}.py:1 holds {', '.join(sorted(names)[:5])}"
        for module, names in sorted(public.items())
        if module not in FAMILIES and not any(like(name, module.split(".")[-1]) for name in names)
    ]
    assert not found, f"name these files after one of the names in them, or add a family:{listed(found)}"


def like(name, stem):
    name, stem = (text.lower().replace("_", "") for text in (name, stem))
    return name in stem or stem in name


def bound(file):
    """The nodes of a file that give something a name, with the name."""
    for node in ast.walk(file.tree):
        if isinstance(node, (ast.Name, ast.Attribute)) and isinstance(node.ctx, ast.Store):
            yield node, node.id if isinstance(node, ast.Name) else node.attr
        elif isinstance(node, ast.arg):
            yield node, node.arg
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node, node.name


def test_names_say_what_they_hold():
    """`variable` or `row` instead of `each`; `own` and `other` instead of `mine` and `theirs`."""
    names = [(file, node, name) for file in FILES for node, name in bound(file)]
    found = [(file, node, name) for file, node, name in names if WORDS & set(name.strip("_").split("_"))]
    share = len(found) / len(names)
    worst = Counter(file.path.relative_to(ROOT) for file, _, _ in found).most_common(10)
    lines = [f"{path}: {number}" for path, number in worst] + [file.at(node, name) for file, node, name in found]
    assert share <= MOST_OF_WORDS, f"{share:.2%} of the names are among {sorted(WORDS)}:{listed(lines)}"


def test_one_word_for_one_thing():
    found = []
    for file in FILES:
        for number, line in enumerate(file.path.read_text().splitlines(), start=1):
            for words, better in OTHER_WORDS.items():
                hits = re.findall(rf"\b(?:{words})\b", line, re.IGNORECASE)
                found += [f"{file.path.relative_to(ROOT)}:{number} {hit}: say {better}" for hit in hits]
    assert len(found) <= MOST_OF_OTHER_WORDS, f"{len(found)} words for what has another name here:{listed(found)}"


def parameters():
    """Every parameter but `self`, `*args` and `**kwargs`: (file, node)."""
    for file in FILES:
        for function in file.nodes(ast.FunctionDef, ast.AsyncFunctionDef):
            arguments = function.args
            for node in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]:
                if node.arg not in ("self", "cls"):
                    yield file, node


def is_any(annotation):
    """`Any` itself or as one of several; not a container of it."""
    return annotation is not None and "Any" in re.sub(r"\[.*\]", "", ast.unparse(annotation)).split(" | ")


def test_parameters_have_types():
    every = list(parameters())
    found = [(file, node) for file, node in every if is_any(node.annotation)]
    share = len(found) / len(every)
    worst = Counter(file.path.relative_to(ROOT) for file, _ in found).most_common(10)
    lines = [f"{path}: {number}" for path, number in worst] + [file.at(node, node.arg) for file, node in found]
    assert share <= MOST_ANY, f"{len(found)} of {len(every)} parameters are typed Any ({share:.1%}):{listed(lines)}"


def test_parameters_typed_any_are_told_from_containers():
    types = {
        "Any": True,
        "Any | None": True,
        "list[Any]": False,
        "dict[str, Any]": False,
        "int | Any": True,
        "int": False,
    }
    assert {text: is_any(ast.parse(text, mode="eval").body) for text in types} == types

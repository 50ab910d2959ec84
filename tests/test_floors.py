"""The folders stand on floors: an import goes down, also inside a function; what is private stays in its folder."""

import ast
import functools
from collections import defaultdict
from collections.abc import Iterator

import keras
import pytest

import difflr
from source import FILES, SRC, is_private, listed, of_self

pytestmark = pytest.mark.same_everywhere

# From the ground up. A folder imports from itself and from the floors below its own.
FLOORS = (
    {"keras_private", "checks", "files", "text_table"},
    {"signatures"},
    {"plan", "yaml_text"},
    {"schedules", "depth", "layers", "data"},
    {"recipes", "optimizers"},
    {"phases"},
    {"callbacks"},
    {"verification"},
    {"models"},
    {"report"},
    {"choosing"},
    {"fine_tuning"},
    {"interop"},
    {"__init__"},
    {"demo"},
    {"difflr_command"},
)
FLOOR = {folder: floor for floor, folders in enumerate(FLOORS) for folder in folders}
# What is still to be mended: 0 is the aim, and no number may grow.
UPWARD, CIRCLES, REACHES, KERAS_NAMES = 0, 0, 0, 0

# Strings that happen to be a private name of Keras, too.
PLAIN_STRINGS = {"_kernel"}


def imports():
    """Every import of difflr's own: (file, node, the folder that is imported from, the name)."""
    for file in FILES:
        for node in file.nodes(ast.ImportFrom):
            package, *parts = (node.module or "").split(".")
            for name in node.names:
                if package == "difflr_command":
                    yield file, node, package, name.name
                elif package == "difflr":
                    folder = parts[0] if parts else name.name
                    yield file, node, folder if folder in FLOOR else "__init__", name.name
        for node in file.nodes(ast.Import):
            yield from (
                (file, node, "__init__", name.name) for name in node.names if name.name.split(".")[0] == "difflr"
            )


def test_every_folder_has_a_floor():
    without = sorted({file.folder for file in FILES} - set(FLOOR))
    assert not without, f"{without} has no floor: give it one in FLOORS, above all that it imports"


def test_imports_go_down():
    upward = [
        file.at(node, f"imports {folder} (floor {FLOOR[folder]}) into {file.folder} (floor {FLOOR[file.folder]})")
        for file, node, folder, _ in imports()
        if folder != file.folder and FLOOR[folder] >= FLOOR[file.folder]
    ]
    fix = "move what both need to a lower floor, or pass it as an argument"
    assert len(upward) <= UPWARD, f"{len(upward)} imports go up or sideways; {fix}:{listed(upward)}"


def test_files_do_not_import_each_other_in_a_circle():
    """Lazy imports count, those for type checkers alone do not."""
    files = {file.module: file for file in FILES}
    below = {module: set() for module in files}
    for file, node, _, name in imports():
        module = getattr(node, "module", "difflr")
        module = f"{module}.{name}" if f"{module}.{name}" in files else module
        if node not in file.for_type_checkers:
            below[file.module].add(module)
    reached = {module: reachable(module, below) for module in files}
    circles = {frozenset(other for other in reached[module] if module in reached[other]) for module in files}
    found = [" <-> ".join(sorted(circle)) for circle in circles if circle]
    number = sum(map(len, circles))
    fix = "inside a folder, import from the file and not from the folder; move what both need to a file of its own"
    assert number <= CIRCLES, f"{number} files import each other in a circle; {fix}:{listed(sorted(found))}"


def reachable(start: str, below: dict[str, set[str]]) -> set[str]:
    """What `start` imports, and what that imports, and so on."""
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        new = below[waiting.pop()] - seen
        seen |= new
        waiting += new
    return seen


@functools.cache
def defined() -> dict[str, set[str]]:
    """The names that each folder defines: functions, classes, variables and attributes of `self`."""
    names = defaultdict(set)
    for file in FILES:
        for node in file.nodes(ast.FunctionDef, ast.ClassDef):
            names[file.folder].add(node.name)
        for node in file.nodes(ast.Name):
            if isinstance(node.ctx, ast.Store):
                names[file.folder].add(node.id)
        for node in file.nodes(ast.Attribute):
            if isinstance(node.ctx, ast.Store) and of_self(node):
                names[file.folder].add(node.attr)
    return names


def private_uses() -> Iterator[tuple]:
    """Every private name that a file imports or takes from something else than `self`: (file, node, name)."""
    for file in FILES:
        for node in file.nodes(ast.Attribute):
            if is_private(node.attr) and not of_self(node):
                yield file, node, node.attr
        for node in file.nodes(ast.Call):
            if ast.unparse(node.func) in ("getattr", "setattr", "hasattr", "delattr") and len(node.args) > 1:
                name = node.args[1].value if isinstance(node.args[1], ast.Constant) else ""
                if is_private(name) and ast.unparse(node.args[0]) != "self":
                    yield file, node, name
    yield from ((file, node, name) for file, node, _, name in imports() if is_private(name))


def test_nothing_private_is_used_from_another_folder():
    names = defined()
    reaches = [
        file.at(node, f"uses {name} of {', '.join(owners)}")
        for file, node, name in private_uses()
        if name not in names[file.folder] and file.folder != "keras_private"
        if (owners := sorted(folder for folder, own in names.items() if name in own))
    ]
    fix = "give what is needed a public name in its folder"
    assert len(reaches) <= REACHES, (
        f"{len(reaches)} private names are used from another folder; {fix}:{listed(reaches)}"
    )


@functools.cache
def keras_names() -> set[str]:
    """The private names of Keras's optimizers (their state, too), models, layers and variables."""
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd")
    things = [model, model.layers[0], model.weights[0], keras.callbacks.Callback(), keras.KerasTensor((1,))]
    for stock in difflr.optimizers.optimizer_classes().values():
        optimizer = stock()
        optimizer.build(model.trainable_variables)
        things += [optimizer, keras.optimizers.LossScaleOptimizer(optimizer)]
    return {name for thing in things for name in {*dir(thing), *vars(thing)} if is_private(name)}


def test_private_names_of_keras_are_in_keras_private_alone():
    """As attributes of what is not difflr's, and as strings, which is how the state of an optimizer is named."""
    private, names, found = keras_names() - PLAIN_STRINGS, defined(), []
    for file in FILES:
        if file.folder == "keras_private":
            continue
        foreign = private - names[file.folder]
        strings = [node for node in file.nodes(ast.Constant) if isinstance(node.value, str) and node.value in foreign]
        attributes = [node for node in file.nodes(ast.Attribute) if node.attr in foreign]
        found += [file.at(node, f"names {ast.unparse(node)}") for node in [*strings, *attributes]]
    fix = "ask a function of difflr.keras_private instead"
    assert len(found) <= KERAS_NAMES, (
        f"{len(found)} private names of Keras outside keras_private; {fix}:{listed(found)}"
    )


def test_other_private_names_are_those_of_torch():
    """`torch._foreach_*` and `torch._fused_*` are for `torch_passes`; of other packages nothing private is used."""
    ours = {name for names in defined().values() for name in names}
    found = [
        file.at(node, ast.unparse(node))
        for file, node, name in private_uses()
        if name not in ours and file.folder != "keras_private" and name not in keras_names() | {"_asdict"}
        if not (
            file.path.is_relative_to(SRC / "difflr/optimizers/torch_passes") and ast.unparse(node).startswith("torch.")
        )
    ]
    assert not found, f"private names of other packages:{listed(found)}"


def test_private_modules_of_keras_are_imported_in_keras_private_alone():
    found = [
        file.at(node, ast.unparse(node))
        for file in FILES
        for node in file.nodes(ast.Import, ast.ImportFrom)
        if file.folder != "keras_private" and "keras.src" in ast.unparse(node)
    ]
    assert not found, f"import these in src/difflr/keras_private/:{listed(found)}"

"""Writes the stubs of `difflr.optimizers` and `difflr.layers`: `make stubs`, or `python tools/stubs.py`.

The classes of both are made from Keras's own at import, so a type checker or an IDE cannot see them in the source.
The stubs list those of the installed Keras, with their arguments. `tests/test_stubs.py` keeps them true.
"""

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import keras

import difflr

MODULES = (difflr.optimizers, difflr.layers)

# Keras's signatures have no types. An argument that is not here and whose default is no bool and no float is `Any`.
TYPES = {
    "learning_rate": "float | LearningRateSchedule | Callable[[], float]",
    "activation": "str | Callable[..., Any] | None",
    **dict.fromkeys(("padding", "merge_mode", "equation"), "str"),
    **dict.fromkeys(("name", "data_format"), "str | None"),
    **dict.fromkeys(("weight_decay", "clipnorm", "clipvalue", "global_clipnorm", "loss_scale_factor"), "float | None"),
    **dict.fromkeys(("ema_overwrite_frequency", "gradient_accumulation_steps"), "int | None"),
    **dict.fromkeys(("kernel_size", "strides", "dilation_rate"), "int | Sequence[int]"),
    **dict.fromkeys(("units", "filters", "groups", "depth_multiplier", "input_dim", "output_dim"), "int"),
    **dict.fromkeys(("num_heads", "num_query_heads", "num_key_value_heads", "key_dim", "head_dim"), "int"),
}
# Every layer of Keras takes these out of its `**kwargs`.
OF_EVERY_LAYER = ("input_shape", "input_dim")
# Where a type is imported from: the first of these that has it.
HOMES = ("collections.abc", "typing", "numpy", "keras", "keras.optimizers.schedules", "difflr.plan")


def keras_version() -> str:
    """The installed Keras's minor version, such as `"3.15"`."""
    return ".".join(keras.__version__.split(".")[:2])


def path_of(module: ModuleType) -> Path:
    """Where the stub of `module` lies."""
    return Path(str(module.__file__)).with_suffix(".pyi")


def stub(module: ModuleType) -> str:
    """The stub of `module`, in the form that `ruff format` leaves as it is."""
    made = {name: cls for name, cls in vars(module).items() if getattr(cls, "__module__", None) == module.__name__}
    names: dict[type, str] = {}
    aliases = ""
    for name in sorted(made, key=lambda name: (name != made[name].__name__, name)):
        if names.setdefault(made[name], name) != name:
            aliases += f"{name} = {names[made[name]]}\n"
    classes = "\n".join(_class(cls, name, module) for cls, name in names.items())
    exported = "".join(f'    "{name}",\n' for name in module.__all__)
    heading = f'"""{_first_line(module)}"""\n\n# Made by `make stubs` from Keras {keras_version()}.\n'
    imports = "".join((*_imported(classes), "\nimport keras\n\n", *_imported_by(module)))
    return f"{heading}\n{imports}\n__all__ = [\n{exported}]\n\n{classes}" + f"\n{aliases}" * bool(aliases)


def _first_line(thing: object) -> str:
    return (inspect.getdoc(thing) or "").split("\n", 1)[0]


def _class(cls: type, name: str, module: ModuleType) -> str:
    mixin = cls.__bases__[0].__name__
    stock = f"{module.__name__.replace('difflr', 'keras')}.{name}"
    arguments = "".join(f"        {line},\n" for line in _arguments(cls))
    return (
        f'class {name}({mixin}, {stock}):\n    """{_first_line(cls)}"""\n\n'
        f"    def __init__(\n        self,\n{arguments}    ) -> None: ...\n"
    )


def _arguments(cls: type) -> Iterator[str]:
    """The arguments, a line each. `**kwargs` is replaced by what the bases take, so that a misspelt name is seen."""
    parameters = inspect.signature(cls).parameters
    optional: dict[str, inspect.Parameter] = {}
    for base in reversed(inspect.getmro(cls)):
        if issubclass(base, keras.layers.Layer) and base.__module__.startswith("keras."):
            optional |= dict(inspect.signature(base.__init__).parameters)
    names = [name for name, p in optional.items() if p.default is not p.empty and name not in parameters]
    keyword_only = False
    for parameter in [*parameters.values(), *(optional[name] for name in names)]:
        if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        if parameter.name in names or parameter.kind is parameter.KEYWORD_ONLY:
            yield from () if keyword_only else ("*",)
            keyword_only = True
        yield _argument(parameter)
    if issubclass(cls, keras.layers.Layer):
        yield from (f"{name}: Any = None" for name in OF_EVERY_LAYER if name not in parameters)


def _argument(parameter: inspect.Parameter) -> str:
    text = f"{parameter.name}: {_type(parameter)}"
    return text if parameter.default is parameter.empty else f"{text} = {_default(parameter.default)}"


def _default(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)


def _type(parameter: inspect.Parameter) -> str:
    if parameter.annotation is not parameter.empty:
        return re.sub(r"(?:\w+\.)+(?=\w)", "", inspect.formatannotation(parameter.annotation))
    by_default = type(parameter.default).__name__ if isinstance(parameter.default, (bool, float)) else "Any"
    return TYPES.get(parameter.name, by_default)


def _imported(code: str) -> Iterator[str]:
    """The imports of the types that `code` names."""
    names = {node.id for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name) and node.id[0].isupper()}
    for home in HOMES:
        found = sorted(name for name in names if hasattr(importlib.import_module(home), name))
        names -= set(found)
        yield f"from {home} import {', '.join(found)}\n" if found else ""


def _imported_by(module: ModuleType) -> Iterator[str]:
    """What the source of `module` imports from difflr, imported `as` itself: so a stub says that it is exported."""
    for node in ast.parse(Path(str(module.__file__)).read_text()).body:
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("difflr"):
            yield from (f"from {node.module} import {name.name} as {name.name}\n" for name in node.names)


if __name__ == "__main__":
    for module in MODULES:
        path_of(module).write_text(stub(module))
        print(f"wrote {path_of(module)}")

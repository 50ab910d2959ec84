"""YAML of plain data: read within bounds, without what makes a small text large or says a thing twice."""

import collections
import re
from typing import Any

from difflr.checks import shown

MAX_CHARACTERS = 5_000_000
MAX_MESSAGE = 500


def read_yaml(text: str, most: int = MAX_CHARACTERS) -> Any:
    """The plain data in a YAML text.

    Args:
        text: The text. Aliases (`*name`) are refused: with them a small text can mean a huge one.
        most: How many characters it may have.

    Raises:
        ImportError: If PyYAML is not installed.
        ValueError: If it is no such text.
    """
    if not isinstance(text, str) or len(text) > most:
        raise ValueError(f"Expected YAML text of at most {most} characters. Received: {shown(text)}.")
    yaml = _yaml()
    try:
        return yaml.load(text, _plain_loader(yaml))
    except Exception as error:  # PyYAML raises what Python does with a bad number, date or key
        raise ValueError(
            f"This is no YAML that can be read: {str(error)[:MAX_MESSAGE]}\n"
            "Text that begins with * needs quotes in YAML: trainable: '*'."
        ) from None


def write_yaml(data: Any) -> str:
    """Plain data as YAML, in its order.

    Args:
        data: Dictionaries, lists, text, numbers, booleans and `None`.

    Raises:
        ImportError: If PyYAML is not installed.
    """
    text: str = _yaml().safe_dump(data, sort_keys=False)
    return text


def _plain_loader(yaml: Any) -> Any:
    class Loader(yaml.SafeLoader):  # type: ignore[misc, name-defined]
        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                raise ValueError("aliases (&name, *name) are not used here.")
            return super().compose_node(parent, index)

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
            if len(set(keys)) != len(keys):
                twice = next(key for key, number in collections.Counter(keys).items() if number > 1)
                raise ValueError(f"{shown(twice)} appears twice in one mapping.")
            return super().construct_mapping(node, deep)

    # YAML 1.2 reads 1e-5 as a number; PyYAML wants a dot in it.
    Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"[-+]?\d+[eE][-+]?\d+$"), list("-+0123456789"))
    return Loader


def _yaml() -> Any:
    try:
        import yaml
    except ImportError:
        raise ImportError(
            'YAML needs PyYAML: pip install "difflr[yaml]". Without it, dictionaries and JSON do as well.'
        ) from None
    return yaml

"""What the constructors of an optimizer take."""

import functools
import inspect


@functools.cache
def settings_of(optimizer_class):
    """The names of what the constructors of a class and of its parents take."""
    constructors = [vars(parent)["__init__"] for parent in optimizer_class.__mro__[:-1] if "__init__" in vars(parent)]
    return {name for constructor in constructors for name in inspect.signature(constructor).parameters}

"""The arguments of an optimizer's constructors."""

import functools
import inspect


@functools.cache
def settings_of(optimizer_class):
    """The arguments of the constructors of a class and its parents, always in the same order."""
    constructors = [vars(parent)["__init__"] for parent in optimizer_class.__mro__[:-1] if "__init__" in vars(parent)]
    return tuple(dict.fromkeys(n for constructor in constructors for n in inspect.signature(constructor).parameters))

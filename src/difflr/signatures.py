"""The arguments that functions take: unknown ones, and those of two classes together."""

import inspect
from collections.abc import Callable, Collection, Iterable
from typing import Any

from difflr.checks import did_you_mean


def with_nearest_argument(error: Exception, arguments: Iterable[str], known: Collection[str]) -> Exception:
    """Keras's error about an unknown argument, with the nearest known one; any other error as it is.

    Args:
        error: The error.
        arguments: The names that were received.
        known: The names of all arguments.
    """
    unknown = next((name for name in arguments if name not in known and f"'{name}'" in str(error)), "")
    if not unknown:
        return error
    kind = TypeError if isinstance(error, TypeError) else ValueError
    return kind(f"{error}{did_you_mean(unknown, known, 1)}")


def check_keywords(caller: str, given: Iterable[str], *takers: Callable[..., Any]) -> None:
    """Checks the `**keywords` of a function before anything is done with them.

    Args:
        caller: The name of the function, for the error.
        given: The keywords.
        *takers: The function itself, and the one that takes the keywords. If that takes any, nothing is checked.

    Raises:
        TypeError: If there is no such argument; the message has the nearest ones.
    """
    parameters = [parameter for taker in takers for parameter in inspect.signature(taker).parameters.values()]
    if parameters[-1].kind is inspect.Parameter.VAR_KEYWORD:
        return
    known = [p.name for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD) and p.name != "self"]
    unknown = next((name for name in given if name not in known), None)
    if unknown is not None:
        hint = did_you_mean(unknown, known) or f" Expected: {', '.join(known)}."
        raise TypeError(f"`{caller}` has no argument `{unknown}`.{hint}")


def joined_signature(base: type, mixin: type) -> inspect.Signature:
    """The arguments of `base`, and those of `mixin` that are given by name, so that no position changes.

    Args:
        base: A class.
        mixin: A class before it in the method resolution order.
    """
    by_name, others = inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD
    own = [p for p in inspect.signature(mixin.__init__).parameters.values() if p.kind is by_name]  # type: ignore[misc]
    names = [parameter.name for parameter in own]
    known = list(inspect.signature(base.__init__).parameters.values())[1:]  # type: ignore[misc]
    known = [parameter for parameter in known if parameter.name not in names]
    rest = [parameter for parameter in known if parameter.kind is others]
    return inspect.Signature([*(parameter for parameter in known if parameter not in rest), *own, *rest])


def why_it_does_not_take(function: Callable[..., Any], *arguments: Any) -> str:
    """Why a function cannot be called with these arguments; an empty string if it can, or is a builtin that does not tell.

    Args:
        function: The function.
        *arguments: Positional arguments.
    """
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError as error:
        return str(error)
    except ValueError:
        return ""
    return ""

"""The arguments that functions take: unknown ones, and those of two classes together."""

import inspect
from collections.abc import Callable, Collection, Iterable
from typing import Any

from difflr.checks import did_you_mean, meant


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
    return kind(f"{error}{hint_about(unknown, known, 1)}")


# What other libraries call the arguments.
_ALSO_CALLED = {
    "lr": ("learning_rate",),
    "lr_mult": ("multipliers", "learning_rate_multiplier"),
    "lr_multiplier": ("multipliers", "learning_rate_multiplier"),
    "plan": ("multipliers",),
    "rules": ("multipliers",),
    "multipliers": ("plan", "learning_rate_multiplier"),
}


def hint_about(name: str, known: Collection[str], count: int = 3) -> str:
    """` Did you mean 'learning_rate'?`; empty where nothing is alike.

    Args:
        name: The argument that was received.
        known: The names of all arguments.
        count: How many names at most.
    """
    same = [other for other in _ALSO_CALLED.get(name, ()) if other in known]
    return meant(same) if same else did_you_mean(name, known, count)


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
    by_name = [p.name for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD) and p.name != "self"]
    known = list(dict.fromkeys(by_name))
    unknown = next((name for name in given if name not in known), None)
    if unknown is not None:
        hint = hint_about(unknown, known) or f" Expected: {', '.join(known)}."
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

"""The options `--plan`, `--rule` and `--recipe`: how they are written, and the plan they make."""

import difflib
import inspect
import pathlib
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import keras

    import difflr

# The public functions of difflr that return plans, and how each is asked for.
RECIPES = {
    "layerwise-decay": "layerwise-decay:0.75",
    "discriminative": "discriminative:0.01",
    "head-and-backbone": "head-and-backbone:0.1",
    "surgical": "surgical:0,with_head=true",
    "bias-double": "bias-double",
    "no-decay": "no-decay",
    "lora-plus": "lora-plus:16",
    "mup": "mup:narrow.keras",
}


def _complete(incomplete: str) -> list[tuple[str, str]]:
    return [(name, f"as in {example}") for name, example in RECIPES.items() if name.startswith(incomplete)]


PlanFile = Annotated[
    pathlib.Path | None, typer.Option("--plan", help="A plan that `difflr plan -o` or `Plan.to_json` wrote.")
]
Rules = Annotated[
    list[str] | None,
    typer.Option(
        "--rule",
        metavar="TARGET=VALUE",
        help="A layer, a pattern or a kind, and a multiplier, 'frozen' or 'trainable'; TARGET:decay=NUMBER for "
        "weight decay. As in 'backbone/**=0.1', '*/bias=2', 'backbone/stem=frozen', 'kind:norm:decay=0'. Repeat it; a "
        "later rule wins.",
    ),
]
Recipes = Annotated[
    list[str] | None,
    typer.Option(
        "--recipe",
        metavar="NAME:ARGUMENTS",
        help=f"A recipe: {', '.join(RECIPES.values())}. Further arguments by name: "
        "discriminative:0.01,high=0.5. Repeat it; recipes and rules are multiplied.",
        autocompletion=_complete,
    ),
]
NewHeadClasses = Annotated[
    int | None,
    typer.Option("--new-head", metavar="CLASSES", help="As if the model had a new last layer for so many classes."),
]
Features = Annotated[
    str | None, typer.Option(metavar="LAYER", help="With --new-head: the layer after which the new one comes.")
]


def parse_rule(text: str) -> tuple[str, Any]:
    """`TARGET=VALUE` as a pair for `difflr.Plan`.

    Raises:
        ValueError: If it is not of that form.
    """
    import difflr

    target, equals, value = (part.strip() for part in text.rpartition("="))
    if not equals or not target:
        raise ValueError(f"A rule is TARGET=VALUE, such as 'backbone=0.1'. Received: --rule '{text}'.")
    words = {"frozen": difflr.FROZEN, "trainable": difflr.TRAINABLE}
    decay = target.removesuffix(":decay")
    if value in words and decay == target:
        return target, words[value]
    try:
        number = float(value)
    except ValueError:
        expected = "a number" if decay != target else "a number, 'frozen' or 'trainable'"
        raise ValueError(f"The value of a rule is {expected}. Received: '{value}' in --rule '{text}'.") from None
    return (decay, {"weight_decay_multiplier": number}) if decay != target else (target, number)


def parse_recipe(text: str) -> tuple[str, list[Any], dict[str, Any]]:
    """`NAME:ARGUMENT,NAME=ARGUMENT` as the name of a function in difflr and its arguments.

    Raises:
        ValueError: If there is no such recipe, or its arguments do not fit.
    """
    import difflr

    name, _, given = text.strip().partition(":")
    if name not in RECIPES:
        close = difflib.get_close_matches(name, RECIPES, n=1, cutoff=0.4)
        hint = f" Did you mean '{close[0]}'?" if close else ""
        raise ValueError(f"There is no recipe '{name}'.{hint} Recipes: {', '.join(RECIPES)}.")
    function = name.replace("-", "_")
    arguments: list[Any] = []
    named: dict[str, Any] = {}
    for part in filter(None, (part.strip() for part in given.split(","))):
        key, equals, value = part.partition("=")
        if equals:
            named[key.strip().replace("-", "_")] = _value(value)
        else:
            arguments.append(_value(part))
    signature = inspect.signature(getattr(difflr, function))
    try:
        signature.bind(None, *arguments, **named)
    except TypeError as error:
        takes = [each for each in list(signature.parameters)[1:] if each != "depth"]
        raise ValueError(
            f"The recipe '{text}' does not fit: {error}. It takes {', '.join(takes) or 'no arguments'}, as in "
            f"{RECIPES[name]}."
        ) from None
    return function, arguments, named


def _value(text: str) -> Any:
    text = text.strip()
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def make_plan(
    model: "keras.Model",
    file: pathlib.Path | None = None,
    rules: list[str] | None = None,
    recipes: list[str] | None = None,
) -> "difflr.Plan | None":
    """The plan that the options ask for, all of them multiplied; `None` if they ask for nothing.

    Raises:
        ValueError: If one of them is not of its form, or does not fit the model.
    """
    import difflr
    from difflr_command.models import load

    parsed = [parse_recipe(text) for text in recipes or []]
    pairs = [parse_rule(text) for text in rules or []]
    plans = []
    if file is not None:
        try:
            plans.append(difflr.Plan.from_json(model, file.read_text(encoding="utf-8")))
        except UnicodeDecodeError:
            raise ValueError(f"{file} is no plan: it is not text.") from None
        except ValueError as error:
            raise ValueError(f"{file}: {error}") from None
    for name, arguments, named in parsed:
        if name == "mup":
            arguments = [load(pathlib.Path(str(arguments[0]))), *arguments[1:]]
        plans.append(getattr(difflr, name)(model, *arguments, **named))
    if pairs:
        plans.append(difflr.Plan(model, pairs))
    if not plans:
        return None
    product = plans[0]
    for each in plans[1:]:
        product = product * each
    return product

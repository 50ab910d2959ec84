"""The options `--plan`, `--rule` and `--recipe`: how they are written, and the plan they make."""

import functools
import inspect
import json
import operator
import pathlib
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

if TYPE_CHECKING:
    import keras

    import difflr

# The public functions of difflr that return plans, and how each is asked for.
RECIPES = {
    "layerwise-decay": "layerwise-decay:0.75",
    "discriminative": "discriminative:0.1",
    "head-and-backbone": "head-and-backbone:0.1",
    "surgical": "surgical:0,with_head=true",
    "bias-double": "bias-double",
    "no-decay": "no-decay",
    "lora-plus": "lora-plus:16",
    "mup": "mup:narrow.keras",
}
# The recipe that is none: one rate for all.
NONE = "none"


def _complete(incomplete: str) -> list[tuple[str, str]]:
    known = {**RECIPES, NONE: NONE}
    return [(name, f"as in {example}") for name, example in known.items() if name.startswith(incomplete)]


PlanFile = Annotated[
    pathlib.Path | None,
    typer.Option("--plan", help="A plan from `difflr plan -o` or `Plan.to_json`, instead of the default."),
]
Rules = Annotated[
    list[str] | None,
    typer.Option(
        "--rule",
        metavar="TARGET=VALUE",
        help="Multiply the rate of a layer, pattern or kind by a number, or freeze it: 'backbone/**=0.1', '*/bias=2', "
        "'backbone/stem=frozen'. TARGET:decay=NUMBER multiplies the weight decay: 'kind:norm:decay=0'. Can be repeated; a "
        "later rule wins. Rules change the default plan, --plan or --recipe; --recipe none starts from one rate for all.",
    ),
]
Recipes = Annotated[
    list[str] | None,
    typer.Option(
        "--recipe",
        metavar="NAME:ARGUMENTS",
        help="A recipe instead of the default (each group of layers at 0.75 of the rate of the one above, down to a tenth; "
        f"no-decay): {', '.join(RECIPES.values())}; or none: one rate for all. Further arguments have names: "
        "discriminative:0.1,high=0.5. Can be repeated; recipes multiply.",
        autocompletion=_complete,
    ),
]
NewHead = Annotated[bool, typer.Option("--new-head", help="Show the model with a new head for --classes.")]
Classes = Annotated[
    int | None,
    typer.Option(min=2, help="With --new-head: the number of classes. (`difflr fine-tune` counts them.)"),
]
Features = Annotated[
    str | None, typer.Option(metavar="LAYER", help="With --new-head: the layer whose output feeds the new head.")
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
    if name == NONE:
        raise ValueError(f"The recipe '{NONE}' takes no arguments. Received: --recipe '{text}'.")
    if name not in RECIPES:
        from difflr.checks import did_you_mean

        hint = did_you_mean(name, RECIPES, 1, 0.4)
        raise ValueError(f"There is no recipe '{name}'.{hint} Recipes: {', '.join(RECIPES)}, {NONE}.")
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
    rules: Sequence[str] | None = None,
    recipes: Sequence[str] | None = None,
) -> "difflr.Plan":
    """The plan that the options ask for: a file and recipes, or else the default; and the rules, all multiplied.

    Raises:
        ValueError: If one of them is not of its form, or does not fit the model.
    """
    import difflr

    pairs = [parse_rule(text) for text in rules or ()]
    parsed = [parse_recipe(text) for text in recipes or () if text.strip() != NONE]
    plans = [_made(model, *each) for each in parsed]
    if file is not None:
        plans.insert(0, _read(model, file))
    elif not recipes:
        plans.append(_default(model))
    if pairs:
        plans.append(difflr.Plan(model, pairs))
    return functools.reduce(operator.mul, plans) if plans else difflr.Plan(model)


def _made(model: "keras.Model", name: str, arguments: list[Any], named: dict[str, Any]) -> "difflr.Plan":
    """The plan of a recipe."""
    import difflr
    from difflr_command.models import load

    if name == "mup":
        arguments = [load(pathlib.Path(str(arguments[0]))), *arguments[1:]]
    try:
        return cast("difflr.Plan", getattr(difflr, name)(model, *arguments, **named))
    except ValueError as error:
        raise ValueError(f"--recipe {name.replace('_', '-')}: {error}") from error


def _default(model: "keras.Model") -> "difflr.Plan":
    import difflr
    from difflr.choosing.stages import default_plan

    try:
        return default_plan(model) * difflr.no_decay(model)
    except ValueError as error:
        raise ValueError(
            f"The default rates do not fit: {error} Or begin with one rate for all: --recipe none."
        ) from error


def _plan_in(text: str, file: pathlib.Path) -> str:
    """The plan in a choice of `difflr suggest`, whose learning rate is an option; any other text as it is."""
    try:
        choice = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if not isinstance(choice, dict) or not {"plan", "learning_rate"} <= set(choice):
        return text
    rate = choice["learning_rate"]
    warnings.warn(f"Of the choice {file} the plan is taken: its rate is --learning-rate {rate}.", stacklevel=2)
    return json.dumps(choice["plan"])


def _read(model: "keras.Model", file: pathlib.Path) -> "difflr.Plan":
    import difflr

    try:
        return difflr.Plan.from_json(model, _plan_in(file.read_text(encoding="utf-8"), file))
    except UnicodeDecodeError:
        raise ValueError(f"{file} is no plan: it is not text.") from None
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None

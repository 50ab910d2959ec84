"""`difflr summary`."""

import pathlib
from typing import Annotated

import typer

from difflr_command import console
from difflr_command.plan_options import Features, NewHeadClasses, PlanFile, Recipes, Rules


def summary(
    model: Annotated[pathlib.Path, typer.Argument(metavar="MODEL", help="A .keras file.", show_default=False)],
    plan: PlanFile = None,
    rule: Rules = None,
    recipe: Recipes = None,
    new_head: NewHeadClasses = None,
    features: Features = None,
) -> None:
    """Show a model's variables by their paths in the layer tree: parameters and multipliers."""
    with console.bad_input():
        import difflr
        from difflr_command.models import load
        from difflr_command.plan_options import make_plan

        network = load(model)
        if new_head is not None:
            network = difflr.new_head(network, new_head, features=features)
        made = make_plan(network, plan, rule, recipe) or difflr.Plan(network)
    out = console.output()
    out.print(f"{model}: {type(network).__name__} '{network.name}', {network.input_shape} -> {network.output_shape}\n")
    for row in made.rows:
        multiplier = "frozen" if row.frozen else f"{row.multiplier:g}"
        out.print(f"{row.path}  {row.shape}  {row.num_parameters:,}  {multiplier}")

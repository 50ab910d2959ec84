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
    """Show a model's layers: parameters, groups, multipliers, and what freezing saves."""
    with console.bad_input():
        import difflr
        from difflr_command.models import load
        from difflr_command.plan_options import make_plan

        network = load(model)
        if new_head is not None:
            network = difflr.new_head(network, new_head, features=features)
        made = make_plan(network, plan, rule, recipe) or difflr.Plan(network)
        difflr.summary(network, plan=made, expand_nested=True)

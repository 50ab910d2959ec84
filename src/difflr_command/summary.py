"""`difflr summary`."""

from typing import Annotated

import typer

from difflr_command import console
from difflr_command.backend import import_keras
from difflr_command.common import ModelArgument
from difflr_command.plan_options import NONE, Classes, Features, NewHead, PlanFile, Recipes, Rules


def summary(
    model: ModelArgument,
    plan: PlanFile = None,
    rule: Rules = None,
    recipe: Recipes = None,
    full: Annotated[
        bool, typer.Option("--full", help="Also show layers without weights, and the names of groups.")
    ] = False,
    new_head: NewHead = False,
    classes: Classes = None,
    features: Features = None,
) -> None:
    """Show a model's layers: parameters, groups, multipliers, and what freezing saves."""
    with console.bad_input():
        import_keras()
        from difflr_command.layers_table import print_layers
        from difflr_command.models import load, with_new_head
        from difflr_command.plan_options import make_plan

        network = with_new_head(load(model), new_head, classes, features)
        try:
            made = make_plan(network, plan, rule, recipe)
        except ValueError as error:
            if plan or rule or recipe:
                raise
            console.tell("note", f"{error} So it is shown here.")
            made = make_plan(network, recipes=[NONE])
        print_layers(console.output(), network, made, full)

"""`difflr plan`."""

import math
import pathlib
from typing import Annotated

import typer

from difflr_command import console
from difflr_command.backend import import_keras
from difflr_command.claim import claim
from difflr_command.common import ModelArgument
from difflr_command.plan_options import Classes, Features, NewHead, PlanFile, Recipes, Rules


def plan(
    model: ModelArgument,
    rule: Rules = None,
    recipe: Recipes = None,
    plan: PlanFile = None,
    output: Annotated[pathlib.Path | None, typer.Option("--output", "-o", help="Write the plan here, as JSON.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="A base rate; adds a column of effective rates.")] = None,
    full: Annotated[
        bool, typer.Option("--full", help="Print a row for every variable, with the rule that decided it.")
    ] = False,
    new_head: NewHead = False,
    classes: Classes = None,
    features: Features = None,
) -> None:
    """Show which layers would train at which rate, and write that plan for `difflr fine-tune --plan`.

    Without --plan and --recipe, the plan is the default of `difflr fine-tune`.
    """
    with console.bad_input():
        if output is not None:
            claim(output, "plan")
        if learning_rate is not None and not 0 < learning_rate < math.inf:
            raise ValueError(f"--learning-rate must be above 0. Received: {learning_rate}.")
        import_keras()
        from difflr.files import write_whole
        from difflr_command.models import load, with_new_head
        from difflr_command.plan_options import make_plan
        from difflr_command.plan_table import print_plan

        network = with_new_head(load(model), new_head, classes, features)
        made = make_plan(network, plan, rule, recipe)
        if output is not None:
            write_whole(output, made.to_json() + "\n")
    print_plan(console.output(), made, learning_rate, full)
    if output is not None:
        console.messages().print(f"\nWritten: {output}")

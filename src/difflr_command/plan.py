"""`difflr plan`."""

import pathlib
from typing import Annotated

import typer

from difflr_command import console
from difflr_command.plan_options import Features, NewHeadClasses, PlanFile, Recipes, Rules


def plan(
    model: Annotated[pathlib.Path, typer.Argument(metavar="MODEL", help="A .keras file.", show_default=False)],
    rule: Rules = None,
    recipe: Recipes = None,
    plan: PlanFile = None,
    output: Annotated[
        pathlib.Path | None, typer.Option("--output", "-o", help="Write the plan here, as JSON.", show_default=False)
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="A base rate, for a column of effective rates.", show_default=False)
    ] = None,
    new_head: NewHeadClasses = None,
    features: Features = None,
) -> None:
    """Show who would train at which rate, and write that plan for `difflr fine-tune --plan`."""
    with console.bad_input():
        if output is not None:
            console.writable(output, "plan")
        import difflr
        from difflr.files import write_whole
        from difflr_command.models import load, print_plan
        from difflr_command.plan_options import make_plan

        network = load(model)
        if new_head is not None:
            network = difflr.new_head(network, new_head, features=features)
        made = make_plan(network, plan, rule, recipe) or difflr.Plan(network)
        if output is not None:
            write_whole(output, made.to_json() + "\n")
    out = console.output()
    print_plan(out, made, learning_rate)
    if output is not None:
        console.messages().print(f"\nWritten: {output}")

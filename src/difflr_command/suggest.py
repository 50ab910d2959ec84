"""`difflr suggest`: its options. What it does is in `difflr_command.suggesting`."""

import pathlib
from typing import Annotated

import typer

from difflr_command import console, data_options
from difflr_command.backend import import_keras
from difflr_command.claim import claim
from difflr_command.common import ModelArgument
from difflr_command.data_options import RUN
from difflr_command.plan_options import PlanFile, Recipes, Rules
from difflr_command.settings import Settings


def suggest(
    model: ModelArgument,
    data: Annotated[
        pathlib.Path, typer.Argument(metavar="DATA", help="Data with the answers, as for `difflr fine-tune`.")
    ],
    plan: PlanFile = None,
    rule: Rules = None,
    recipe: Recipes = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            min=1, help="Of the run that is to come. By default as for `difflr fine-tune`.", rich_help_panel=RUN
        ),
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(
            help="What the search may cost, as a share of that run. By default half of it, or 400 steps if that is more; a "
            "tenth of a run from 2,000 steps on.",
            rich_help_panel=RUN,
        ),
    ] = None,
    batch_size: data_options.BatchSize = 32,
    seed: data_options.Seed = 0,
    new_head: data_options.NewHead = False,
    features: data_options.Features = None,
    scale: data_options.ScaleOfPictures = None,
    size: data_options.SizeOfPictures = None,
    text_column: data_options.TextColumn = None,
    file_column: data_options.FileColumn = None,
    label_column: data_options.LabelColumn = "label",
    targets: data_options.KindOfTargets = None,
    output: Annotated[
        pathlib.Path | None, typer.Option("--output", "-o", help="Write the choice here, such as choice.json.")
    ] = None,
    json: data_options.Json = False,
) -> None:
    """Measure which rates suit a model and data best; nothing is changed.

    The plan that is chosen is in the choice; `difflr fine-tune --learning-rate auto` measures and trains in one go.
    """
    settings = Settings(**{name: value for name, value in locals().items() if name not in ("budget", "output")})
    with console.bad_input():
        if output is not None:
            claim(output, "choice")
        if budget is not None and not budget > 0:
            raise ValueError(f"--budget is a share of the run, above 0. Received: {budget}.")
        settings.check()
        import_keras()
        from difflr_command.suggesting import measure
    measure(settings, budget, output)

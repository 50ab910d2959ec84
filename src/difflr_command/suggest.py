"""`difflr suggest`. What it does is in `difflr_command.suggesting`, its options in `difflr_command.settings`."""

from difflr_command import console
from difflr_command.backend import import_keras
from difflr_command.claim import claim
from difflr_command.settings import SuggestOptions


def suggest(options: SuggestOptions) -> None:
    """Measure which rates suit a model and data best; no file is changed.

    The choice includes a plan. `difflr fine-tune --learning-rate auto` measures and trains in one go.
    """
    with console.bad_input():
        if options.output is not None:
            claim(options.output, "choice", (options.model, options.data, options.plan))
        if options.budget is not None and not options.budget > 0:
            raise ValueError(f"--budget is a share of the run, above 0. Received: {options.budget}.")
        options.settings().check()
        import_keras()
        from difflr_command.suggesting import measure
    measure(options)

"""`difflr fine-tune`. What it does is in `difflr_command.tuning`, its options in `difflr_command.settings`."""

from difflr_command import console
from difflr_command.backend import import_keras
from difflr_command.settings import Settings

EPILOG = (
    "Ctrl-C keeps the last complete epoch and prints how to resume. "
    "Exit codes: 0 done; 1 the run failed; 2 bad input, nothing was written; 130 interrupted."
)


def fine_tune(settings: Settings) -> None:
    """Fine-tune a model on your data: the head first, then everything, lower layers more slowly.

    By default, each group of layers trains at 0.75 of the rate of the one above, down to a tenth. --rule changes some of
    these rates; --plan and --recipe replace them.
    """
    with console.bad_input():
        settings.check()
        settings.claim_outputs()
        import_keras()
        from difflr_command.tuning import tune
    tune(settings)

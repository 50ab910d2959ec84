"""`difflr evaluate`. What it does is in `difflr_command.evaluating`, its options in `difflr_command.settings`."""

from difflr_command import console, data_options
from difflr_command.backend import import_keras
from difflr_command.claim import claim, claim_folder
from difflr_command.settings import EvaluateOptions


def evaluate(options: EvaluateOptions) -> None:
    """Measure what a model gets right and wrong on labeled data."""
    with console.bad_input():
        if options.report is not None:
            data_options.can_report("--report")
            claim(options.report, "report", (options.model, options.data))
        if options.plots is not None:
            data_options.can_report("--plots")
            claim_folder(options.plots)
        if not options.data.exists():
            raise ValueError(f"There is no data at {options.data}.")
        import_keras()
        from difflr_command.evaluating import evaluate_files
    evaluate_files(options)

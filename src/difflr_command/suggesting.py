"""What `difflr suggest` does."""

import dataclasses
import tempfile
from pathlib import Path

from difflr_command import console
from difflr_command.settings import SuggestOptions
from difflr_command.suggested import suggested
from difflr_command.tuning import prepare


def measure(options: SuggestOptions) -> None:
    """Measures, prints, and writes the choice.

    Args:
        options: The options.
    """
    settings, output = options.settings(), options.output
    with console.quiet(settings.json) as out, tempfile.TemporaryDirectory() as folder:
        with console.bad_input():
            run = prepare(dataclasses.replace(settings, output=Path(folder) / "tuned.keras"), out)
        with console.running("nothing is written"):
            choice = suggested(settings, run, budget=options.budget)
            if output is not None:
                choice.save(output)
        for line in str(choice).splitlines():
            out.print(line)
        if output is not None:
            out.print(f"Written: {output}")
    if settings.json:
        console.print_json(choice.to_dict())

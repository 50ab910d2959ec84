"""`--log`: a run in TensorBoard, MLflow or W&B, by their own ways; nothing of these is imported unless it is asked for."""

import contextlib
import importlib
import importlib.util
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from difflr_command import console

if TYPE_CHECKING:
    import keras

PACKAGES = {"tensorboard": ("tensorboard", "tensorflow"), "mlflow": ("mlflow",), "wandb": ("wandb",)}
Logs = Mapping[str, float]


def trackers_in(text: str | None) -> tuple[str, ...]:
    """The names in `--log tensorboard,mlflow`, checked before anything costly is done.

    Args:
        text: Names, with commas between them; `None` for nothing.

    Raises:
        ValueError: If a name is none of these, or its package is not installed.
    """
    names = tuple(dict.fromkeys(name.strip().lower() for name in (text or "").split(",") if name.strip()))
    for name in names:
        if name not in PACKAGES:
            raise ValueError(f"--log knows {', '.join(PACKAGES)}, with commas between them. Received: {text}.")
        for package in PACKAGES[name]:
            if importlib.util.find_spec(package) is None:
                raise ValueError(f"--log {name} needs {package}: pip install {package}")
    return names


class Tracker(Protocol):
    """Where the numbers of a run go."""

    def log(self, logs: Logs, epoch: int) -> None:
        """The numbers of an epoch, counted from 1."""

    def end(self, failed: bool) -> None:
        """The end of the run."""


class MLflow:
    """A run of MLflow, where its own settings say: `MLFLOW_TRACKING_URI`, `MLFLOW_EXPERIMENT_NAME`.

    Args:
        title: The name of the run.
        settings: What it was made with.
    """

    def __init__(self, title: str, settings: Mapping[str, str]):
        self._mlflow = importlib.import_module("mlflow")
        self._mlflow.start_run(run_name=title)
        self._mlflow.log_params({name: value[:500] for name, value in settings.items()})

    def log(self, logs: Logs, epoch: int) -> None:
        """The numbers of an epoch, under names that MLflow allows."""
        allowed = {re.sub(r"[^\w\-. :/]", "_", name): value for name, value in logs.items()}
        self._mlflow.log_metrics(allowed, step=epoch)

    def end(self, failed: bool) -> None:
        """The end of the run."""
        self._mlflow.end_run("FAILED" if failed else "FINISHED")


class WandB:
    """A run of Weights & Biases, where its own settings say: `WANDB_PROJECT`, `WANDB_MODE`.

    Args:
        title: The name of the run.
        settings: What it was made with.
    """

    def __init__(self, title: str, settings: Mapping[str, str]):
        wandb = importlib.import_module("wandb")
        self._run = wandb.init(name=title, config=dict(settings))

    def log(self, logs: Logs, epoch: int) -> None:
        """The numbers of an epoch."""
        self._run.log(dict(logs), step=epoch)

    def end(self, failed: bool) -> None:
        """The end of the run."""
        self._run.finish(exit_code=int(failed))


KINDS: dict[str, type[MLflow] | type[WandB]] = {"mlflow": MLflow, "wandb": WandB}


@contextlib.contextmanager
def tracked(
    names: Sequence[str], title: str, settings: Mapping[str, str], before: Sequence[Logs], folder: Path
) -> Iterator[list["keras.callbacks.Callback"]]:
    """What logs a run: ended when the block ends, as failed if it raises.

    Args:
        names: What `trackers_in` returned.
        title: The name of the run.
        settings: What it is made with.
        before: The logs of completed epochs, in a resumed run.
        folder: Where TensorBoard's files go.

    Yields:
        The callbacks for `fit`.
    """
    import keras

    trackers: list[Tracker] = []
    try:
        for name in names:
            if name in KINDS:
                trackers.append(KINDS[name](title, settings))
        for number, logs in enumerate(before, start=1):
            for tracker in trackers:
                tracker.log(_finite(logs), number)
        callbacks: list[keras.callbacks.Callback] = [_callback(trackers)] if trackers else []
        if "tensorboard" in names:
            callbacks.append(keras.callbacks.TensorBoard(str(folder), write_graph=False))
        yield callbacks
    except BaseException:
        _end(trackers, failed=True)
        raise
    _end(trackers, failed=False)


def _callback(trackers: Sequence[Tracker]) -> "keras.callbacks.Callback":
    import keras

    class LogEpochs(keras.callbacks.Callback):
        """Hands the logs of every epoch on."""

        def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
            for tracker in trackers:
                tracker.log(_finite(logs or {}), epoch + 1)

    return LogEpochs()


def _finite(logs: Mapping[str, Any]) -> dict[str, float]:
    numbers = {name: float(value) for name, value in logs.items()}
    return {name: value for name, value in numbers.items() if math.isfinite(value)}


def _end(trackers: Sequence[Tracker], failed: bool) -> None:
    for tracker in trackers:
        try:
            tracker.end(failed)
        except Exception as error:  # the model is worth more than its log
            console.tell("warning", f"--log: {type(error).__name__}: {error}")

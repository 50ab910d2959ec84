"""`--log`: a run in TensorBoard, MLflow or W&B, by their own ways; nothing of these is imported unless it is asked for."""

import contextlib
import importlib
import importlib.util
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    for name in names or (() if text is None else ("",)):
        if name not in PACKAGES:
            raise ValueError(f"--log knows {', '.join(PACKAGES)}, with commas between them. Received: {text!r}.")
        for package in PACKAGES[name]:
            if importlib.util.find_spec(package) is None:
                raise ValueError(f"--log {name} needs {package}: pip install {package}")
    return names


class MLflow:
    """A run of MLflow, where its own settings say: `MLFLOW_TRACKING_URI`, `MLFLOW_EXPERIMENT_NAME`.

    Args:
        title: The name of the run.
        settings: What it was made with.
        run_id: The run to resume; `None` for a new one.
    """

    def __init__(self, title: str, settings: Mapping[str, str], run_id: str | None):
        self._mlflow = importlib.import_module("mlflow")
        self.id = str(self._mlflow.start_run(run_id=run_id, run_name=title).info.run_id)
        if run_id is None:
            self._mlflow.log_params({name: value[:500] for name, value in settings.items()})

    def log(self, logs: Logs, epoch: int) -> None:
        """The numbers of an epoch, under names that MLflow allows."""
        allowed = {re.sub(r"[^\w\-. :/]", "_", name): value for name, value in logs.items()}
        self._mlflow.log_metrics(allowed, step=epoch)

    def end(self, failed: bool, files: Sequence[Path]) -> None:
        """The end of the run, with its files as artifacts."""
        try:
            for file in files:
                self._mlflow.log_artifact(str(file))
        finally:
            self._mlflow.end_run("FAILED" if failed else "FINISHED")


class WandB:
    """A run of Weights & Biases, where its own settings say: `WANDB_PROJECT`, `WANDB_MODE`.

    Args:
        title: The name of the run.
        settings: What it was made with.
        run_id: The run to resume; `None` for a new one.
    """

    def __init__(self, title: str, settings: Mapping[str, str], run_id: str | None):
        wandb = importlib.import_module("wandb")
        self._run = wandb.init(name=title, config=dict(settings), id=run_id, resume="allow" if run_id else None)
        self.id = str(self._run.id)

    def log(self, logs: Logs, epoch: int) -> None:
        """The numbers of an epoch."""
        self._run.log(dict(logs), step=epoch)

    def end(self, failed: bool, files: Sequence[Path]) -> None:
        """The end of the run, with its files."""
        try:
            for file in files:
                self._run.save(str(file.resolve()), base_path=str(file.resolve().parent), policy="now")
        finally:
            self._run.finish(exit_code=int(failed))


Tracker = MLflow | WandB
KINDS: dict[str, type[Tracker]] = {"mlflow": MLflow, "wandb": WandB}


@contextlib.contextmanager
def tracked(
    names: Sequence[str],
    title: str,
    settings: Mapping[str, str],
    before: Sequence[Logs],
    folder: Path,
    ids: dict[str, str],
    files: Sequence[Path] = (),
) -> Iterator[list["keras.callbacks.Callback"]]:
    """What logs a run: ended when the block ends, as failed if it raises.

    Args:
        names: What `trackers_in` returned.
        title: The name of the run.
        settings: What it is made with.
        before: The logs of completed epochs, in a resumed run.
        folder: Where TensorBoard's files go.
        ids: Tracker -> its run to resume; gets those of new ones.
        files: What the run writes, if nothing goes wrong.

    Yields:
        The callbacks for `fit`.
    """
    import keras

    trackers: dict[str, Tracker] = {}
    try:
        with console.bad_input():
            for name in names:
                if name not in KINDS:
                    continue
                try:
                    trackers[name] = KINDS[name](title, settings, ids.get(name))
                except Exception as error:
                    raise ValueError(f"--log {name} cannot begin: {error}") from error
                for number, logs in enumerate(before if name not in ids else (), start=1):
                    trackers[name].log(_finite(logs), number)
                ids[name] = trackers[name].id
        callbacks: list[keras.callbacks.Callback] = [_callback(trackers)] if trackers else []
        if "tensorboard" in names:
            callbacks.append(keras.callbacks.TensorBoard(str(folder), write_graph=False))
        yield callbacks
    except BaseException:
        _of_all(trackers, lambda tracker: tracker.end(True, ()))
        raise
    _of_all(trackers, lambda tracker: tracker.end(False, [file for file in files if file.exists()]))


def _callback(trackers: dict[str, Tracker]) -> "keras.callbacks.Callback":
    import keras

    class LogEpochs(keras.callbacks.Callback):
        """Hands the logs of every epoch on."""

        def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
            _of_all(trackers, lambda tracker: tracker.log(_finite(logs or {}), epoch + 1))

    return LogEpochs()


def _finite(logs: Mapping[str, Any]) -> dict[str, float]:
    numbers = {name: float(value) for name, value in logs.items()}
    return {name: value for name, value in numbers.items() if math.isfinite(value)}


def _of_all(trackers: dict[str, Tracker], action: Callable[[Tracker], None]) -> None:
    """Does it for each. One that fails gets a warning and no more calls: the model is worth more than its log."""
    for name, tracker in list(trackers.items()):
        try:
            action(tracker)
        except Exception as error:
            del trackers[name]
            console.tell("warning", f"--log {name}: nothing more is logged there: {type(error).__name__}: {error}")

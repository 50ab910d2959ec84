"""`Chosen`: a `learning_rate` that is more than a number: what `difflr.suggest` found, or `"auto"`."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeGuard, runtime_checkable

import keras

from difflr.fine_tuning.keep_better_head import KeepBetterHead
from difflr.plan import Plan

AUTO = "auto"
OF_SEARCH = ("validation_data", "validation_split", "batch_size", "steps_per_epoch", "sample_weight", "class_weight")
OF_PLAN = ("plan", "rate_ratio", "normalization", "freeze_epochs")


@runtime_checkable
class Chosen(Protocol):
    """What `fine_tune` needs of a choice; `difflr.Choice` is one."""

    @property
    def learning_rate(self) -> float:
        """The base rate."""

    @property
    def plan(self) -> Plan:
        """The plan."""

    @property
    def head_first(self) -> bool:
        """Whether the head trains alone first."""


# How `"auto"` searches: set by `difflr.choosing`, which stands above this folder and builds on it.
search: Callable[..., Chosen] | None = None


def is_chosen(learning_rate: object) -> TypeGuard[Chosen | str]:
    """Whether a `learning_rate` is a choice, or asks for one.

    Args:
        learning_rate: That of `fine_tune`.

    Raises:
        ValueError: If it is another word than `"auto"`.
    """
    if isinstance(learning_rate, str) and learning_rate != AUTO and not _reads_as_number(learning_rate):
        raise ValueError(
            '`learning_rate` is a number, a difflr.Choice or "auto", with which it is measured. '
            f"Received: {learning_rate!r}."
        )
    return learning_rate == AUTO if isinstance(learning_rate, str) else isinstance(learning_rate, Chosen)


def _reads_as_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def with_choice(
    fine_tune: Callable[..., keras.callbacks.History],
    choice: Chosen | str,
    model: keras.Model,
    data: Sequence[object],
    settings: Mapping[str, Any],
    freeze_epochs: int,
) -> keras.callbacks.History:
    """Fine-tunes as chosen; searches first if the choice is `"auto"`.

    Args:
        fine_tune: `difflr.fine_tune`.
        choice: The choice, or `"auto"`.
        model: The model.
        data: `x` and `y`.
        settings: The other arguments of `fine_tune`.
        freeze_epochs: The epochs of the head alone, where the user says nothing.

    Raises:
        ValueError: If arguments contradict the choice.
    """
    arguments = dict(settings)
    wanted = arguments.pop("freeze_epochs", None)
    freeze_epochs = freeze_epochs if wanted is None else wanted
    callbacks = _as_list(arguments.get("callbacks"))
    journal = _journal(callbacks)
    if isinstance(choice, str):
        choice = _search(model, data, arguments, freeze_epochs, journal)
    elif any(arguments.get(name) is not None for name in OF_PLAN[:3]):
        raise ValueError(
            "A choice sets which variables train at which rate: leave out `plan`, `rate_ratio` and `normalization`."
        )
    for name in OF_PLAN:
        arguments.pop(name, None)
    epochs = arguments.pop("epochs") + (0 if choice.head_first else freeze_epochs)
    freeze_epochs = freeze_epochs if choice.head_first else 0
    protects = arguments.get("validation_data") is not None or arguments.get("validation_split")
    if protects and freeze_epochs:
        callbacks = [*callbacks, KeepBetterHead(freeze_epochs)]
    history = fine_tune(
        model,
        *data,
        **{**arguments, "callbacks": callbacks},
        epochs=epochs,
        freeze_epochs=freeze_epochs,
        learning_rate=choice.learning_rate,
        plan=choice.plan,
    )
    history.choice = choice
    if journal is not None and os.path.exists(journal):
        os.unlink(journal)
    return history


def _search(
    model: keras.Model, data: Sequence[object], arguments: dict[str, Any], freeze_epochs: int, journal: str | None
) -> Chosen:
    if search is None:
        raise RuntimeError('learning_rate="auto" needs difflr.choosing: import difflr.')
    if any(arguments.get(name) is not None for name in ("rate_ratio", "normalization")):
        raise ValueError('With learning_rate="auto" these are measured: leave out `rate_ratio` and `normalization`.')
    passed = {name: arguments[name] for name in (*OF_SEARCH, "plan", "loss", "optimizer", "head") if name in arguments}
    verbose = arguments.get("verbose", "auto")
    choice = search(
        model,
        *data,
        **{name: value for name, value in passed.items() if value is not None},
        epochs=arguments["epochs"],
        freeze_epochs=freeze_epochs,
        journal=journal,
        verbose=verbose,
    )
    if verbose != 0:
        print(choice)
    return choice


def _journal(callbacks: Sequence[keras.callbacks.Callback]) -> str | None:
    """Where trials are kept, beside the backup of the run, if it has one."""
    folders = [getattr(callback, "backup_dir", None) for callback in callbacks]
    found = [folder for folder in folders if folder is not None]
    return f"{str(found[0]).rstrip('/')}.choosing.json" if found else None


def _as_list(callbacks: Any) -> list[Any]:
    return list(callbacks) if isinstance(callbacks, (list, tuple)) else [] if callbacks is None else [callbacks]

"""`fine_tune`: the head first, then everything at discriminative rates, in one call."""

import os
from collections.abc import Sequence
from typing import Any, Literal

import keras

from difflr import keras_private
from difflr.checks import checked_number, checked_option, checked_rate, checked_steps
from difflr.choosing.choice import Choice
from difflr.choosing.examples import num_batches
from difflr.choosing.fine_tune_settings import fine_tune_settings, with_rates_of_plan, with_values
from difflr.choosing.setting import Setting, setting_of
from difflr.choosing.stages import cycles, default_plan, head_paths
from difflr.choosing.suggest import suggest
from difflr.depth.named_head import HEAD, Target, named_head
from difflr.fine_tuning.keep_better_head import KeepBetterHead
from difflr.phases import PhaseScheduler, unfreeze
from difflr.plan import Plan
from difflr.recipes import no_decay
from difflr.signatures import check_keywords

AUTO = "auto"
FREEZE_EPOCHS = 1
# Arguments of `fit` that set the length of an epoch, and that matter to a search.
LENGTH = ("batch_size", "validation_split", "steps_per_epoch")
OF_SEARCH = (*LENGTH, "validation_data", "sample_weight", "class_weight")


def fine_tune(
    model: keras.Model,
    x: Any,
    y: Any = None,
    *,
    epochs: int,
    learning_rate: float | Choice | Literal["auto"] | None = None,
    freeze_epochs: int | None = None,
    rate_ratio: float | None = None,
    normalization: Literal["frozen", "trained"] | None = None,
    head: Target = HEAD,
    plan: Plan | None = None,
    optimizer: Any = None,
    loss: Any = None,
    metrics: Any = None,
    callbacks: Any = None,
    **fit_arguments: Any,
) -> keras.callbacks.History:
    """Fine-tunes a pretrained model with a new head: the head alone, then everything, lower layers more slowly.

    For `freeze_epochs` only the head trains, in a cycle that peaks at `learning_rate`. Then everything trains for
    `epochs`, in a second cycle: the head peaks at half of `learning_rate`, the lowest layers at that / `rate_ratio`, with
    geometric rates in between. Both are phases of one `fit`, with one history; the optimizer keeps its state.

    `difflr.fine_tune_settings` chooses the other settings, from the layers of the model and the number of steps. `fine_tune`
    prints the settings and their reasons unless `verbose=0`; the returned history has them as `settings`.

    After a keyboard interrupt or an error, the model has the weights of the last step, everything that the plan trains is
    trainable again, and `model.history` has the completed epochs. With `difflr.BackupAndRestore` in `callbacks`, the same
    call resumes an interrupted run, in a new process too.

    Args:
        model: A built Keras model: a pretrained backbone and a new head. If it is compiled, its loss, metrics and
            optimizer are reused.
        x: As in `fit`: arrays, a `tf.data.Dataset`, a torch `DataLoader`, a `keras.utils.PyDataset`, a generator.
        y: As in `fit`: the targets, unless `x` includes them.
        epochs: Integer. Epochs with everything trainable; they follow the `freeze_epochs`.
        learning_rate: Float > 0. The peak rate, that of the head while it trains alone. By default 2 / the number of input
            features of the head, limited to 1e-3 ... 3e-2. Or a `difflr.Choice`, whose plan is used, too; or
            `"auto"`: `difflr.suggest` measures one first. With either and validation data, the result is never worse on
            that data than after the head-only epochs.
        freeze_epochs: Integer. Epochs with only the head trainable; 0 for none. Defaults to 1.
        rate_ratio: Float >= 1. Rate of the head / rate of the lowest layers. By default each group of layers has 0.75 of the
            rate of the one above, until the ratio is 10.
        normalization: `"frozen"` keeps the weights and moving statistics of pretrained BatchNormalization layers below the
            head; `"trained"` trains them. By default they are frozen if the training is too short for moving statistics to
            follow: fewer than 300 steps with a momentum of 0.99.
        head: The target of the head (layer, path, ...; as in `difflr.Rule`), or a list of targets. Layers that take all
            inputs from it belong to it. By default the head is found from the data flow.
        plan: A `difflr.Plan` instead of `rate_ratio` and `normalization`. If none of the three is given, the optimizer's
            plan is used, if it has one.
        optimizer: A stock or difflr optimizer, or its name. `fine_tune` trains with a copy whose learning
            rate is the cycles. By default the optimizer of the compiled model, else AdamW with a weight decay
            of 0.01, except on biases and norms, and a global norm of the gradients of at most 1.
        loss: As in `compile`; needed if the model is not compiled.
        metrics: As in `compile`.
        callbacks: As in `fit`. Both phases are one training for them.
        **fit_arguments: Other arguments of `fit`: `validation_data`, `batch_size`, `verbose`, ... Data
            without a length needs `steps_per_epoch`, for the cycles.

    Returns:
        The Keras `History` of both phases. Its `settings` are the `difflr.FineTuneSettings` that were used.

    Raises:
        TypeError: Before training, if an argument has an unknown form.
        ValueError: Before training, if a number is out of its range; if the model is not built, has no head, or is neither
            compiled nor given a `loss`; if the backbone is frozen; or if the length of an epoch is unknown.

    Example:

    ```python
    import keras
    import difflr

    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    history = difflr.fine_tune(model, x, y, epochs=2, loss=loss, metrics=["accuracy"], verbose=0)
    ```

    Reference: fastai's `Learner.fine_tune` (`callback/schedule.py`) has the same cycles. Unlike there, rates and ratio are
    chosen for the model, normalization layers of a frozen backbone are frozen too, momentum has no cycle, and the
    optimizer keeps its state from one phase to the next.
    """
    check_keywords("fine_tune", fit_arguments, fine_tune, getattr(model, "fit", keras.Model.fit))
    fit_arguments["callbacks"] = callbacks = _as_list(callbacks)
    learning_rate = _checked_learning_rate(learning_rate)
    rate_ratio = None if rate_ratio is None else checked_number(rate_ratio, "rate_ratio", lowest=1)
    checked_option(normalization, "normalization", ("frozen", "trained", None))
    epochs = checked_steps(epochs, "epochs")
    freeze_epochs = None if freeze_epochs is None else checked_steps(freeze_epochs, "freeze_epochs", lowest=0)
    _check_one_sets_the_rates(learning_rate, plan, rate_ratio=rate_ratio, normalization=normalization)
    setting = setting_of(model, optimizer, loss, metrics)
    choice, journal = learning_rate if isinstance(learning_rate, Choice) else None, _journal(callbacks)
    if learning_rate == AUTO:
        verbose = fit_arguments.get("verbose", "auto")
        choice = suggest(
            model,
            x,
            y,
            epochs=epochs,
            loss=loss,
            plan=plan,
            freeze_epochs=freeze_epochs,
            head=head,
            optimizer=optimizer,
            journal=journal,
            verbose=verbose,
            **{name: fit_arguments[name] for name in OF_SEARCH if fit_arguments.get(name) is not None},
        )
        if verbose != 0:
            print(choice)
    if choice is not None:
        learning_rate, plan = choice.learning_rate, choice.plan
        freeze_epochs = FREEZE_EPOCHS if freeze_epochs is None else freeze_epochs
        if not choice.head_first:
            epochs, freeze_epochs = epochs + freeze_epochs, 0
        protects = fit_arguments.get("validation_data") is not None or fit_arguments.get("validation_split")
        if protects and freeze_epochs:
            fit_arguments["callbacks"] = [*callbacks, KeepBetterHead(freeze_epochs)]
    asked = {"learning_rate": learning_rate, "freeze_epochs": freeze_epochs}
    asked |= {"rate_ratio": rate_ratio, "normalization": normalization}
    history = _fit(setting, x, y, epochs, asked, head, plan, fit_arguments)
    if choice is not None:
        history.choice = choice
        if journal is not None and os.path.exists(journal):
            os.unlink(journal)
    return history


def _fit(
    setting: Setting,
    x: object,
    y: object,
    epochs: int,
    asked: dict[str, Any],
    head: Target,
    plan: Plan | None,
    fit_arguments: dict[str, Any],
) -> keras.callbacks.History:
    """Trains in two cycles, and leaves everything that the plan trains trainable."""
    model = setting.model
    of_length = {name: fit_arguments[name] for name in LENGTH if name in fit_arguments}
    batches = num_batches(x, **of_length)
    Plan(model)  # raises if it is not built
    plan = setting.whole_plan(plan) if asked["rate_ratio"] is None and asked["normalization"] is None else plan
    settings = fine_tune_settings(model, epochs=epochs, steps_per_epoch=batches, head=head)
    if asked["learning_rate"] is None:
        setting.warn_of_other_scale(settings.learning_rate)
    settings = with_values(settings, "as asked", **asked)
    if plan is not None:
        settings = with_rates_of_plan(settings)
    else:
        plan = default_plan(model, settings.rate_ratio, head, settings.normalization)
        plan = plan if setting.optimizer is not None else plan * no_decay(model)
    if settings.freeze_epochs:
        _check_body_trains(plan, model, head)
    phases = cycles(
        settings.freeze_epochs, settings.freeze_epochs * batches, epochs * batches, head=head_paths(model, head)
    )
    if fit_arguments.get("verbose", "auto") != 0:
        print(settings)
    setting.compile(plan, settings.learning_rate)
    fit_arguments["callbacks"] = [*fit_arguments["callbacks"], PhaseScheduler(phases)]
    try:
        history = model.fit(x, y, epochs=settings.freeze_epochs + epochs, **fit_arguments)
    finally:
        keras_private.sync_state(model)  # after an interrupt in the middle of an epoch
        if model.optimizer.built:
            unfreeze(model)
    history.settings = settings
    return history


def _checked_learning_rate(value: Any) -> Any:
    if value is None or isinstance(value, Choice) or (isinstance(value, str) and value == AUTO):
        return value
    try:
        return checked_rate(value, "learning_rate")
    except ValueError as error:
        raise ValueError(f'{error} It is a number, a difflr.Choice or "auto", with which it is measured.') from None


def _check_one_sets_the_rates(learning_rate: object, plan: Plan | None, **others: object) -> None:
    given = [name for name, value in others.items() if value is not None]
    if isinstance(learning_rate, Choice):
        sets, given = "A choice", given if plan is None else ["plan", *given]
    elif learning_rate == AUTO:
        sets = 'learning_rate="auto"'
    else:
        sets, given = "A `plan`", [] if plan is None else given
    if given:
        names = " and ".join(f"`{name}`" for name in given)
        raise ValueError(f"{sets} sets which variables train at which rate: leave out {names}.")


def _journal(callbacks: Sequence[keras.callbacks.Callback]) -> str | None:
    """Where trials are kept, beside the backup of the run, if it has one."""
    folders = [getattr(callback, "backup_dir", None) for callback in callbacks]
    folder = next((folder for folder in folders if folder is not None), None)
    return None if folder is None else f"{str(folder).rstrip('/')}.choosing.json"


def _check_body_trains(plan: Plan, model: keras.Model, head: Target) -> None:
    in_head = named_head(model, head)
    if all(id(row.variable) in in_head for row in plan.rows):
        raise ValueError(
            f"{type(model).__name__} '{model.name}' has only a head, so there is no body to fine-tune after it. Train it "
            "with freeze_epochs=0, or name the head, if it is a part: head='...'."
        )
    if all(row.frozen for row in plan.rows if id(row.variable) not in in_head):
        raise ValueError(
            "The body is frozen, by the plan or by `layer.trainable = False`, so that there is nothing but the head to "
            "fine-tune. Set `trainable = True` on it, or take the freezing out of the plan; to train the head alone, use "
            "freeze_epochs=0."
        )


def _as_list(callbacks: Any) -> list[Any]:
    return list(callbacks) if isinstance(callbacks, (list, tuple)) else [] if callbacks is None else [callbacks]

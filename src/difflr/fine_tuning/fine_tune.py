"""`fine_tune`: the head first, then everything at discriminative rates, in one call."""

import warnings
from collections.abc import Sequence
from typing import Any, Literal

import keras

from difflr import keras_private
from difflr.checks import checked_number, checked_rate
from difflr.depth.named_head import HEAD, Target, is_default, named_head
from difflr.fine_tuning.chosen import Chosen, is_chosen, with_choice
from difflr.fine_tuning.fine_tune_settings import (
    default_ratio,
    fine_tune_settings,
    pretrained_statistics,
)
from difflr.fine_tuning.num_batches import num_batches
from difflr.optimizers import DifferentialOptimizer, differential
from difflr.optimizers.plan_of import plan_of
from difflr.optimizers.unwrap import inner, rewrap
from difflr.phases import Phase, Phases, PhaseScheduler, unfreeze
from difflr.plan import FROZEN, Plan
from difflr.recipes import discriminative, no_decay
from difflr.schedules import OneCycle

ADAMW = {"weight_decay": 0.01, "global_clipnorm": 1.0}  # the norm as BERT was fine-tuned, and in transformers' Trainer
FREEZE_EPOCHS = 1
NORMALIZATION = ("frozen", "trained")
# Their steps are not of Adam's size. At its default rates they lost 6 to 76 points on four tasks of development; RMSprop,
# Nadam, Adamax, Lion and Muon did not differ that much.
OTHER_SCALE = (
    keras.optimizers.SGD,
    keras.optimizers.Adagrad,
    keras.optimizers.Adadelta,
    keras.optimizers.Ftrl,
    keras.optimizers.Adafactor,
)


def fine_tune(
    model: keras.Model,
    x: Any,
    y: Any = None,
    *,
    epochs: int,
    learning_rate: float | Chosen | Literal["auto"] | None = None,
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

    `difflr.fine_tune_settings` chooses what is not given, from the layers of the model and the number of steps. The
    settings and their reasons are printed unless `verbose=0`, and are the `settings` of the returned history.

    After a keyboard interrupt or an error, the model has the weights of the last step, everything that the plan trains is
    trainable again, and `model.history` has the completed epochs. With `difflr.BackupAndRestore` in `callbacks`, the same
    call resumes an interrupted run, in a new process too.

    Args:
        model: A built Keras model: a pretrained body and a new head. If it is compiled, its loss, metrics
            and optimizer are reused.
        x: As in `fit`: arrays, a `tf.data.Dataset`, a torch `DataLoader`, a `keras.utils.PyDataset`, a generator.
        y: As in `fit`: the targets, unless `x` includes them.
        epochs: Integer. Epochs with everything trainable; they follow the `freeze_epochs`.
        learning_rate: Float > 0. The peak rate, that of the head while it trains alone. By default 2 / the number of input
            features of the head, limited to 1e-3 ... 3e-2. Or a `difflr.Choice`, whose plan is used, too; or
            `"auto"`: `difflr.suggest` measures it first. With either and with validation data the result is never worse
            on that than its own head-only stage.
        freeze_epochs: Integer. Epochs with only the head trainable; 0 for none. Defaults to 1.
        rate_ratio: Float >= 1. Rate of the head / rate of the lowest layers. By default each group of layers has 0.75 of the
            rate of the one above, until the ratio is 10.
        normalization: `"frozen"` keeps the scales and moving statistics of pretrained BatchNormalization layers in the body;
            `"trained"` trains them. By default they are frozen if the training is too short for moving statistics to
            follow: fewer than 300 steps with a momentum of 0.99.
        head: The target of the head (layer, path, ...; as in `difflr.Rule`), or a list of targets. Layers that take all
            inputs from it belong to it. By default the head is found from the data flow.
        plan: A `difflr.Plan` instead of `rate_ratio` and `normalization`. If none of the three is given, the optimizer's
            plan is used, if it has one.
        optimizer: A Keras optimizer, stock or differential, or its name. A new one with its settings is made; the
            cycles replace its learning rate. By default the optimizer of the compiled model, else AdamW with a weight decay
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
            compiled nor given a `loss`; if its body is frozen; or if the length of an epoch is unknown.

    Example:

    ```python
    import keras
    import difflr

    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    history = difflr.fine_tune(model, x, y, epochs=2, loss=loss, metrics=["accuracy"], verbose=0)
    ```

    Reference: fastai's `Learner.fine_tune` (`callback/schedule.py`): the same cycles. Other than there, rates and ratio are
    chosen for the model, normalization layers of a frozen body are frozen too, momentum has no cycle, and the optimizer
    keeps its state from one phase to the other.
    """
    if is_chosen(learning_rate):
        arguments = {"epochs": epochs, "rate_ratio": rate_ratio, "normalization": normalization, "head": head}
        arguments |= {"plan": plan, "optimizer": optimizer, "loss": loss, "metrics": metrics, "callbacks": callbacks}
        arguments |= {"freeze_epochs": freeze_epochs, **fit_arguments}
        return with_choice(fine_tune, learning_rate, model, (x, y), arguments, FREEZE_EPOCHS)
    asked = {
        "learning_rate": None if learning_rate is None else checked_rate(learning_rate, "learning_rate"),
        "freeze_epochs": None if freeze_epochs is None else _checked_epochs(freeze_epochs, "freeze_epochs", 0),
        "rate_ratio": None if rate_ratio is None else checked_number(rate_ratio, "rate_ratio", lowest=1),
        "normalization": _checked_normalization(normalization),
    }
    epochs = _checked_epochs(epochs, "epochs", 1)
    compiling = keras_private.compile_arguments(model)
    chosen = {"optimizer": optimizer, "loss": loss, "metrics": metrics}
    compiling |= {name: value for name, value in chosen.items() if value is not None}
    if compiling.get("loss") is None and not model.compiled:
        raise ValueError("The model is not compiled, so `fine_tune` needs a `loss`, as `compile` does.")
    based_on = optimizer_for_settings(compiling.pop("optimizer", None))
    batches = num_batches(
        x,
        fit_arguments.get("batch_size"),
        fit_arguments.get("validation_split", 0.0),
        fit_arguments.get("steps_per_epoch"),
    )
    Plan(model)  # raises if it is not built
    plan = _own_plan(model, plan, rate_ratio, normalization, based_on)
    settings = fine_tune_settings(model, epochs=epochs, steps_per_epoch=batches, head=head)
    if asked["learning_rate"] is None:
        warn_of_other_scale(based_on, settings.learning_rate)
    settings = settings.changed("as asked", **asked)
    if plan is None:
        rates = default_plan(model, settings.rate_ratio, head, settings.normalization)
        plan = rates if based_on is not None else rates * no_decay(model)
    else:
        settings = settings.with_plan()
    if settings.freeze_epochs:
        _check_body_trains(plan, model, head)
    phases = cycles(
        settings.freeze_epochs, settings.freeze_epochs * batches, epochs * batches, head=head_paths(model, head)
    )
    if fit_arguments.get("verbose", "auto") != 0:
        print(settings)
    model.compile(fresh(based_on, settings.learning_rate, plan), **compiling)
    try:
        history = model.fit(
            x,
            y,
            epochs=settings.freeze_epochs + epochs,
            callbacks=[*_as_list(callbacks), PhaseScheduler(phases)],
            **fit_arguments,
        )
    finally:
        keras_private.sync_state(model)  # after an interrupt in the middle of an epoch
        if model.optimizer.built:
            unfreeze(model)
    history.settings = settings
    return history


def cycles(freeze_epochs: int, head_steps: int, steps: int, *, head: Sequence[str] = (HEAD,)) -> Phases:
    """The phases of `fine_tune`: a cycle for the head alone, then one for everything with half the peak.

    Args:
        freeze_epochs: Integer, the epochs of the head alone.
        head_steps: Integer, the steps of the head alone.
        steps: Integer, the steps with everything trainable.
        head: The targets of the head.
    """
    everything = Phase("*", schedule=OneCycle(0.5, steps, 0.3, division_factor=5, final_division_factor=2e4))
    if not freeze_epochs:
        return Phases([everything])
    alone = Phase(list(head), epochs=freeze_epochs, schedule=OneCycle(1.0, head_steps, 0.99, 25, 4e3))
    return Phases([alone, everything])


def default_plan(
    model: keras.Model,
    rate_ratio: float | None = None,
    head: Target = HEAD,
    normalization: Literal["frozen", "trained"] | None = "trained",
) -> Plan:
    """The plan of `fine_tune`, without exclusions from weight decay.

    Args:
        model: A built model.
        rate_ratio: As for `fine_tune`.
        head: As for `fine_tune`.
        normalization: As for `fine_tune`.
    """
    ratio = default_ratio(model, head)[0] if rate_ratio is None else checked_number(rate_ratio, "rate_ratio", lowest=1)
    rates = discriminative(model, 1 / ratio, head=head)
    declared = [(row.variable, row.multiplier) for row in Plan(model).rows if row.multiplier not in (0, 1)]
    if declared:
        rates *= Plan(model, declared)  # which a recipe alone replaces
    kept = pretrained_statistics(model, head) if normalization == "frozen" else []
    kept = [layer for layer in kept if layer.trainable]
    return rates * Plan(model, [(layer, FROZEN) for layer in kept]) if kept else rates


def _own_plan(
    model: keras.Model, plan: Any, rate_ratio: float | None, normalization: str | None, optimizer: Any
) -> Plan | None:
    """The given plan, or the optimizer's; `None` if there is none."""
    if plan is None:
        own = inner(optimizer)
        is_asked = rate_ratio is not None or normalization is not None
        has_plan = isinstance(own, DifferentialOptimizer) and own.has_multipliers
        return plan_of(model, optimizer).whole if has_plan and not is_asked else None
    if not isinstance(plan, Plan):
        raise TypeError(f"`plan` must be a difflr.Plan. Received: {plan!r} (of type {type(plan).__name__}).")
    for name, value in (("rate_ratio", rate_ratio), ("normalization", normalization)):
        if value is not None:
            raise ValueError(
                f"A `plan` sets which variables train at which rate, and so does `{name}`: give one of them."
            )
    return plan


def head_paths(model: keras.Model, head: Target) -> list[str]:
    """The head as text, so that phases can be saved.

    Args:
        model: A built model.
        head: The target that is the head.
    """
    if is_default(head):
        return [HEAD]
    in_head = named_head(model, head)
    return [row.path for row in Plan(model).rows if id(row.variable) in in_head]


def _check_body_trains(plan: Plan, model: keras.Model, head: Target) -> None:
    in_head = named_head(model, head)
    if all(row.frozen for row in plan.rows if id(row.variable) not in in_head):
        raise ValueError(
            "The body is frozen, by the plan or by `layer.trainable = False`, so that there is nothing but the head to "
            "fine-tune. Set `trainable = True` on it, or take the freezing out of the plan; to train the head alone, use "
            "freeze_epochs=0."
        )


def optimizer_for_settings(given: Any) -> Any:
    """The optimizer with the settings to use; `None` for the default.

    Args:
        given: A Keras optimizer, its name, or `None`.

    Raises:
        TypeError: If it is a `MultiOptimizer`.
    """
    if given is None:
        return None
    optimizer = keras.optimizers.get(given)
    if isinstance(optimizer, keras_private.MULTI_OPTIMIZERS):
        raise TypeError(
            "`fine_tune` has one schedule and needs one optimizer, not a keras.optimizers.MultiOptimizer. Give it "
            "another `optimizer`."
        )
    return optimizer


def warn_of_other_scale(optimizer: Any, learning_rate: float) -> None:
    """Warns that the default rate is not meant for an optimizer.

    Args:
        optimizer: The optimizer with the settings to use, or `None` for the default.
        learning_rate: The default rate.
    """
    own = inner(optimizer)
    if isinstance(own, OTHER_SCALE):
        warnings.warn(
            f"The default learning rate, {learning_rate:g}, is meant for Adam and its relatives, and may be far from right "
            f"for {type(own).__name__}. Give a `learning_rate` (difflr.find_learning_rate helps to find it), or "
            "optimizer='adamw'.",
            stacklevel=3,
        )


def fresh(optimizer: Any, learning_rate: float, plan: Plan) -> Any:
    """A new differential optimizer with the settings of another.

    Args:
        optimizer: The one with the settings, stock or differential; `None` for the default.
        learning_rate: Float > 0.
        plan: Its plan.
    """
    if optimizer is None:
        return differential(keras.optimizers.AdamW)(learning_rate, multipliers=plan, **ADAMW)
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        return rewrap(optimizer, fresh(optimizer.inner_optimizer, learning_rate, plan))
    if isinstance(optimizer, DifferentialOptimizer):  # without its plan, which may be one that only a build resolves
        config = super(DifferentialOptimizer, optimizer).get_config()  # type: ignore[misc]
        config |= {"weight_decay_follows": optimizer.weight_decay_follows, "fused": optimizer.fused}
    else:
        config = optimizer.get_config()
    config |= {"learning_rate": learning_rate, "multipliers": plan}
    made = differential(type(optimizer)).from_config(config)
    keras_private.copy_weight_decay_exclusions(optimizer, made)
    return made


def _checked_epochs(value: Any, name: str, lowest: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < lowest:
        raise ValueError(f"`{name}` must be an integer >= {lowest}. Received: {value!r}.")
    return value


def _checked_normalization(value: Any) -> Any:
    if value not in (None, *NORMALIZATION):
        raise ValueError(f"`normalization` must be 'frozen' or 'trained'. Received: {value!r}.")
    return value


def _as_list(callbacks: Any) -> list[Any]:
    return list(callbacks) if isinstance(callbacks, (list, tuple)) else [] if callbacks is None else [callbacks]

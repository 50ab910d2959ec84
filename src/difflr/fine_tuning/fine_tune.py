"""`fine_tune`: the head first, then everything at discriminative rates, in one call."""

from typing import Any

import keras

from difflr import keras_private
from difflr.checks import checked_number, checked_rate
from difflr.fine_tuning.num_batches import num_batches
from difflr.optimizers import DifferentialOptimizer, differential
from difflr.optimizers.plan_of import plan_of
from difflr.optimizers.unwrap import inner
from difflr.phases import Phase, Phases, PhaseScheduler, unfreeze
from difflr.plan import Plan, layer_tree
from difflr.plan.targets import Targets
from difflr.recipes import discriminative, no_decay
from difflr.schedules import OneCycle

HEAD = "kind:head"
RATE_RATIO = 100.0
WEIGHT_DECAY = 0.01


def fine_tune(
    model: keras.Model,
    x: Any,
    y: Any = None,
    *,
    epochs: int,
    learning_rate: float = 2e-3,
    freeze_epochs: int = 1,
    rate_ratio: float | None = None,
    plan: Plan | None = None,
    optimizer: Any = None,
    loss: Any = None,
    metrics: Any = None,
    callbacks: Any = None,
    **fit_arguments: Any,
) -> keras.callbacks.History:
    """Fine-tunes a pretrained model with a new head: the head alone, then everything, lower layers more slowly.

    For `freeze_epochs` only the head is trainable, while the rate goes up to `learning_rate` in one cycle. Then, for
    `epochs`, everything is: in a second cycle the head goes up to half of `learning_rate`, the lowest layers to a
    hundredth of that, the others to rates geometrically between. Both are phases of one `fit`: one progress, one
    history, one optimizer that keeps its state.

    A keyboard interrupt or an error passes through. The weights are then those of the last step, everything is trainable
    again that the plan trains, and `model.history` has the epochs that were complete. With
    `keras.callbacks.BackupAndRestore` among the `callbacks`, the same call goes on where a run was broken off, in a new
    process too.

    Args:
        model: A built Keras model: a pretrained body and a new head. If it is compiled, its loss, metrics and
            optimizer serve again.
        x: As in `fit`: arrays, a `tf.data.Dataset`, a torch `DataLoader`, a `keras.utils.PyDataset`, a generator.
        y: As in `fit`: the targets, where `x` does not hold them.
        epochs: Integer. Epochs with everything trainable; they come on top of `freeze_epochs`.
        learning_rate: Float > 0. The highest rate, that of the head while it trains alone. Defaults to 2e-3.
        freeze_epochs: Integer. Epochs with only the head trainable; 0 for none. Defaults to 1.
        rate_ratio: Float >= 1. How many times slower the lowest layers are than the head. Defaults to 100.
        plan: A `difflr.Plan` in place of these rates. By default, if neither it nor `rate_ratio` is given, the plan of
            the optimizer, where that has one.
        optimizer: A Keras optimizer, stock or differential, or its name. A new one with its settings is made; its
            learning rate gives way to the cycles. By default the one the model is compiled with, else AdamW with a weight
            decay of 0.01, none of it on biases and norms.
        loss: As in `compile`; needed if the model is not compiled.
        metrics: As in `compile`.
        callbacks: As in `fit`. They see both phases as one training.
        **fit_arguments: Other arguments of `fit`: `validation_data`, `batch_size`, `verbose`, ... Where the data has no
            length, `steps_per_epoch` is needed: the cycles have to know.

    Returns:
        The Keras `History` of both phases.

    Raises:
        TypeError: Before training, if an argument is of no known form.
        ValueError: Before training, if a number is out of its range; if the model is not built, has no head, or is neither
            compiled nor given a `loss`; if its body is frozen; or if the length of an epoch is not known.

    Example:

    ```python
    import keras
    import difflr

    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    history = difflr.fine_tune(model, x, y, epochs=2, loss=loss, metrics=["accuracy"], verbose=0)
    ```

    Reference: fastai's `Learner.fine_tune` (`callback/schedule.py`): the same rates, ratio and cycles. Other than there,
    normalisation layers of a frozen body are frozen too, momentum has no cycle, and the optimizer keeps its state from
    one phase to the other.
    """
    learning_rate = checked_rate(learning_rate, "learning_rate")
    epochs, freeze_epochs = _checked_epochs(epochs, "epochs", 1), _checked_epochs(freeze_epochs, "freeze_epochs", 0)
    compiling = keras_private.compile_arguments(model)
    chosen = {"optimizer": optimizer, "loss": loss, "metrics": metrics}
    compiling |= {name: value for name, value in chosen.items() if value is not None}
    if compiling.get("loss") is None and not model.compiled:
        raise ValueError("The model is not compiled, so `fine_tune` needs a `loss`, as `compile` does.")
    settings = optimizer_for_settings(compiling.pop("optimizer", None))
    plan = _plan(model, plan, rate_ratio, settings)
    batches = num_batches(
        x,
        fit_arguments.get("batch_size"),
        fit_arguments.get("validation_split", 0.0),
        fit_arguments.get("steps_per_epoch"),
    )
    phases = cycles(freeze_epochs, freeze_epochs * batches, epochs * batches)
    if freeze_epochs:
        _check_body_trains(plan, model)
    model.compile(fresh(settings, learning_rate, plan), **compiling)
    try:
        return model.fit(
            x,
            y,
            epochs=freeze_epochs + epochs,
            callbacks=[*_as_list(callbacks), PhaseScheduler(phases)],
            **fit_arguments,
        )
    finally:
        keras_private.sync_state(model)  # after an interrupt in the middle of an epoch
        if model.optimizer.built:
            unfreeze(model)


def cycles(freeze_epochs: int, head_steps: int, steps: int) -> Phases:
    """The phases of `fine_tune`: one cycle for the head alone, then one for everything, up to half the rate.

    Args:
        freeze_epochs: Integer, the epochs of the head alone.
        head_steps: Integer, the steps of the head alone.
        steps: Integer, the steps with everything trainable.
    """
    everything = Phase("*", schedule=OneCycle(0.5, steps, 0.3, division_factor=5, final_division_factor=2e4))
    if not freeze_epochs:
        return Phases([everything])
    return Phases([Phase(HEAD, epochs=freeze_epochs, schedule=OneCycle(1.0, head_steps, 0.99, 25, 4e3)), everything])


def _plan(model: keras.Model, plan: Any, rate_ratio: float | None, optimizer: Any) -> Plan:
    if plan is not None:
        if not isinstance(plan, Plan):
            raise TypeError(f"`plan` must be a difflr.Plan. Received: {plan!r} (of type {type(plan).__name__}).")
        if rate_ratio is not None:
            raise ValueError("A `plan` says who trains at which rate, and so does `rate_ratio`: give one of them.")
        return plan
    own = inner(optimizer)
    if rate_ratio is None and isinstance(own, DifferentialOptimizer) and own.has_multipliers:
        return plan_of(model, optimizer).whole
    rates = default_plan(model, RATE_RATIO if rate_ratio is None else rate_ratio)
    return rates if optimizer is not None else rates * no_decay(model)


def default_plan(model: keras.Model, rate_ratio: float = RATE_RATIO) -> Plan:
    """The rates of `fine_tune`, of which no optimizer takes away the weight decay."""
    rates = discriminative(model, 1 / checked_number(rate_ratio, "rate_ratio", lowest=1))
    declared = [(row.variable, row.multiplier) for row in Plan(model).rows if row.multiplier not in (0, 1)]
    return rates * Plan(model, declared) if declared else rates  # a recipe by itself replaces what layers declare


def _check_body_trains(plan: Plan, model: keras.Model) -> None:
    leaves = layer_tree.walk(model)
    head = {id(leaves[position].variable) for position, _ in Targets(leaves, model).match(HEAD)}
    if all(row.frozen for row in plan.rows if id(row.variable) not in head):
        raise ValueError(
            "The body is frozen, by the plan or by `layer.trainable = False`, so that there is nothing but the head to "
            "fine-tune. Set `trainable = True` on it, or take the freezing out of the plan; to train the head alone, use "
            "freeze_epochs=0."
        )


def optimizer_for_settings(given: Any) -> Any:
    """The optimizer whose settings to use; `None` for the default.

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


def fresh(optimizer: Any, learning_rate: float, plan: Plan) -> Any:
    """A new differential optimizer with the settings of another.

    Args:
        optimizer: The one with the settings, stock or differential; `None` for the default.
        learning_rate: Float > 0.
        plan: Its plan.
    """
    if optimizer is None:
        return differential(keras.optimizers.AdamW)(learning_rate, weight_decay=WEIGHT_DECAY, multipliers=plan)
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        config = {name: value for name, value in optimizer.get_config().items() if name != "inner_optimizer"}
        return keras.optimizers.LossScaleOptimizer(fresh(optimizer.inner_optimizer, learning_rate, plan), **config)
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


def _as_list(callbacks: Any) -> list[Any]:
    return list(callbacks) if isinstance(callbacks, (list, tuple)) else [] if callbacks is None else [callbacks]

"""`fine_tune_settings`: the default settings of `fine_tune`, and their reasons."""

import dataclasses
from collections.abc import Mapping
from typing import Literal

import keras

from difflr.checks import checked_steps
from difflr.depth.depth_groups import depth_groups
from difflr.depth.named_head import HEAD, Target, named_head
from difflr.plan import Plan
from difflr.text_table import ShownAsTable, TextTable, counted, text_table

# Tuned on ten tasks, none of them in docs/comparison.md. The change of the outputs per Adam step grows with the number of
# input features of the head, so the rate falls with that number, as in mup: 4e-3 with 512.
RATE_TIMES_FEATURES = 2.0
LOWEST_RATE, HIGHEST_RATE = 1e-3, 3e-2
# Each group of layers at 0.75 of the rate of the one above, as in BEiT and MAE; where groups are many, not that far down.
RATE_DECAY, HIGHEST_RATIO = 0.75, 10.0
# With a momentum of 0.99, moving statistics keep 5 % of their old values after 300 steps.
FORGOTTEN = 3.0


@dataclasses.dataclass(frozen=True)
class FineTuneSettings(ShownAsTable):
    """The settings of `difflr.fine_tune`, with reasons: print them, or read `history.settings`.

    Args:
        learning_rate: The peak rate of the head while it trains alone.
        rate_ratio: Rate of the head / rate of the lowest layers; `None` if a plan sets the rates.
        freeze_epochs: Epochs with only the head trainable.
        normalization: Whether the pretrained BatchNormalization layers of the backbone are `"frozen"` or `"trained"`;
            `None` if a plan decides it.
        reasons: Name of the setting -> its reason.

    Example:

    ```python
    settings = difflr.fine_tune_settings(model, epochs=8, steps_per_epoch=20)
    print(settings)
    ```
    """

    learning_rate: float
    rate_ratio: float | None
    freeze_epochs: int
    normalization: Literal["frozen", "trained"] | None
    reasons: Mapping[str, str]

    def __str__(self) -> TextTable:
        names = [field.name for field in dataclasses.fields(self) if field.name != "reasons"]
        values = [getattr(self, name) for name in names]
        cells = [
            f"{value:.3g}" if isinstance(value, float) else "-" if value is None else str(value) for value in values
        ]
        lines = [[name, cell, self.reasons[name]] for name, cell in zip(names, cells, strict=True)]
        return text_table(["fine_tune", "value", "why"], lines, left=(0, 2))


def fine_tune_settings(
    model: keras.Model, *, epochs: int, steps_per_epoch: int, head: Target = HEAD
) -> FineTuneSettings:
    """The settings of `difflr.fine_tune` for a model, from its layers and the number of steps; nothing is trained.

    Args:
        model: A built Keras model: a pretrained backbone and a head.
        epochs: Integer. Epochs with everything trainable.
        steps_per_epoch: Integer. Batches in an epoch.
        head: As for `difflr.fine_tune`.

    Returns:
        A `FineTuneSettings`.

    Raises:
        ValueError: If the model is not built or has no head, or a number is out of its range.

    Example:

    ```python
    settings = difflr.fine_tune_settings(model, epochs=8, steps_per_epoch=20)
    print(settings.learning_rate)
    ```
    """
    steps = checked_steps(epochs, "epochs", lowest=0) * checked_steps(steps_per_epoch, "steps_per_epoch")
    Plan(model)  # says so if the model is not built
    rate, why_rate = _rate(model, head)
    ratio, why_ratio = default_ratio(model, head)
    normalization, why_normalization = _normalization(model, steps, head)
    return FineTuneSettings(
        learning_rate=rate,
        rate_ratio=ratio,
        freeze_epochs=1,
        normalization=normalization,
        reasons={
            "learning_rate": why_rate,
            "rate_ratio": why_ratio,
            "freeze_epochs": "training the head first spares the body the first, large gradients",
            "normalization": why_normalization,
        },
    )


def with_values(settings: FineTuneSettings, reason: str, **values: object) -> FineTuneSettings:
    """The settings with other values; `None` leaves a value unchanged.

    Args:
        settings: The settings.
        reason: The reason for the new values.
        **values: Name of the setting -> value.
    """
    chosen = {name: value for name, value in values.items() if value is not None}
    reasons = {**settings.reasons, **dict.fromkeys(chosen, reason)}
    return dataclasses.replace(settings, **chosen, reasons=reasons)  # type: ignore[arg-type]


def with_rates_of_plan(settings: FineTuneSettings) -> FineTuneSettings:
    """The settings if a plan sets the rates and what is frozen."""
    reasons = {**settings.reasons, "rate_ratio": "as the plan says", "normalization": "as the plan says"}
    return dataclasses.replace(settings, rate_ratio=None, normalization=None, reasons=reasons)


def pretrained_statistics(model: keras.Model, head: Target = HEAD) -> list[keras.layers.BatchNormalization]:
    """The BatchNormalization layers below the head that have seen data.

    Args:
        model: A built model.
        head: As for `difflr.fine_tune`.

    Example:

    ```python
    from difflr.choosing.fine_tune_settings import pretrained_statistics

    assert pretrained_statistics(model) == []  # it has none
    ```
    """
    in_head = named_head(model, head)
    return [
        layer
        for layer in Plan(model).normalization_layers()
        if isinstance(layer, keras.layers.BatchNormalization)
        and not in_head & {id(layer), *map(id, layer.trainable_variables)}
        and _has_seen_data(layer)
    ]


def default_ratio(model: keras.Model, head: Target = HEAD) -> tuple[float, str]:
    """The default `rate_ratio` of `fine_tune`, and its reason.

    Args:
        model: A built model.
        head: As for `difflr.fine_tune`.
    """
    below = len(depth_groups(model, head=head)) - 1
    by_depth = RATE_DECAY**-below
    groups = f"{counted(below, 'group')} of layers below the head"
    if by_depth > HIGHEST_RATIO:
        return HIGHEST_RATIO, f"{groups}, each at a lower rate than the one above"
    return by_depth, f"{groups}, each at {RATE_DECAY:g} of the rate of the one above"


def _rate(model: keras.Model, head: Target) -> tuple[float, str]:
    in_head = named_head(model, head)
    kernels = [row.variable for row in Plan(model).rows if id(row.variable) in in_head and len(row.variable.shape) > 1]
    if not kernels:
        return LOWEST_RATE, "the head has no kernel"
    width = max(kernel.shape[-2] for kernel in kernels)
    by_width = RATE_TIMES_FEATURES / width
    rate = min(max(by_width, LOWEST_RATE), HIGHEST_RATE)
    bounds = "" if rate == by_width else f", limited to {LOWEST_RATE:g} ... {HIGHEST_RATE:g}"
    return rate, f"{RATE_TIMES_FEATURES:g} / {width} input features of the head{bounds}; for AdamW"


def _normalization(model: keras.Model, steps: int, head: Target) -> tuple[Literal["frozen", "trained"], str]:
    layers = pretrained_statistics(model, head)
    if not layers:
        return "trained", "no pretrained BatchNormalization below the head"
    needed = round(FORGOTTEN / max(1 - max(layer.momentum for layer in layers), 1e-6))
    if steps < needed:
        verb = "is" if steps == 1 else "are"
        return "frozen", f"{counted(steps, 'step')} {verb} too few for moving statistics to follow: they need {needed}"
    return "trained", f"{counted(steps, 'step')}: moving statistics follow within {needed}"


def _has_seen_data(layer: keras.layers.BatchNormalization) -> bool:
    """Whether its statistics differ from the initial ones."""
    mean, variance = map(keras.ops.convert_to_numpy, (layer.moving_mean, layer.moving_variance))
    return bool((mean != 0).any() or (variance != 1).any())

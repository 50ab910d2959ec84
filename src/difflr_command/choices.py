"""Defaults that depend on the size of the data: epochs, class weights, normalization, precision, augmentation."""

import math
import re
from collections.abc import Sequence

import keras

import difflr
from difflr.choosing.fine_tune_settings import pretrained_statistics
from difflr.data import Examples
from difflr.data.scale import leaf_layers
from difflr.models.augmented import CHANGES, DEFAULT_CHANGES
from difflr_command.settings import Settings

FEWEST_EPOCHS, MOST_EPOCHS = 3, 20
UNEVEN = 2.0  # the most frequent class by the rarest, from which on they are weighted
MOST_WEIGHT = 10.0
PRECISION = "mixed_bfloat16"
SIDED = re.compile(r"(?i)\b(left|right|clockwise)\b")


def epochs_for(steps: int) -> int:
    """How many epochs, by the steps of one: 20 for a few dozen examples, 3 for many thousands."""
    return int(min(MOST_EPOCHS, max(FEWEST_EPOCHS, round(55 / math.sqrt(steps)))))


def class_weights(train: Examples) -> tuple[dict[int, float] | None, str | None]:
    """Weights that give every class the same say, if the classes are uneven, and what should be said of it."""
    counts = train.counts()
    present = [number for number in counts.values() if number]
    if train.task != "classes" or max(present) < UNEVEN * min(present):
        return None, None
    mean = len(train) / len(present)
    weights = {at: min(mean / number, MOST_WEIGHT) if number else 1.0 for at, number in enumerate(counts.values())}
    rarest = min(counts, key=lambda name: counts[name] or math.inf)
    commonest = max(counts, key=lambda name: counts[name])
    note = (
        f"uneven classes ({commonest} {counts[commonest]:,}, {rarest} {counts[rarest]:,}): weighted in the loss, by "
        f"{min(weights.values()):.2g} to {max(weights.values()):.2g} (--no-class-weights leaves that out)"
    )
    return weights, note


def changes_for(asked: str | None, class_names: Sequence[str]) -> tuple[tuple[str, ...], str]:
    """How images are changed at random while training, and what should be said of it.

    Args:
        asked: The option, such as `"flip,zoom"`, or `None`.
        class_names: The classes.

    Raises:
        ValueError: If a change is none that there is.
    """
    changes: tuple[str, ...] = DEFAULT_CHANGES
    why = ""
    if asked is not None:
        changes = tuple(name.strip() for name in asked.split(",") if name.strip())
        unknown = [name for name in changes if name not in CHANGES]
        if unknown or not changes:
            known = ",".join(CHANGES)
            raise ValueError(f"--augment is one or more of {known}. Received: {', '.join(unknown) or repr(asked)}.")
    elif class_names and (all(len(name) == 1 for name in class_names) or any(map(SIDED.search, class_names))):
        changes = tuple(name for name in changes if name != "flip")
        why = "; not mirrored, as the classes read like letters, digits or sides"
    return changes, f"changed at random while training: {', '.join(changes)}{why} (--no-augment leaves that out)"


def with_normalization(
    plan: difflr.Plan, model: keras.Model, settings: Settings, chosen: difflr.FineTuneSettings
) -> tuple[difflr.Plan, str | None]:
    """The plan with the pretrained BatchNormalization layers frozen, where that is asked for or chosen, and a note of it.

    Args:
        plan: The plan.
        model: The model.
        settings: What was asked for.
        chosen: What the library chooses; a plan or a recipe that was asked for comes first.
    """
    layers = [layer for layer in pretrained_statistics(model) if layer.trainable]
    asked = settings.norm == "freeze"
    chooses = settings.norm == "auto" and settings.plan is None and not settings.recipe
    if not layers or not (asked or (chooses and chosen.normalization == "frozen")):
        return plan, None
    frozen = difflr.Plan(model, [(layer, difflr.FROZEN) for layer in layers])
    why = "as asked" if asked else f"{chosen.reasons['normalization']} (--norm train trains it)"
    return plan * frozen, f"BatchNormalization stays as it was pretrained: {why}"


def set_precision(model: keras.Model, policy: str) -> list[tuple[keras.Layer, keras.DTypePolicy]]:
    """Sets the precision in which the layers with weights compute; weights, and the head, stay in float32.

    Args:
        model: The model.
        policy: Such as `"mixed_bfloat16"`.

    Returns:
        The layers and their settings, to restore before the model is saved.
    """
    layers = [layer for layer in leaf_layers(model) if layer.variables]
    before = [(layer, layer.dtype_policy) for layer in layers[:-1]]
    for layer, _ in before:
        layer.dtype_policy = keras.DTypePolicy(policy)
    return before


def gpu_computes_in_bfloat16() -> bool:
    """Whether there is a GPU that is faster in bfloat16."""
    backend = keras.backend.backend()
    if backend == "torch":
        import torch

        return bool(torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False))
    if backend == "jax":
        import jax

        return any(
            float(getattr(device, "compute_capability", 0)) >= 8 for device in jax.devices() if device.platform == "gpu"
        )
    import tensorflow as tf

    found = [tf.config.experimental.get_device_details(device) for device in tf.config.list_physical_devices("GPU")]
    return any(details.get("compute_capability", (0, 0))[0] >= 8 for details in found)

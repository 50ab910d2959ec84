"""`labeled`: examples with their answers, as a trained network takes them."""

import dataclasses
from collections.abc import Callable
from typing import Any

import difflr
from difflr.data import Examples
from difflr.data.folder import PARTS
from difflr_command.data_options import columns_in
from difflr_command.inputs import OnImage, check_shape, only_for, targets_of
from difflr_command.network import ARRAYS, IMAGES, NUMBERS, TEXTS, Network
from difflr_command.settings import EvaluateOptions, form_of


def labeled(network: Network, options: EvaluateOptions, on_image: OnImage) -> Examples:
    """The examples to evaluate a network with.

    Args:
        network: What takes them.
        options: Where they are, and in which columns of a table.
        on_image: Called with how many images were looked at, and how many there are.

    Raises:
        ValueError: If the network takes other data, or has other classes.
    """
    form, takes = form_of(options.data), network.info.data
    readers: dict[tuple[str, str], Callable[[Network, EvaluateOptions, OnImage], Examples]] = {
        ("images", IMAGES): _in_folder,
        ("table", IMAGES): _in_image_table,
        ("table", TEXTS): _in_text_table,
        ("arrays", ARRAYS): _in_arrays,
    }
    if (form, takes) not in readers:
        held = TEXTS if form == "table" else form
        raise ValueError(f"{network.file} takes {takes}, and {options.data} holds {held}.")
    examples = readers[form, takes](network, options, on_image)
    if takes != ARRAYS and examples.class_names and not network.info.class_names:
        _name_classes(network, examples.class_names, options)
    return examples


def _in_folder(network: Network, options: EvaluateOptions, on_image: OnImage) -> Examples:
    path, info, notes = options.data, network.info, []
    if (path / "test").is_dir() and all(part.name.lower() in PARTS for part in path.iterdir() if part.is_dir()):
        notes, path = [f"of the parts of {path}, test is taken"], path / "test"
    found = difflr.data.open_folder(path, **_image_form(network, on_image), class_names=info.class_names or None)
    return dataclasses.replace(found, notes=(*notes, *found.notes))


def _in_image_table(network: Network, options: EvaluateOptions, on_image: OnImage) -> Examples:
    only_for("tables of texts", IMAGES, text_column=options.text_column)
    columns = {"file_column": options.file_column, **_labels(network, options)}
    return difflr.data.open_image_table(options.data, **_image_form(network, on_image), **columns)


def _in_text_table(network: Network, options: EvaluateOptions, on_image: OnImage) -> Examples:
    only_for("tables of images", TEXTS, file_column=options.file_column)
    return difflr.data.read_table(options.data, text_column=options.text_column or "text", **_labels(network, options))


def _in_arrays(network: Network, options: EvaluateOptions, on_image: OnImage) -> Examples:
    examples, _ = difflr.data.read_arrays(options.data, targets=targets_of(network.info.task))
    check_shape(network.model.input_shape, examples.x, options.data)
    number = len(network.class_names)
    if examples.task == "classes" and examples.y.max() >= number:
        raise ValueError(
            f"y of {options.data} has labels up to {examples.y.max()}, and {network.file} tells {number} classes apart, "
            "counted from 0."
        )
    return examples


def _image_form(network: Network, on_image: OnImage) -> dict[str, Any]:
    return {"size": network.info.size, "channels": network.info.channels, "on_image": on_image}


def _labels(network: Network, options: EvaluateOptions) -> dict[str, Any]:
    return {
        "label_column": columns_in(options.label_column),
        "targets": targets_of(network.info.task),
        "class_names": network.info.class_names or None,
    }


def _name_classes(network: Network, names: tuple[str, ...], options: EvaluateOptions) -> None:
    """Names the outputs of a model whose file holds no names, in the order of the alphabet."""
    if len(names) != len(network.class_names):
        raise ValueError(
            f"{options.data} has {len(names)} classes, and {network.file}, which holds no names of classes, has "
            f"{len(network.class_names)}."
        )
    task = "classes" if network.info.task == NUMBERS else network.info.task  # logits
    network.info = dataclasses.replace(network.info, class_names=names, task=task)

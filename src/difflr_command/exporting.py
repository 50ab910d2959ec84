"""What `difflr export` does: Keras's own export, checked against the model where that can be done here."""

import contextlib
import dataclasses
import importlib
import importlib.util
import json
import logging
import os
import shutil
import uuid
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import numpy as np

from difflr.files import whole_file, write_whole
from difflr_command import console
from difflr_command.backend import quietly
from difflr_command.models import load
from difflr_command.network import TEXTS, Network

Run = Callable[[np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Form:
    """A format.

    Args:
        keras_name: Keras's name for it.
        packages: Backend -> the packages that Keras needs there; none for a backend that cannot.
    """

    keras_name: str
    packages: dict[str, tuple[str, ...]]


FORMS = {
    "onnx": Form("onnx", {"torch": ("onnx", "onnxscript"), "jax": ("jax2onnx",), "tensorflow": ("tf2onnx",)}),
    "saved-model": Form(
        "tf_saved_model",
        {"tensorflow": ("tensorflow",), "jax": ("tensorflow",), "torch": ("tensorflow", "torch_xla")},
    ),
    "litert": Form("litert", {"tensorflow": ("tensorflow",), "torch": ("litert_torch",)}),
    "torch": Form("torch", {"torch": ("torch",)}),
    "openvino": Form(
        "openvino",
        {"tensorflow": ("openvino",), "torch": ("openvino",), "jax": ("openvino", "tensorflow")},
    ),
}


def check_can_export(form: str) -> None:
    """Checks that Keras can export to it here.

    Raises:
        ValueError: If the backend cannot, or a package is missing; the message says which backend can, and what to install.
    """
    backend, known = keras.backend.backend(), FORMS[form].packages
    others = [f"--backend {name}" for name in known if name != backend and not _missing(known[name])]
    instead = f", or take {' or '.join(others)}, which can here" if others else ""
    if backend not in known:
        rest = f" Take {' or '.join(others)}." if others else f" These can: {', '.join(known)}."
        raise ValueError(f"Keras exports no {form} on {backend}.{rest}")
    missing = _missing(known[backend])
    if missing:
        names = " ".join(name.replace("_", "-") for name in missing)
        extra = ' (or "difflr[onnx]")' if form == "onnx" and backend == "torch" else ""
        raise ValueError(
            f"Keras needs {' and '.join(missing)} to export {form} on {backend}: pip install {names}{extra}{instead}."
        )


def _missing(packages: tuple[str, ...]) -> list[str]:
    return [name for name in packages if importlib.util.find_spec(name) is None]


def export_model(network: Network, output: Path, form: str, as_json: bool) -> None:
    """Exports a model, and writes what its file says besides into a JSON file beside it.

    Args:
        network: The model.
        output: Where to.
        form: The format.
        as_json: Whether the result is printed as JSON.
    """
    model = load(network.file) if network.info.data == TEXTS else network.model
    about = output.with_name(f"{output.name}.json")
    with console.quiet(as_json), console.running("nothing is written"):
        with _target(output, form) as unfinished, _silenced():
            model.export(str(unfinished), format=FORMS[form].keras_name, verbose=False)
            difference = _difference(network, unfinished, form)
        write_whole(about, json.dumps(network.info.as_data(), indent=1, ensure_ascii=False) + "\n")
    result = {"output": str(output), "format": form, "about": str(about), "largest_difference": difference}
    if as_json:
        console.print_json(result)
        return
    console.output().print(f"Written: {output} and {about} (classes, and how pictures are read)")
    checked = "not checked: nothing here runs it" if difference is None else f"{difference:.1e} at most"
    console.output().print(f"Difference from the model's own outputs: {checked}")


@contextlib.contextmanager
def _target(output: Path, form: str) -> Iterator[Path]:
    """Where to export to: what is there at the end takes its place, whole or not at all."""
    if form != "saved-model":
        with whole_file(output) as unfinished:
            yield unfinished
        return
    unfinished = output.with_name(f".unfinished-{uuid.uuid4().hex[:8]}-{output.name}")
    try:
        yield unfinished
        os.replace(unfinished, output)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    """Without what exporters print: it is about themselves."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with quietly(), warnings.catch_warnings(action="ignore"), contextlib.redirect_stdout(None):
            yield
    finally:
        logging.disable(before)


def _difference(network: Network, file: Path, form: str) -> float | None:
    """The largest difference between outputs of the export and of the model; `None` if it cannot run here."""
    maker = {"saved-model": _saved_model, "litert": _litert, "torch": _torch, "onnx": _onnx}.get(form)
    if network.info.data == TEXTS or maker is None:
        return None
    try:
        run = maker(file)
    except ImportError:
        return None
    shape = network.info.size or network.model.input_shape[1:-1]
    if None in shape:
        return None
    size = (1, *shape, network.model.input_shape[-1])
    inputs = np.random.default_rng(0).uniform(0, 255 if network.info.size else 1, size).astype("float32")
    expected = keras.ops.convert_to_numpy(network.model(inputs, training=False))
    return float(np.abs(run(inputs) - expected).max())


def _saved_model(folder: Path) -> Run:
    import tensorflow

    loaded = tensorflow.saved_model.load(str(folder))
    return lambda inputs: np.asarray(loaded.serve(inputs))


def _litert(file: Path) -> Run:
    import tensorflow

    interpreter = tensorflow.lite.Interpreter(model_path=str(file))

    def run(inputs: np.ndarray) -> np.ndarray:
        position = interpreter.get_input_details()[0]["index"]
        interpreter.resize_tensor_input(position, inputs.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(position, inputs)
        interpreter.invoke()
        return np.asarray(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))

    return run


def _torch(file: Path) -> Run:
    import torch

    program = torch.export.load(str(file)).module()
    return lambda inputs: program(torch.from_numpy(inputs)).detach().cpu().numpy()


def _onnx(file: Path) -> Run:
    onnxruntime = importlib.import_module("onnxruntime")

    session = onnxruntime.InferenceSession(str(file))
    return lambda inputs: np.asarray(session.run(None, {session.get_inputs()[0].name: inputs})[0])

"""What `difflr export` does: Keras's own export, run in the format's own runtime and compared with the model."""

import contextlib
import dataclasses
import importlib
import importlib.util
import json
import logging
import os
import shutil
import sys
import uuid
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np

import difflr
from difflr.checks import shown
from difflr_command import console
from difflr_command.backend import quietly
from difflr_command.models import load
from difflr_command.network import IMAGES, TEXTS, Network

Run = Callable[[np.ndarray], np.ndarray]
CLOSE = 1e-2  # a larger share of the largest output is no rounding


@dataclasses.dataclass(frozen=True)
class Form:
    """A format.

    Args:
        keras_name: Keras's name for it.
        packages: Backend -> the packages that Keras needs there; none for a backend that cannot.
        runtime: The package that runs it.
        run: Makes a function of inputs from the file.
    """

    keras_name: str
    packages: dict[str, tuple[str, ...]]
    runtime: str
    run: Callable[[Path], Run]


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
    session = importlib.import_module("onnxruntime").InferenceSession(str(file))
    return lambda inputs: np.asarray(session.run(None, {session.get_inputs()[0].name: inputs})[0])


def _openvino(file: Path) -> Run:
    compiled = importlib.import_module("openvino").Core().compile_model(str(file), "CPU")
    return lambda inputs: np.asarray(compiled(inputs)[0])


FORMS = {
    "onnx": Form(
        "onnx",
        {"torch": ("onnx", "onnxscript"), "jax": ("jax2onnx",), "tensorflow": ("tf2onnx",)},
        "onnxruntime",
        _onnx,
    ),
    "saved-model": Form(
        "tf_saved_model",
        {"tensorflow": ("tensorflow",), "jax": ("tensorflow",), "torch": ("tensorflow", "torch_xla")},
        "tensorflow",
        _saved_model,
    ),
    "litert": Form("litert", {"tensorflow": ("tensorflow",), "torch": ("litert_torch",)}, "tensorflow", _litert),
    "torch": Form("torch", {"torch": ("torch",)}, "torch", _torch),
    "openvino": Form(
        "openvino",
        {"tensorflow": ("openvino",), "torch": ("openvino",), "jax": ("openvino", "tensorflow")},
        "openvino",
        _openvino,
    ),
}


def check_can_export(form: str) -> None:
    """Checks that Keras can export to it here.

    Raises:
        ValueError: If the backend cannot, or a package is missing; the message says which backend can, and what to install.
    """
    backend, known = keras.backend.backend(), FORMS[form].packages
    if backend not in known:
        raise ValueError(f"Keras exports no {form} on {backend}, only on {' and '.join(known)}.")
    missing = _missing(known[backend])
    if missing:
        names = " ".join(name.replace("_", "-") for name in missing)
        extra = ' (or "difflr[onnx]")' if form == "onnx" and backend == "torch" else ""
        raise ValueError(
            f"Keras needs {' and '.join(missing)} to export {form} on {backend}: pip install {names}{extra}.{_instead(form)}"
        )


def _instead(form: str) -> str:
    """The other backends that can export to it here, as options."""
    known = FORMS[form].packages
    others = [f"--backend {name}" for name in known if name != keras.backend.backend() and not _missing(known[name])]
    return f" Or take {' or '.join(others)}, which can here." if others else ""


def _missing(packages: tuple[str, ...]) -> list[str]:
    return [name for name in packages if importlib.util.find_spec(name) is None]


def export_model(network: Network, output: Path, form: str, as_json: bool) -> None:
    """Exports a model, and writes what its user must know into a JSON file beside it.

    Args:
        network: The model.
        output: Where to.
        form: The format.
        as_json: Whether the result is printed as JSON.
    """
    with (
        console.quiet(as_json),
        console.running("nothing is written"),
        console.bad_input(),
        _target(output) as unfinished,
        _silenced(),
    ):
        model, about = _of_one_input(network, form)
        _check_space(unfinished.parent, model)
        inputs = _examples(model, about)
        expected = keras.ops.convert_to_numpy(model(keras.ops.convert_to_tensor(inputs), training=False))
        _export(model, unfinished, form)
        difference, number = _compared(unfinished, form, inputs, expected)
        about["batch"] = number
        text = json.dumps(about, indent=1, ensure_ascii=False)
        unfinished.with_name(f"{output.name}.json").write_text(f"{text}\n", encoding="utf-8")
        written = [str(output.with_name(name)) for name in sorted(os.listdir(unfinished.parent))]
    result = {"output": str(output), "format": form, "about": f"{output}.json", "written": written}
    if as_json:
        console.print_json({**result, "largest_difference": difference, "batch": number})
        return
    out = console.output()
    out.print(f"Written: {', '.join(written)}. The JSON file has the classes, and how inputs are read.")
    if "vectorization" in about:
        out.print("Texts go in as numbers: the words and their order are in the JSON file.")
    if number == 1:
        out.print("It takes one example at a time.")
    missing = f"not checked: pip install {FORMS[form].runtime}"
    out.print(
        f"Difference from the model's own outputs: {missing if difference is None else f'{difference:.1e} at most'}"
    )


def _of_one_input(network: Network, form: str) -> tuple[keras.Model, dict[str, Any]]:
    """The model to export, with images of one size; and all that its user must know."""
    info, inner = network.info, network.model
    about = info.as_data()
    size = inner.input_shape[1:]
    if info.data == IMAGES:
        about |= {"scale": "0..255", "layout": "height, width, channels"}
        size = (*(info.size or size[:2]), size[2])
    if info.data == TEXTS:  # only TensorFlow has strings
        whole = load(network.file)
        if form == "saved-model" and keras.backend.backend() == "tensorflow":
            inner, size = whole, whole.input_shape[1:]
        else:
            layer, _ = difflr.models.after_vectorization(whole)
            about["vectorization"] = {**layer.get_config(), "vocabulary": layer.get_vocabulary()}
    if None in size and form in ("torch", "litert") and keras.backend.backend() == "torch":
        other = " Or take --backend tensorflow." if form == "litert" else ""
        raise ValueError(f"Inputs of any length cannot be exported to {form} on torch: take ONNX or OpenVINO.{other}")
    given = inner.inputs[0]
    inputs = keras.Input(size, dtype=given.dtype, name=given.name)
    return keras.Model(inputs, inner(inputs), name=inner.name), about


def _check_space(folder: Path, model: keras.Model) -> None:
    """Checks before the export, because torch ends the process if its file does not fit."""
    free, needed = shutil.disk_usage(folder).free, 4 * model.count_params()
    if free < needed:
        where = f"{folder.parent} has {free:,} bytes left"
        raise ValueError(f"The disk is full: {where}, and the weights alone need {needed:,}. Nothing is written.")


def _examples(model: keras.Model, about: dict[str, Any]) -> np.ndarray:
    """Two examples that the model takes."""
    kind = keras.backend.standardize_dtype(model.inputs[0].dtype)
    shape = (2, *(side or 16 for side in model.input_shape[1:]))
    if kind == "string":
        return np.full(shape, "some words", object)
    if "int" in kind:
        limit = len(about.get("vectorization", {}).get("vocabulary", ())) or 2
        return np.random.default_rng(0).integers(0, limit, shape).astype(kind)
    return np.random.default_rng(0).uniform(0, 255 if "scale" in about else 1, shape).astype(kind)


def _export(model: keras.Model, unfinished: Path, form: str) -> None:
    written = {"filepath": str(unfinished), "format": FORMS[form].keras_name, "verbose": False}
    try:
        try:
            model.export(**written)
        except Exception:  # torch's tracer for any batch size knows fewer operations than that for one
            if form != "onnx" or keras.backend.backend() != "torch":
                raise
            given = model.inputs[0]
            one = keras.InputSpec(shape=(1, *given.shape[1:]), dtype=given.dtype, name=given.name)
            model.export(**written, input_signature=[one])
    except Exception as error:
        raise ValueError(
            f"Keras cannot export this model to {form} on {keras.backend.backend()}: {type(error).__name__}: "
            f"{shown(' '.join(str(error).split()))}.{_instead(form)} --traceback shows where."
        ) from error


def _compared(file: Path, form: str, inputs: np.ndarray, expected: np.ndarray) -> tuple[float | None, int | None]:
    """How far the outputs of the export are from the model's.

    Returns:
        The largest difference, `None` if the export cannot run here; and 1 if it takes one example at a time.

    Raises:
        ValueError: If the export does not run, or predicts something else.
    """
    if importlib.util.find_spec(FORMS[form].runtime) is None:
        return None, None
    number = None
    try:
        run = FORMS[form].run(file)
        try:
            found = run(inputs)
        except Exception:
            found, number, expected = run(inputs[:1]), 1, expected[:1]
    except Exception as error:
        reason = f"{type(error).__name__}: {shown(str(error))}"
        raise ValueError(f"{FORMS[form].runtime} cannot run what Keras exported: {reason}.{_instead(form)}") from None
    difference = float(np.abs(found - expected).max()) if found.shape == expected.shape else np.inf
    if not difference <= CLOSE * max(1, np.abs(expected).max()):
        raise ValueError(f"What Keras exported predicts something else: by up to {difference:.3g}.{_instead(form)}")
    return difference, number


@contextlib.contextmanager
def _target(output: Path) -> Iterator[Path]:
    """Where to export to: the files that are there at the end go to where `output` is, or none does."""
    folder = output.with_name(f".unfinished-{uuid.uuid4().hex[:8]}-{output.name}")
    folder.mkdir()
    try:
        yield folder / output.name
        for file in sorted(folder.iterdir(), key=lambda file: file.name == output.name):  # its weights first
            os.replace(file, output.with_name(file.name))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    """Without what exporters print: it is about themselves. Some print below Python, as torch's tracer does."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    sys.stdout.flush()
    kept, nothing = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    try:
        with quietly(), warnings.catch_warnings(action="ignore"), contextlib.redirect_stdout(None):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nothing)
        logging.disable(before)

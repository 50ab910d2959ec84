"""Installs the wheel in `dist/` into an empty environment for each backend, and once without one, and uses it there."""

import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
BACKENDS = {"jax": ["jax"], "tensorflow": ["tensorflow-cpu"], "torch": ["torch==2.13.0"]}

USE = """
import sys
import keras, numpy as np

brought_by_keras = set(sys.modules)
import difflr

inputs = keras.Input((4,))
hidden = keras.layers.Dense(8, name="body")(inputs)
model = keras.Model(inputs, difflr.layers.Dense(2, name="head")(hidden))
plan = difflr.Plan(model, {"body": 0.1})
model.compile(difflr.optimizers.AdamW(1e-2, multipliers=plan), loss="mse")
x, y = np.random.default_rng(0).normal(size=(64, 4)), np.ones((64, 2))
difflr.verify(model, (x, y))
model.fit(x, y, epochs=2, verbose=0)
model.save("model.keras")
loaded = keras.models.load_model("model.keras")
assert loaded.optimizer.multipliers["body"] == 0.1
optional = {"matplotlib", "typer", "rich", "jinja2", "yaml", "PIL"} & set(sys.modules) - brought_by_keras
assert not optional, optional
print(f"difflr {difflr.__version__} on {keras.backend.backend()}: verified, trained, saved, loaded")
"""


def main() -> int:
    wheels = sorted((ROOT / "dist").glob("difflr-*.whl"))
    if len(wheels) != 1:
        print(f"Expected one wheel in dist/, found {len(wheels)}: run `make dist` first.")
        return 1
    failed = [backend for backend, packages in BACKENDS.items() if not try_backend(wheels[0], backend, packages)]
    failed += [] if try_without_backend(wheels[0]) else ["no backend"]
    if failed:
        print(f"Failed: {', '.join(failed)}")
    return bool(failed)


def try_backend(wheel: Path, backend: str, packages: list[str]) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        python = environment(folder, [str(wheel), *packages])
        return run(python, USE, folder, KERAS_BACKEND=backend).returncode == 0


def try_without_backend(wheel: Path) -> bool:
    """What it says is one error that names what to install."""
    with tempfile.TemporaryDirectory() as folder:
        python = environment(folder, [str(wheel)])
        result = run(python, "import difflr", folder, KERAS_BACKEND="jax", capture_output=True, text=True)
        last = result.stderr.strip().splitlines()[-1] if result.stderr else ""
        print(last)
        return result.returncode != 0 and "pip install jax" in last


def environment(folder: str, packages: list[str]) -> Path:
    venv.create(Path(folder) / "env", with_pip=True)
    python = Path(folder) / "env" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-qq", *packages], check=True)
    return python


def run(python: Path, code: str, folder: str, **settings: object) -> subprocess.CompletedProcess:
    variables = {name: str(settings.pop(name)) for name in list(settings) if name.isupper()}
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | variables
    return subprocess.run([python, "-c", code], cwd=folder, env=environ, **settings)  # type: ignore[call-overload]


if __name__ == "__main__":
    sys.exit(main())

"""Makes the plots of plots.md and report.md again: `python docs/draw.py`, with the extras `plot` and `report`.

They are what the code on these pages saves. The screenshot of a report needs the browser chromium.
"""

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
import warnings
from pathlib import Path

import keras
import matplotlib
from PIL import Image

import difflr

DOCS = Path(__file__).parent
IMAGES = DOCS / "images"
SVG = {"svg.fonttype": "none", "svg.hashsalt": "difflr"}


def run_page(name: str, folder: Path) -> None:
    """Runs the Python of a page in a folder."""
    keras.utils.set_random_seed(0)
    code = "\n".join(re.findall(r"^```python\n(.*?)^```$", (DOCS / name).read_text(), re.MULTILINE | re.DOTALL))
    with contextlib.chdir(folder), matplotlib.rc_context(SVG):
        exec(compile(code, name, "exec"), {"__name__": "__main__"})


def draw_mobilenet(path: Path) -> None:
    """The picture of a plan for a network with many layers; what it draws does not depend on the weights."""
    model = keras.applications.MobileNetV2((64, 64, 3), weights=None)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*freshly initiali")
        plan = difflr.layerwise_decay(model, 0.9)
    axes = difflr.plot_plan(plan)
    with matplotlib.rc_context(SVG):
        axes.figure.savefig(path, metadata={"Date": None})


def screenshot(page: Path, path: Path) -> None:
    """What a browser without a network shows of a page."""
    with tempfile.TemporaryDirectory() as profile:
        command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"]
        command += ["--proxy-server=127.0.0.1:9", "--hide-scrollbars", "--window-size=1000,1250"]
        subprocess.run([*command, f"--screenshot={path}", f"file://{page}"], check=True, capture_output=True)
    picture = Image.open(path).convert("RGB")
    empty = [
        bottom
        for bottom in range(20, picture.height)
        if is_empty(picture.crop((0, bottom - 20, picture.width, bottom)))
    ]
    picture.crop((0, 0, picture.width, empty[-1])).save(path, optimize=True)  # through no line of text


def is_empty(picture: Image.Image) -> bool:
    """Whether a picture has one color."""
    return all(low == high for low, high in picture.getextrema())


def main() -> None:
    """Draws everything."""
    matplotlib.use("agg")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["SOURCE_DATE_EPOCH"] = "0"  # no date in the SVG
        run_page("plots.md", folder)
        for picture in folder.glob("*.svg"):
            shutil.copy(picture, IMAGES / picture.name)
        draw_mobilenet(IMAGES / "plan-mobilenet.svg")
        run_page("report.md", folder)
        if shutil.which("chromium"):
            screenshot(folder / "a-tenth.html", IMAGES / "report.png")


if __name__ == "__main__":
    main()

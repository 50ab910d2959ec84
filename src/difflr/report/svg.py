"""The plots of a report, as SVG that takes the text color of the page and loads nothing."""

import io
import re
import warnings
from collections.abc import Callable
from typing import Any

from difflr.report import drawing

INK = "#123456"  # in no color map; replaced by the text color of the page
WIDTH = 5.4  # inches: still legible on a telephone


class Plots:
    """Makes the plots of a page, and numbers them."""

    def __init__(self) -> None:
        self._count = 0

    def __call__(self, name: str, draw: Callable[[drawing.Axes], None], height: float = 3.0) -> dict[str, str]:
        """A plot with its name.

        Args:
            name: What it shows.
            draw: Function that draws on axes.
            height: Float, inches.
        """
        from markupsafe import Markup

        self._count += 1
        return {"name": name, "svg": Markup(as_svg(draw, height, self._count, name))}


def as_svg(draw: Callable[[drawing.Axes], None], height: float, number: int, name: str) -> str:
    """A plot as an `<svg>` element.

    Args:
        draw: Function that draws on axes.
        height: Float, inches.
        number: The number of the plot in the page, which makes its ids unique.
        name: What it shows, for those who do not see it.
    """
    import matplotlib
    from matplotlib.figure import Figure

    ink = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
    settings: dict[str, Any] = dict.fromkeys(ink, INK)
    settings |= {"axes.facecolor": "none", "svg.fonttype": "none", "svg.hashsalt": f"difflr {number}"}
    buffer = io.StringIO()
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # the browser has one
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        draw(figure.subplots())
        figure.savefig(buffer, format="svg", transparent=True)
    return cleaned(buffer.getvalue(), number, name)


def cleaned(text: str, number: int, name: str) -> str:
    """Matplotlib's SVG, fit to be embedded in a page with others.

    Args:
        text: The SVG document.
        number: The number of the plot in the page.
        name: What it shows.
    """
    import html

    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<style type=\"text/css\">.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r"(\sid=\"|url\(#|href=\"#)", rf"\g<1>p{number}-", text)
    text = re.sub(r"'DejaVu Sans'[^;\"]*", "system-ui, sans-serif", text)
    text = re.sub(r"^<svg ([^>]*?)>", rf'<svg \1 role="img" aria-label="{html.escape(name)}">', text, count=1)
    text = re.sub(r"^(<svg [^>]*?) height=\"[^\"]*\"", r"\1", text)
    text = re.sub(r"^(<svg [^>]*?) width=\"[^\"]*\"", r"\1", text)
    return text.replace(INK, "currentColor")

"""The templates of pages."""

import importlib.resources
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Template


def template(name: str) -> "Template":
    """The template in the file `name` of this folder; what is put into it is escaped.

    Raises:
        ImportError: If jinja2 or matplotlib is not installed.
    """
    try:
        import jinja2
        import matplotlib  # noqa: F401
    except ImportError:
        raise ImportError('Reports need jinja2 and matplotlib: pip install "difflr[report]"') from None
    folder = importlib.resources.files("difflr.report")
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda file: folder.joinpath(file).read_text("utf-8")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)

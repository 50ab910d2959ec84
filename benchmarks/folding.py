"""Sections that are folded until the reader opens them, on the site and on GitHub."""

import re


def folded(title: str, text: str) -> str:
    """`text` under a title that opens it."""
    title = re.sub("`(.*?)`", r"<code>\1</code>", title)  # a summary is HTML
    return f"<details markdown>\n<summary>{title}</summary>\n\n{text}\n\n</details>"

"""Sections that are folded until the reader opens them, on the site and on GitHub."""


def folded(title: str, text: str) -> str:
    """`text` under a title that opens it."""
    return f"<details markdown>\n<summary>{title}</summary>\n\n{text}\n\n</details>"

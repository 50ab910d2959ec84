"""Reads the Markdown pages as a copy editor would: one word per thing, no translated English, no long sentences.

    python tools/prose.py [file ...]

Words and their better forms are those of the glossary in CONTRIBUTING.md. Code, tables' rules and quoted names are not read.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
LONGEST = 35  # words in a sentence

# What not to write (a regular expression), and what to write instead.
STYLE = {
    r"(?<!chain-)\bthaw(?:s|ed|ing)?\b": "unfreeze",
    r"newcomers?": "newly unfrozen variables",
    r"lanes?": "row, or layer",
    r"habits?(?: of the trade)?": "convention",
    r"live variables|who trains|who is live|what trains": "which variables train, or trainable variables",
    r"differential rates?": "differential learning rates",
    r"anew": "again, or a new one",
    r"serves? again": "is reused",
    r"is (?:the|a) matter of": "is set by",
    r"(?:is|are) (?:told|said|spoken)": "active voice: who says it?",
    r"says? (?:something|nothing) (?:of|about)": "names, or does not mention",
    r"(?:are|is) there again": "restored",
    r"puts? (?:\w+ )?back": "restores",
    r"go(?:es)? on": "continues",
    r"in (?:the )?place of": "instead of",
    r"read off": "derived from, or taken from",
    r"by a way round|way round": "workaround",
    r"and the like": "such as, with examples",
    r"as ever": "as usual",
    r"made[- ]up": "synthetic, or random",
    r"nobody|somebody|everybody": "name who",
    r"at this moment": "now, or current",
    r"in silence": "silently",
    r"has to have": "needs",
    r"is to be\b": "must be, or should be",
    r"(?:^|(?<=[.:;] ))What (?:is|are|was|were) (?!this|that|it\b)[^?]*\.": "a riddle: begin with the noun",
}


def sentences(text):
    """Sentences outside code, with the line on which each begins."""
    blank = lambda match: re.sub(r"[^\n]", " ", match[0])  # noqa: E731 - keeps the lines
    text = re.sub(r"^[ ]*```.*?^[ ]*```|<!--.*?-->|<[^>\n]+>", blank, text, flags=re.M | re.S)
    text = re.sub(r"\]\([^)]*\)", lambda match: "]" + blank(match)[1:], text)
    text = re.sub(r"`[^`]*`", lambda match: re.sub(r"[^\n]", "x", match[0]), text)
    parts = re.split(r"(\n[ ]*\n|\n[ ]*(?=[-*#]+ |\d+\. )|\||(?<=[.!?])(?:\*\*)?\s)", text)
    line = 1
    for part in parts:
        if words := part.split():
            yield line + len(part[: len(part) - len(part.lstrip())].split("\n")) - 1, " ".join(words)
        line += part.count("\n")


def faults(path):
    """What is wrong on a page, a line each."""
    for line, sentence in sentences(path.read_text(encoding="utf-8")):
        where = f"{path.relative_to(ROOT)}:{line}"
        if (length := len(re.findall(r"\w[\w'.-]*", sentence))) > LONGEST:
            yield f"{where} a sentence of {length} words, at most {LONGEST}: {sentence[:60]} ..."
        for wrong, better in STYLE.items():
            if found := re.search(rf"\b(?:{wrong})" if wrong[0] not in "(" else wrong, sentence, re.I):
                yield f"{where} '{found[0][:60]}': {better}"


def main(names):
    """Prints all faults; 1 if there are any."""
    paths = [Path(name).resolve() for name in names] or sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
    found = [fault for path in paths for fault in faults(path)]
    print("\n".join(found) or f"{len(paths)} pages read well")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

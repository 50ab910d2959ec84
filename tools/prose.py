"""Lints the prose of Markdown pages, docstrings and messages: one word per thing, no translated English, no long sentences.

    python tools/prose.py [file ...]

Words and their better forms follow the glossary in CONTRIBUTING.md. Code and quoted names are not read.
"""

import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
LONGEST = {".md": 35, ".py": 45}  # words in a sentence
SKIPPED: tuple[str, ...] = ("src/difflr_command/known_models.py",)  # mostly numbers
NOT_PROSE = re.compile(r"^[ ]*```.*?^[ ]*```|<!--.*?-->|<[^>\n]+>|(?<=\])\([^)]*\)|`[^`]*`", re.MULTILINE | re.DOTALL)
ENDS = re.compile(r"\n[ ]*\n|\n[ ]*(?=[-*#]+ |\d+\. )|\||(?<=[.!?])(?:\*\*)?\s")

# What not to write, as a regular expression, and what to write instead.
STYLE = {
    r"\b(?<!chain-)thaw(s|ed|ing)?\b": "unfreeze",
    r"\bnewcomers?\b": "newly unfrozen variables",
    r"\blanes?\b": "row, or layer",
    r"\bhabits?\b": "convention",
    r"\b(live variables|who trains|who is live|what trains)\b": "trainable variables, or which variables train",
    r"\b(is (the|a) matter of)\b": "is set by",
    r"\b(is|are) (told|said|spoken)\b": "the active voice",
    r"\bsays? (something|nothing) (of|about)\b": "names, or does not mention",
    r"\b(is|are) there again\b|\bputs? (\w+ )?back\b": "restored, restores",
    r"\banew\b|\bserves? again\b": "again, reused, or a new one",
    r"\bgo(es)? on\b": "continues",
    r"\bin (the )?place of\b": "instead of",
    r"\bread off\b": "from, or derived from",
    r"\bway round\b": "workaround",
    r"\band the like\b": "such as, with examples",
    r"\bas ever\b": "as usual",
    r"\bmade[- ]up\b": "synthetic, or random",
    r"\b(no|some|every)body\b": "name who",
    r"\bat this moment\b": "now, or current",
    r"\bin silence\b": "silently",
    r"\bis to be\b|\bhas to have\b": "must be, should be, needs",
    r"^What (is|are|was|were) (?!this\b|that\b|it\b)[^?]*\.$": "the noun first: this is a riddle",
}


def sentences(text):
    """Sentences and the line on which each begins."""
    text = NOT_PROSE.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), text)
    start = 0
    for end in [*ENDS.finditer(text), None]:
        part = text[start : end.start() if end else None]
        yield text.count("\n", 0, start + len(part) - len(part.lstrip())) + 1, " ".join(part.split())
        start = end.end() if end else 0


def texts(path):
    """The text of a page, or the docstrings and messages of a module, and the line on which each begins."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        yield 1, text
        return
    nodes = list(ast.walk(ast.parse(text)))
    parts = {
        id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in ast.walk(node) if part is not node
    }
    for node in nodes:
        if isinstance(node, ast.JoinedStr):
            yield node.lineno, "".join(part.value if isinstance(part, ast.Constant) else "`x`" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
            yield node.lineno, node.value


def faults(path):
    """What is wrong in a file, a line each."""
    longest = LONGEST[path.suffix]
    for first, text in texts(path):
        for line, sentence in sentences(text):
            yield from (
                f"{path.relative_to(ROOT)}:{first + line - 1} {fault}" for fault in faults_of(sentence, longest)
            )


def faults_of(sentence, longest):
    """What is wrong in a sentence."""
    if (length := len(re.findall(r"\w[\w'.-]*", sentence))) > longest:
        yield f"a sentence of {length} words, at most {longest}: {sentence[:60]} ..."
    for wrong, better in STYLE.items():
        if found := re.search(wrong, sentence, re.IGNORECASE):
            yield f"'{found[0][:60]}': {better}"


def main(names):
    """Prints all faults; 1 if there are any."""
    paths = [Path(name).resolve() for name in names] or sorted(
        [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "src").rglob("*.py")]
    )
    paths = [path for path in paths if path.relative_to(ROOT).as_posix() not in SKIPPED]
    found = [fault for path in paths for fault in faults(path)]
    print("\n".join(found) or f"{len(paths)} files: no fault in their prose")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

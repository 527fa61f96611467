"""Check the words of docstrings, comments, help texts, messages, local names and docs pages.

``make check`` runs it. It prints ``file:line: word: remedy`` for every word that docs/glossary.md
replaces, and for openings and idioms that a reader has to decode.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent

CHECKED = (
    "src/dynanoise",
    "docs",
    "benchmarks",
    "examples",
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
)
"""Files and folders that are checked."""

OPENINGS = ("What", "Who", "Whoever", "Of", "As", "How", "Which", "Where")
"""First words of a docstring or help text that make a clause, not a sentence or noun phrase."""

ENTRIES = ("what", "who", "whoever", "of", "as")
"""First words of an entry under Args, Attributes, Returns or Raises."""

IDIOMS = {
    r"nobody|somebody|anybody|everybody": "name the role: an attacker, a client, a model",
    r"whoever|one who|who has": "name the role: 'an attacker with shadow models'",
    r"(?<!there )(?:is|are|was|were) no (?!longer|more|less|better|worse|larger|smaller|later)": (
        "write 'is not a ...' or 'there is no ...'"
    ),
    r"what (?:is|are|was|were|it is|they are) (?:asked|told|said)": "name it: query, output",
    r"by heart": "write 'memorises'",
}
"""Regular expressions of idioms, and their remedies."""

NAMES = re.compile("one|found|said|made|own|known|asked|told|seen|done|given|shown|wanted")
"""Local names that do not say what they hold."""

_IDIOMS = [(re.compile(rf"\b(?:{idiom})", re.IGNORECASE), IDIOMS[idiom]) for idiom in IDIOMS]
_ENTRY = re.compile(rf"^\s+[\w`, *]+: ({'|'.join(ENTRIES)})\b")
_BOOLEANS = ("bool", "Bools")


class Finding(NamedTuple):
    """A word to replace.

    Attributes:
        path: the file, relative to the root.
        line: line number, from 1.
        word: the word or words.
        remedy: the replacement, in a few words.
    """

    path: str
    line: int
    word: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.word!r}: {self.remedy}"


def check_python(source: str, path: str = "sample.py") -> Iterator[Finding]:
    r"""Check docstrings, help texts, comments, messages and assigned names of a module.

    Args:
        source: the module's text.
        path: the file's name in findings.

    Yields:
        The findings, in no particular order.

    >>> [str(finding) for finding in check_python('def f(x):\n    "What x is."\n    one = x')]
    ... # doctest: +NORMALIZE_WHITESPACE
    ["sample.py:2: 'What': begin with a verb or a noun phrase",
     "sample.py:3: 'one': name the value: scores, result, query, rows"]
    """
    tree = ast.parse(source)
    for text, line, returns in _texts(tree):
        for opening in _openings(text, returns):
            yield Finding(path, line, opening, "begin with a verb or a noun phrase")
        for offset, row in enumerate(text.splitlines()):
            if row.lstrip().startswith((">>>", "...")):
                continue
            if match := _ENTRY.match(row):
                yield Finding(path, line + offset, match[1], "begin the entry with a noun phrase")
            yield from _idioms(row, path, line + offset)
    for message, line in _messages(tree):
        yield from _idioms(message, path, line)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield from _idioms(token.string, path, token.start[0])
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Name)
            and isinstance(node.ctx, ast.Store)
            and NAMES.fullmatch(node.id)
        ):
            remedy = "name the value: scores, result, query, rows"
            yield Finding(path, node.lineno, node.id, remedy)


def check_page(text: str, path: str = "sample.md") -> Iterator[Finding]:
    r"""Check the prose of a Markdown page; blocks of code are left out.

    Args:
        text: the page.
        path: the file's name in findings.

    Yields:
        The findings, in order.

    >>> [finding.line for finding in check_page("Somebody\n```\nnobody\n```\nby heart")]
    [1, 5]
    """
    code = False
    for number, row in enumerate(text.splitlines(), 1):
        code ^= row.lstrip().startswith("```")
        if not code:
            yield from _idioms(row, path, number)


def check_files(paths: Iterable[str]) -> list[Finding]:
    """Check files and folders.

    Args:
        paths: relative to the root.

    Returns:
        The findings, by file and line.

    Raises:
        FileNotFoundError: if there is no such file.
    """
    findings: list[Finding] = []
    for name in paths:
        path = ROOT / name
        files = [*path.rglob("*.py"), *path.rglob("*.md")] if path.is_dir() else [path]
        for file in files:
            check = check_page if file.suffix == ".md" else check_python
            findings += check(file.read_text(), file.relative_to(ROOT).as_posix())
    return sorted(findings)


def _texts(tree: ast.Module) -> Iterator[tuple[str, int, str | None]]:
    """Docstrings and help texts, their lines, and the return annotation of a function's."""
    returns = {
        id(node.body[0]): ast.unparse(node.returns) if node.returns else None
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr):
            value, annotation = node.value, returns.get(id(node))
        elif isinstance(node, ast.keyword) and node.arg == "help":
            value, annotation = node.value, None
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "Option" and node.args:
            value, annotation = node.args[0], None  # help text of an option
        else:
            continue
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            yield value.value, value.lineno, annotation


def _messages(tree: ast.Module) -> list[tuple[str, int]]:
    """Strings that are passed to a function or returned, without help texts."""
    helped = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.keyword) and node.arg == "help"
    }
    strings = {
        id(each): (each.value, each.lineno)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call | ast.Return)
        for each in ast.walk(node)
        if isinstance(each, ast.Constant) and isinstance(each.value, str)
    }
    return [strings[name] for name in strings.keys() - helped]


def _openings(text: str, returns: str | None) -> Iterator[str]:
    first = re.match(r"\w+", text.strip())
    word = first[0] if first else ""
    if word in OPENINGS or (word == "Whether" and returns not in _BOOLEANS):
        yield word


def _idioms(row: str, path: str, line: int) -> Iterator[Finding]:
    for pattern, remedy in _IDIOMS:
        for match in pattern.finditer(row):
            yield Finding(path, line, match[0].strip(), remedy)


def main() -> int:
    """Print the findings.

    Returns:
        The exit code: 1 if there is a finding.
    """
    findings = check_files(CHECKED)
    for finding in findings:
        print(finding)
    return int(bool(findings))


if __name__ == "__main__":
    sys.exit(main())

"""Lines of Python that do something: `python -m tests.count_lines [COMMIT]`, for the working tree or for a commit.

Comments, docstrings and blank lines do not count, and neither do tests and benchmarks.
"""

import ast
import io
import subprocess
import sys
import tokenize
from collections import Counter
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
COUNTED: Final = ("app.py", "blueprints", "database", "services", "utils")
_SPACE: Final = {tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
_NO_CODE: Final = {*_SPACE, tokenize.COMMENT}


def lines_of_code(source: str) -> int:
    """How many lines of this source hold a token that is no comment and no docstring."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    spans = (range(token.start[0], token.end[0] + 1) for token in tokens if token.type not in _NO_CODE)
    return len({line for span in spans for line in span} - _docstring_lines(ast.parse(source)))


def _docstring_lines(tree: ast.Module) -> set[int]:
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    first = [node.body[0] for node in ast.walk(tree) if isinstance(node, documented) and ast.get_docstring(node)]
    return {line for node in first for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)}


def _sources(commit: str | None) -> dict[str, str]:
    if commit is None:
        paths = [path for name in COUNTED for path in [ROOT / name, *(ROOT / name).rglob("*.py")] if path.is_file()]
        return {str(path.relative_to(ROOT)): path.read_text() for path in paths}
    names = _git("ls-tree", "-r", "--name-only", commit, "--", *COUNTED).splitlines()
    return {name: _git("show", f"{commit}:{name}") for name in names if name.endswith(".py")}


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, check=True, capture_output=True, text=True).stdout


def main(commit: str | None = None) -> None:
    """Print the lines of each room, and of all."""
    rooms: Counter[str] = Counter()
    for name, source in _sources(commit).items():
        rooms["/".join(name.split("/")[:-1]) or name] += lines_of_code(source)
    for room, lines in sorted(rooms.items()):
        print(f"{lines:6} {room}")
    print(f"{rooms.total():6} in all")


if __name__ == "__main__":
    main(*sys.argv[1:2])

"""What a folder of migrations holds, read from its files without Alembic."""

import ast
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path


@dataclass(frozen=True)
class Migration:
    """A migration: its number, those that it comes after, and what it is about."""

    revision: str
    after: tuple[str, ...]
    words: str


def missing(folder: Path, reached: Collection[str]) -> list[Migration]:
    """The migrations of a folder that come after those that were reached, in their order."""
    every = {each.revision: each for each in _every(folder)}
    done: set[str] = set()
    waiting = [name for name in reached if name in every]
    while waiting:
        done.add(name := waiting.pop())
        waiting += [before for before in every[name].after if before in every and before not in done]
    return sorted(
        (each for each in every.values() if each.revision not in done), key=lambda each: _depth(each.revision, every)
    )


def is_in(folder: Path, revision: str) -> bool:
    """Whether a migration is one of this folder's."""
    return any(each.revision == revision for each in _every(folder))


def _depth(revision: str, every: dict[str, Migration]) -> int:
    """How many of the folder's migrations come before this one."""
    before = [_depth(name, every) for name in every[revision].after if name in every]
    return max(before, default=-1) + 1


@lru_cache(maxsize=16)
def _every(folder: Path) -> tuple[Migration, ...]:
    found = [_read(ast.parse(file.read_text(encoding="utf-8"))) for file in sorted(folder.glob("*.py"))]
    return tuple(each for each in found if each)


def _read(module: ast.Module) -> Migration | None:
    """The migration that a file is, unless it is something else."""
    values = {}
    for node in module.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(target, ast.Name) and node.value:
            values[target.id] = node.value
    if "revision" not in values:
        return None
    after = ast.literal_eval(values["down_revision"]) if "down_revision" in values else None
    words = (ast.get_docstring(module) or "").partition("\n")[0].rstrip(".")
    return Migration(str(ast.literal_eval(values["revision"])), _names(after), words)


def _names(after: str | Collection[str] | None) -> tuple[str, ...]:
    if after is None:
        return ()
    return (after,) if isinstance(after, str) else tuple(after)

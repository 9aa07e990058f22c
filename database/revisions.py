"""What a folder of migrations holds, read from its files without Alembic."""

import ast
import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

_NUMBER: Final = re.compile("[0-9]{4}")
_LONGEST: Final = 32  # of Alembic's column


@dataclass(frozen=True)
class Migration:
    """A migration: its number, those that it comes after, those of other branches that it needs, its subject."""

    revision: str
    after: tuple[str, ...]
    needs: tuple[str, ...]
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


def names(folder: Path) -> set[str]:
    """The numbers of a folder's migrations."""
    return {each.revision for each in _every(folder)}


def is_in(folder: Path, revision: str) -> bool:
    """Whether a migration is one of this folder's."""
    return revision in names(folder)


def needed(folder: Path, reached: Collection[str]) -> set[str]:
    """The migrations of other branches that those of a folder need which were reached.

    Once a migration needs the newest of another branch, Alembic keeps that one's number no longer.
    """
    behind = {each.revision for each in missing(folder, reached)}
    return {name for each in _every(folder) if each.revision not in behind for name in each.needs}


def fault(folder: Path, ours: Collection[str]) -> str:
    """What keeps a folder from being a branch beside ours, in a sentence with its remedy; "" if nothing does."""
    if not folder.is_dir():
        return f"{folder} is no folder. Create it for the migrations of the Part, or leave migrations out."
    try:
        found = _every(folder)
    except (SyntaxError, ValueError) as error:
        return f"{folder} has a migration that cannot be read. Correct it: {error}"
    return next((words for each in found if (words := _fault(each, folder, ours))), "")


def _fault(migration: Migration, folder: Path, ours: Collection[str]) -> str:
    name = f"The migration {migration.revision} in {folder}"
    if migration.revision in ours or _NUMBER.fullmatch(migration.revision):
        return f"{name} has a number as Sealpost’s own have. Name it like {folder.parent.name}_1."
    if len(migration.revision) > _LONGEST:
        return f"{name} has too long a name. Shorten it to {_LONGEST} characters."
    if continued := [before for before in migration.after if before in ours]:
        return (
            f"{name} continues {continued[0]} of Sealpost, so that neither can be upgraded without the other. Set "
            f'down_revision = None, and depends_on = "{continued[0]}" if it needs Sealpost’s tables.'
        )
    return ""


def _depth(revision: str, every: dict[str, Migration]) -> int:
    """How many of the folder's migrations come before this one."""
    before = [_depth(name, every) for name in every[revision].after if name in every]
    return max(before, default=-1) + 1


@lru_cache(maxsize=16)
def _every(folder: Path) -> tuple[Migration, ...]:
    found = [_read(ast.parse(file.read_text(encoding="utf-8"), file.name)) for file in sorted(folder.glob("*.py"))]
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
    needs = ast.literal_eval(values["depends_on"]) if "depends_on" in values else None
    return Migration(str(ast.literal_eval(values["revision"])), _names(after), _names(needs), words)


def _names(after: str | Collection[str] | None) -> tuple[str, ...]:
    if after is None:
        return ()
    return (after,) if isinstance(after, str) else tuple(after)

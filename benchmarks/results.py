"""What was measured, what was to be reached, and both as a table."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.series import Turns


@dataclass(frozen=True)
class Goal:
    """A figure of ours and what it should be: at least, or with ``at_most`` at most."""

    what: str
    measured: float
    to_reach: float
    at_most: bool = False

    @property
    def is_reached(self) -> bool:
        return self.measured <= self.to_reach if self.at_most else self.measured >= self.to_reach

    def __str__(self) -> str:
        sign = "≤" if self.at_most else "≥"
        return f"{short(self.measured)} {self.what} ({sign} {short(self.to_reach)})"


@dataclass(frozen=True, kw_only=True)
class Result:
    """One row: ``figures`` by side, in ``unit``, from ``turns``.

    ``beside`` are lines that stand below it; ``left_out`` says who could not take part, and why.
    """

    name: str
    what: str
    unit: str
    figures: Mapping[str, float]
    goals: Sequence[Goal] = ()
    turns: Mapping[str, Turns] = field(default_factory=dict)
    beside: Sequence[str] = ()
    left_out: Sequence[str] = ()

    def as_json(self) -> dict[str, Any]:
        goals = [{**asdict(goal), "is_reached": goal.is_reached} for goal in self.goals]
        return {**asdict(self), "goals": goals}


def short(number: float) -> str:
    """Three digits are more than such a measurement holds."""
    if number >= 100:
        return f"{number:,.0f}"
    return f"{number:.1f}" if number >= 10 else f"{number:.2f}"


def table(results: Iterable[Result]) -> str:
    """The results in Markdown."""
    lines = ["| measurement | figures | measured (to reach) | reached |", "|---|---|---|---|"]
    return "\n".join([*lines, *(line for result in results for line in lines_of(result))])


def lines_of(result: Result) -> list[str]:
    """A result's lines of the table."""
    figures = "; ".join(f"{name} {short(figure)}" for name, figure in result.figures.items())
    goals = "<br>".join(map(str, result.goals)) or "–"
    reached = "<br>".join("yes" if goal.is_reached else "**no**" for goal in result.goals) or "–"
    beside = [*result.beside, *(f"left out: {each}" for each in result.left_out)]
    return [
        f"| {result.what}, {result.unit} | {figures} | {goals} | {reached} |",
        *(f"| | {each} | | |" for each in beside),
    ]

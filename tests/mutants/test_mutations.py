"""The mutants that the script plants: one mistake each, and none in texts, annotations and log lines."""

import ast

from tests.mutants.mutations import mutants_of


def bodies(source: str) -> set[str]:
    return {mutant.source for mutant in mutants_of(source)}


def test_each_mutant_is_the_source_with_one_mistake() -> None:
    assert bodies("def f(a: int) -> bool:\n    return a < 1 and (not a)") == {
        "def f(a: int) -> bool:\n    return None",
        "def f(a: int) -> bool:\n    return a < 1 or not a",
        "def f(a: int) -> bool:\n    return not a",
        "def f(a: int) -> bool:\n    return a < 1",
        "def f(a: int) -> bool:\n    return a <= 1 and (not a)",
        "def f(a: int) -> bool:\n    return a >= 1 and (not a)",
        "def f(a: int) -> bool:\n    return a < 2 and (not a)",
        "def f(a: int) -> bool:\n    return a < 1 and a",
    }


def test_texts_annotations_and_log_lines_are_left_alone() -> None:
    assert bodies('"""A text."""\nimport os\nx: int | None = "text"\nlog.warning("so", more=1)') == set()


def test_every_mutant_can_be_compiled_and_has_a_name_of_its_own() -> None:
    source = (
        "for a in b:\n    if a and a > 0:\n        continue\n    c[a] = max(a, 0) if all(d) else [e for e in b if e]"
    )
    mutants = list(mutants_of(source))
    for mutant in mutants:
        ast.parse(mutant.source)
    assert len({mutant.key for mutant in mutants}) == len(mutants) > 8

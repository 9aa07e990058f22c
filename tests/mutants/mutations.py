"""The mutants of a module: its syntax tree with one small mistake in it. Texts, annotations and log lines are left."""

import ast
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final, NamedTuple

_OTHER_WAY: Final[dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_OTHER_SUM: Final[dict[type[ast.operator], type[ast.operator]]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}
_OTHER_CALL: Final = {"all": "any", "any": "all", "max": "min", "min": "max"}
_OTHER_END: Final[dict[type[ast.stmt], ast.stmt]] = {ast.Continue: ast.Break(), ast.Break: ast.Pass()}


class Mutant(NamedTuple):
    """``key`` names it for as long as its statement is not rewritten; ``scope`` is "" outside any function."""

    key: str
    line: int
    scope: str
    source: str


class _Place(NamedTuple):
    """A node that can be replaced, by whatever ``put`` is given."""

    node: ast.AST
    scope: str
    put: Callable[[ast.AST], None]


def mutants_of(source: str) -> Iterator[Mutant]:
    """Every mutant, in the order of the lines."""
    tree = ast.parse(source)
    seen = Counter[str]()
    for place in _places(tree, ""):
        for other in _others(place.node):
            before = _words(place.node)
            place.put(other)
            name = f"{place.scope or 'module'}: {before} -> {_words(other)}"
            seen[name] += 1
            key = f"{name} ({seen[name]})" if seen[name] > 1 else name
            at = place.node.target if isinstance(place.node, ast.comprehension) else place.node
            line = at.lineno if isinstance(at, ast.expr | ast.stmt) else 0
            yield Mutant(key, line, place.scope, ast.unparse(ast.fix_missing_locations(tree)))
            place.put(place.node)


def _words(node: ast.AST) -> str:
    return " ".join(ast.unparse(ast.fix_missing_locations(node)).split())[:160]


def _places(parent: ast.AST, scope: str) -> Iterator[_Place]:
    if isinstance(parent, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
        scope = f"{scope}.{parent.name}" if scope else parent.name
    for field, value in ast.iter_fields(parent):
        if field in ("annotation", "returns", "decorator_list", "type_comment", "ctx", "bases"):
            continue
        if isinstance(value, list):
            for at, node in enumerate(value):
                if isinstance(node, ast.AST) and not _is_left(node):
                    yield _Place(node, scope, partial(value.__setitem__, at))
                    yield from _places(node, scope)
        elif isinstance(value, ast.AST) and not _is_left(value):
            yield _Place(value, scope, partial(setattr, parent, field))
            yield from _places(value, scope)


def _is_left(node: ast.AST) -> bool:
    """Docstrings and other texts, imports, and what only goes to the log."""
    if isinstance(node, ast.Expr):
        called = node.value.func if isinstance(node.value, ast.Call) else node.value
        is_log = isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name) and called.value.id == "log"
        return isinstance(node.value, ast.Constant) or is_log
    return isinstance(node, ast.Import | ast.ImportFrom | ast.JoinedStr)


def _others(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.stmt):
        yield from _other_statements(node)
    elif isinstance(node, ast.comprehension):
        for at in range(len(node.ifs)):
            yield ast.comprehension(node.target, node.iter, node.ifs[:at] + node.ifs[at + 1 :], node.is_async)
    else:
        yield from _other_expressions(node)


def _other_statements(node: ast.stmt) -> Iterator[ast.stmt]:
    is_put = isinstance(node, ast.Assign) and not isinstance(node.targets[0], ast.Name | ast.Tuple)
    if is_put or isinstance(node, ast.Expr | ast.Raise | ast.AugAssign):
        yield ast.Pass()
    elif isinstance(node, ast.Return) and node.value and not _is_none(node.value):
        yield ast.Return(ast.Constant(None))
    elif type(node) in _OTHER_END:
        yield _OTHER_END[type(node)]
    elif isinstance(node, ast.If) and not isinstance(node.test, ast.Compare | ast.UnaryOp):
        yield ast.If(ast.UnaryOp(ast.Not(), node.test), node.body, node.orelse)


def _other_expressions(node: ast.AST) -> Iterator[ast.expr]:
    if isinstance(node, ast.Compare):
        for at, operator in enumerate(node.ops):
            for other in _OTHER_WAY[type(operator)]:
                yield ast.Compare(node.left, [*node.ops[:at], other(), *node.ops[at + 1 :]], node.comparators)
    elif isinstance(node, ast.BoolOp):
        yield ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
        for at in range(len(node.values)):
            rest = node.values[:at] + node.values[at + 1 :]
            yield ast.BoolOp(node.op, rest) if len(rest) > 1 else rest[0]
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield node.operand
    elif isinstance(node, ast.BinOp) and type(node.op) in _OTHER_SUM:
        yield ast.BinOp(node.left, _OTHER_SUM[type(node.op)](), node.right)
    elif isinstance(node, ast.IfExp):
        yield ast.IfExp(node.test, node.orelse, node.body)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _OTHER_CALL:
        yield ast.Call(ast.Name(_OTHER_CALL[node.func.id], ast.Load()), node.args, node.keywords)
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield ast.Constant(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        yield ast.Constant(node.value + 1)


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None

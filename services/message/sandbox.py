"""Where templates of an installation are rendered: no way to Python, no unescaped value, and none without an end.

Jinja's sandbox keeps templates from what is not theirs. It does not bound how long they take or how much they write,
so that each loop, call, filter and operator is counted here.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from itertools import islice
from time import thread_time
from typing import Any, Final

from jinja2 import (
    BaseLoader,
    Environment,
    StrictUndefined,
    Template,
    TemplateSyntaxError,
    nodes,
    pass_environment,
    pass_eval_context,
    select_autoescape,
)
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension
from jinja2.filters import FILTERS, make_attrgetter
from jinja2.nodes import EvalContext
from jinja2.runtime import BlockReference, Context, LoopContext, Macro, TemplateReference, markup_join
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Cycler, Joiner, Namespace
from jinja2.visitor import NodeTransformer
from markupsafe import soft_str

LONGEST: Final = 1024 * 1024  # characters of a text, and of whatever is made on the way to it
_MOST_STEPS: Final = 500_000
_MOST_SECONDS: Final = 1.0  # of computing, however busy the machine is; a usual mail takes some milliseconds
_MOST_ITEMS: Final = 100_000  # of a list
_PER_STEP: Final = 32  # characters or items of a result that count as one step
_FORMAT: Final = re.compile(r"[^%]*(?:%(?:%|[-+ 0]?\d{0,2}(?:\.\d{1,2})?[sdf])[^%]*)*")
_LARGEST_NUMBER: Final = 2**128
_HIGHEST_POWER: Final = 64
_FINEST: Final = 15  # digits behind the point
_FILTERS: Final = (
    "abs", "capitalize", "count", "d", "default", "dictsort", "e", "escape", "filesizeformat", "first", "float",
    "format", "groupby", "int", "items", "join", "last", "length", "list", "lower", "map", "max", "min", "reject",
    "rejectattr", "replace", "reverse", "round", "select", "selectattr", "sort", "string", "striptags", "sum", "title",
    "trim", "truncate", "unique", "upper", "urlencode", "wordcount",
)  # fmt: skip
_OF_TEXT: Final = frozenset((
    "capitalize", "count", "endswith", "find", "isalpha", "isdigit", "islower", "isupper", "lower", "lstrip",
    "removeprefix", "removesuffix", "rstrip", "split", "splitlines", "startswith", "strip", "title", "upper",
))  # fmt: skip
_OPEN: Final = (
    dict,
    list,
    tuple,
    Mapping,
    LoopContext,
    BlockReference,
    Macro,
    TemplateReference,
    Cycler,
    Joiner,
    Namespace,
)
TOO_MUCH: Final = "It takes too long, or becomes too large."
NO_AUTOESCAPE: Final = "Escaping cannot be turned off."


class TooMuch(SecurityError):
    """A template does, or writes, more than any email needs."""

    def __init__(self) -> None:
        super().__init__(TOO_MUCH)


class _Budget:
    """What is left for one mail."""

    def __init__(self) -> None:
        self.steps, self.until = _MOST_STEPS, thread_time() + _MOST_SECONDS

    def charge(self, steps: int) -> None:
        self.steps -= steps
        if self.steps < 0 or thread_time() > self.until:
            raise TooMuch


_budget: Final[ContextVar[_Budget | None]] = ContextVar("budget", default=None)


@contextmanager
def bounded() -> Iterator[None]:
    """Let what is rendered within the block have a bounded time and size, all together. Raises TooMuch."""
    token = _budget.set(_Budget())
    try:
        yield
    finally:
        _budget.reset(token)


def _charge(result: Any = None) -> Any:  # noqa: ANN401 - whatever a template makes
    """Count a step, and what came of it."""
    size = _weight(result)
    if budget := _budget.get():
        budget.charge(1 + size // _PER_STEP)
    if size > LONGEST:
        raise TooMuch
    return result


def _weight(value: object) -> int:
    """The characters and items of all that is in a value, each as often as it is there; no further than need be.

    Since nothing can be changed once it is made, whatever is done with a value later is bounded by this too.
    """
    if isinstance(value, str):
        return len(value)
    found, rest = 0, [value]
    while rest and found <= LONGEST:
        each = rest.pop()
        if isinstance(each, str):
            found += len(each)
        elif isinstance(each, dict):
            rest += [*each.keys(), *each.values()]
        elif isinstance(each, list | tuple):
            if len(each) > _MOST_ITEMS:
                raise TooMuch
            rest += each
        found += 1
    return found


def _joined(parts: Iterable[str]) -> str:
    """What a template, macro or block has written, no more of it than may be."""
    written, length = [], 0
    for part in parts:
        written.append(part)
        length += len(part)
        if length > LONGEST:
            raise TooMuch
    return str(_charge("".join(written)))


def _counted(function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter whose result is counted."""

    @wraps(function)  # which also says what it wants to be given
    def counted(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        _charge()
        return _charge(function(*args, **kwargs))

    return counted


@pass_eval_context
def _join(context: EvalContext, value: Iterable[Any], d: str = "", attribute: str | None = None) -> str:
    """As Jinja's, once it is known how long it becomes."""
    of_each = make_attrgetter(context.environment, attribute) if attribute is not None else None
    parts = [of_each(each) if of_each else each for each in _few(value)]
    if sum(len(str(part)) + len(d) for part in parts) > LONGEST:
        raise TooMuch
    found: str = FILTERS["join"](context, parts, d)
    return found


@pass_environment
def _sum(environment: Environment, value: Iterable[Any], attribute: str | None = None) -> Any:  # noqa: ANN401
    """Of numbers alone."""
    return FILTERS["sum"](environment, _few(value), attribute)


def _round(value: float, precision: int = 0) -> float:
    if not _is_number(value) or abs(precision) > _FINEST:
        raise TooMuch
    return round(value, precision)


def _format(value: str, *args: object) -> str:
    """As Jinja's, with the signs for texts and numbers alone, and no wide ones."""
    if not _FORMAT.fullmatch(value):
        raise SecurityError("A format is like %s, %d or %.2f.")
    return soft_str(value) % args


@pass_eval_context
def _replace(context: EvalContext, value: str, old: str, new: str, count: int | None = None) -> str:
    """As Jinja's, once it is known how long it becomes."""
    times = str(value).count(str(old))
    if len(str(value)) + times * len(str(new)) > LONGEST:
        raise TooMuch
    found: str = FILTERS["replace"](context, value, old, new, count)
    return found


def _few(values: Iterable[Any]) -> list[Any]:
    found = list(islice(values, _MOST_ITEMS + 1))
    if len(found) > _MOST_ITEMS:
        raise TooMuch
    return found


def _range(*bounds: int) -> range:
    found = range(*bounds)
    if len(found) > _MOST_ITEMS:
        raise TooMuch
    return found


class _Steps(Extension):
    """What ``_Guarded`` writes into templates."""

    identifier = "steps"

    def step(self) -> str:
        return ""  # the call is what counts

    def joined(self, *parts: object) -> str:
        if sum(map(_weight, parts)) > LONGEST:
            raise TooMuch
        return markup_join(parts)

    def made(self, value: object) -> object:
        return value  # which the call weighs


class _Guarded(NodeTransformer):
    """Lets each turn of a loop, each joining of texts and each list that is made be a call."""

    def visit_For(self, node: nodes.For) -> nodes.Node:
        self.generic_visit(node)
        node.body.insert(0, nodes.ExprStmt(self._call("step", [], node.lineno), lineno=node.lineno))
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        return self._call("joined", node.nodes, node.lineno)

    def visit_List(self, node: nodes.List | nodes.Dict) -> nodes.Node:
        self.generic_visit(node)
        return self._call("made", [node], node.lineno)

    visit_Dict = visit_List

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:
        self.generic_visit(node)
        return self._call("made", [node], node.lineno) if node.ctx == "load" else node

    @staticmethod
    def _call(name: str, args: list[nodes.Expr], lineno: int) -> nodes.Call:
        attribute = nodes.ExtensionAttribute(_Steps.identifier, name, lineno=lineno)
        return nodes.Call(attribute, args, [], None, None, lineno=lineno)


class BoundedEnvironment(ImmutableSandboxedEnvironment):
    """Jinja for templates of others. What is rendered counts within ``bounded``."""

    intercepted_binops = frozenset(("+", "-", "*", "/", "//", "%", "**"))
    concat = staticmethod(_joined)

    def __init__(self, loader: BaseLoader) -> None:
        super().__init__(
            loader=loader,
            autoescape=select_autoescape(("html",)),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
            extensions=[_Steps],
        )
        known = FILTERS | {"join": _join, "sum": _sum, "round": _round, "format": _format, "replace": _replace}
        self.filters = {name: _counted(known[name]) for name in _FILTERS}
        self.globals = {"range": _range, "namespace": Namespace, "cycler": Cycler, "joiner": Joiner}

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        for node in tree.find_all((nodes.EvalContextModifier, nodes.ScopedEvalContextModifier)):
            raise TemplateSyntaxError(NO_AUTOESCAPE, node.lineno, name, filename)
        guarded: nodes.Template = _Guarded().visit(tree)
        guarded.set_environment(self)
        return guarded

    def get_template(self, name: str | Template, parent: str | None = None, globals: Any = None) -> Template:  # noqa: ANN401
        _charge()
        return super().get_template(name, parent, globals)

    def is_safe_attribute(self, obj: object, attr: str, value: object) -> bool:
        is_open = attr in _OF_TEXT if isinstance(obj, str) else isinstance(obj, _OPEN)
        return is_open and super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, value: object) -> None:
        """Let ``"{:>9}".format`` be no way round ``_OF_TEXT``: a width writes gigabytes before they can be counted."""

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        _charge()
        return _charge(super().call(__context, __obj, *args, **kwargs))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:  # noqa: ANN401
        _charge()
        if operator == "%" and isinstance(left, str):
            raise SecurityError("A text cannot be formatted with %.")
        if operator == "*" and not _is_small_product(left, right):
            raise TooMuch
        if operator == "**" and not (_is_number(left) and _is_number(right) and abs(right) <= _HIGHEST_POWER):
            raise TooMuch
        found = _charge(super().call_binop(context, operator, left, right))
        if isinstance(found, int) and abs(found) > _LARGEST_NUMBER:
            raise TooMuch
        return found


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not (isinstance(value, int) and abs(value) > _LARGEST_NUMBER)


def _is_small_product(left: object, right: object) -> bool:
    """Whether a text or list that is repeated stays small."""
    if _is_number(left) and _is_number(right):
        return True
    times, repeated = (left, right) if isinstance(left, int) else (right, left)
    if not isinstance(times, int) or not isinstance(repeated, str | list | tuple):
        return True  # which is an error of its own
    return (_weight(repeated) + 1) * max(times, 0) <= LONGEST

"""What each application of a test would make anew though it is always the same: made once for all tests of a process.

Thousands of tests have an application of their own. Its templates, its addresses and its statements are the same each
time, and to compile them was most of what such a test took, beside the hashes of its people's passwords.
"""

from types import CodeType, MethodType
from typing import Any, Final, cast
from weakref import WeakKeyDictionary

from argon2 import PasswordHasher
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from jinja2.bccache import Bucket, BytecodeCache
from sqlalchemy import Engine
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.util import LRUCache
from werkzeug.routing import Rule

from services.accounts import passwords

HASHER: Final = passwords._hasher  # as it is outside of tests, and so in each process that they start
STATEMENTS: Final = 10_000
HASH_OF_NOBODY: Final = passwords._NOBODY


class _Memory(BytecodeCache):
    """Compiled templates, by name and place, and by what the source was."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], CodeType | None] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        bucket.code = self._kept.get((bucket.key, bucket.checksum))

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._kept[bucket.key, bucket.checksum] = bucket.code


def share_templates() -> None:
    """Let every application of this process have the same compiled templates."""
    Flask.jinja_options = {**Flask.jinja_options, "bytecode_cache": _Memory()}


def share_addresses() -> None:
    """Let the rules of all applications of this process that are written alike have the same parts and functions.

    Such a function gets the rule as its first argument, so it holds nothing of the application it was made for.
    """
    compiled: dict[tuple[object, ...], Rule] = {}
    compile_anew = Rule.compile

    def compile_once(rule: Rule) -> None:
        if rule.defaults or rule.subdomain or rule.host:  # which become part of it
            compile_anew(rule)
            return
        # A converter has its map, but asks it for nothing.
        alike = (rule.rule, rule.merge_slashes, rule.map.host_matching, *rule.map.converters.items())
        if alike not in compiled:
            compile_anew(rule)
            compiled[alike] = rule
            return
        first = compiled[alike]
        rule.arguments |= first.arguments
        rule._parts, rule._trace, rule._converters = first._parts, first._trace, first._converters
        rule._build = cast(MethodType, first._build).__func__.__get__(rule)
        rule._build_unknown = cast(MethodType, first._build_unknown).__func__.__get__(rule)

    Rule.compile = compile_once  # type: ignore[method-assign, assignment]


def share_statements() -> None:
    """Let all applications of this process say the statements that one of them has compiled for SQLite.

    Each has an engine of its own, which would compile every statement anew.
    """
    statements: LRUCache[Any, Any] = LRUCache(STATEMENTS)
    types: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()
    make_engine = SQLAlchemy._make_engine

    def make_sharing(self: SQLAlchemy, bind_key: str | None, options: dict[str, Any], app: Flask) -> Engine:
        engine = make_engine(self, bind_key, options, app)
        if type(engine.dialect) is SQLiteDialect_pysqlite:
            engine._compiled_cache = statements
            engine.dialect._type_memos = types
        return engine

    SQLAlchemy._make_engine = make_sharing  # type: ignore[method-assign]
    # A statement is kept together with the dialect that it was compiled for: here, one is as good as another.
    SQLiteDialect_pysqlite.__eq__ = lambda self, other: type(self) is type(other)  # type: ignore[method-assign]
    SQLiteDialect_pysqlite.__hash__ = lambda self: hash(type(self))  # type: ignore[method-assign]


def hash_cheaply() -> None:
    """Let the passwords of this process be hashed with the least that argon2id allows: a hash is slow on purpose."""
    passwords._hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    passwords._NOBODY = passwords._hasher.hash("nobody's")  # type: ignore[misc]

"""What each application of a test would make anew though it is always the same: made once for all tests of a process.

Thousands of tests have an application of their own. Its templates and its addresses are the same each time, and to
compile them was most of what such a test took, beside the hashes of its people's passwords.
"""

from types import FunctionType
from typing import Final, cast

from argon2 import PasswordHasher
from flask import Flask
from jinja2.bccache import Bucket, BytecodeCache
from werkzeug.routing import Rule

from services.accounts import passwords

HASHER: Final = passwords._hasher  # as it is outside of tests, and so in each process that they start
HASH_OF_NOBODY: Final = passwords._NOBODY


class _Memory(BytecodeCache):
    """Compiled templates, by name and place; Jinja itself asks whether the source is still the same."""

    def __init__(self) -> None:
        self._kept: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if bucket.key in self._kept:
            bucket.bytecode_from_string(self._kept[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._kept[bucket.key] = bucket.bytecode_to_string()


def share_templates() -> None:
    """Let every application of this process have the same compiled templates."""
    Flask.jinja_options = {**Flask.jinja_options, "bytecode_cache": _Memory()}


def share_addresses() -> None:
    """Let the rules of all applications of this process that are written alike have the same functions.

    Such a function gets the rule as its first argument, so it holds nothing of the application it was made for.
    """
    compile_builder = Rule._compile_builder
    made: dict[tuple[object, ...], FunctionType] = {}

    def made_once(rule: Rule, append_unknown: bool = True) -> FunctionType:
        if rule.defaults:  # which become part of the function
            return cast(FunctionType, compile_builder(rule, append_unknown))
        alike = (rule.rule, tuple(rule._trace), append_unknown)
        if alike not in made:
            made[alike] = cast(FunctionType, compile_builder(rule, append_unknown))
        return made[alike]

    Rule._compile_builder = made_once  # type: ignore[method-assign, assignment]


def hash_cheaply() -> None:
    """Let the passwords of this process be hashed with the least that argon2id allows: a hash is slow on purpose."""
    passwords._hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    passwords._NOBODY = passwords._hasher.hash("nobody's")  # type: ignore[misc]

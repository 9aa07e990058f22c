"""Account passwords: which are accepted (NIST SP 800-63B), and how they are kept (argon2id, RFC 9106)."""

import os
import re
import secrets
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from threading import BoundedSemaphore
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from utils.errors import TooMany

SHORTEST: Final = 12
LONGEST: Final = 128
SHORTEST_NAME: Final = 3  # shorter names stand in good passwords by chance

AT_ONCE: Final = 4  # hashes of 19 MiB each, so that a burst of sign-ins does not exhaust a small server
TURN_SECONDS: Final = 10.0  # that one waits for a turn

# OWASP's parameters.
_hasher = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
# Verified for names that nobody has, so that an unknown name takes as long as a wrong password.
_NOBODY: Final = _hasher.hash(secrets.token_urlsafe())

_COMMON_FILE: Final = Path(__file__).with_name("data") / "common_passwords.txt"
_SEPARATORS: Final = re.compile(r"[\s._-]+")
_LETTER: Final = re.compile(r"[^\W\d_]")


def refusal(password: str, names: Iterable[str]) -> str | None:
    """Why a new password is not accepted, as a sentence with the remedy, or None.

    ``names`` are those of the owner and the application; a password made of them alone is refused.
    """
    if len(password) > LONGEST or len(_normalised(password)) > LONGEST:
        return f"Use at most {LONGEST} characters."
    if min(len(password), len(_normalised(password))) < SHORTEST:
        return f"Use at least {SHORTEST} characters."
    if not _is_text(password):
        return "The password holds characters that are not valid Unicode."
    folded = _normalised(password).casefold()
    if not _common().isdisjoint((folded, _SEPARATORS.sub("", folded))):
        return "This password is on lists of common passwords. Choose another one."
    if _is_only_names(folded, names):
        return "This password is little more than a name. Choose another one."
    return None


def hash_password(password: str) -> str:
    """The argon2id hash to be stored, its parameters and salt included."""
    with _turn():
        return _hasher.hash(_normalised(password))


def verify(stored_hash: str | None, password: str) -> bool:
    """Whether the password is the one that was hashed; None takes just as long and is False."""
    known = stored_hash is not None
    # What is longer than any accepted password is not even normalised, which can take quadratic time.
    offered = _normalised(password) if len(password) <= LONGEST else ""
    try:
        with _turn():
            _hasher.verify(stored_hash or _NOBODY, offered)
    except (VerificationError, InvalidHashError, UnicodeEncodeError):
        return False
    return known


def is_outdated(stored_hash: str) -> bool:
    """Whether the hash was made with other parameters than today's."""
    return _hasher.check_needs_rehash(stored_hash)


@contextmanager
def _turn() -> Iterator[None]:
    """Wait until few enough others hash. Raises TooMany if that takes too long."""
    turns = _turns
    if not turns.acquire(timeout=TURN_SECONDS):
        raise TooMany("Many people are signing in just now. Try again in some seconds.", int(TURN_SECONDS))
    try:
        yield
    finally:
        turns.release()


_turns = BoundedSemaphore(AT_ONCE)


def _renew_turns() -> None:
    """In a forked child, whose parent's threads hold turns that nobody gives back here."""
    global _turns  # noqa: PLW0603
    _turns = BoundedSemaphore(AT_ONCE)


os.register_at_fork(after_in_child=_renew_turns)


def _normalised(password: str) -> str:
    """NFKC: keyboards and systems send the same typed character composed, decomposed or full-width."""
    return unicodedata.normalize("NFKC", password)


def _is_text(password: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in password)


def _is_only_names(folded: str, names: Iterable[str]) -> bool:
    """Whether taking out the names leaves no letter."""
    parts = {part for name in names for part in (name.casefold(), *name.casefold().split("@"))}
    rest = folded
    for part in sorted(parts, key=len, reverse=True):
        if len(part) >= SHORTEST_NAME:
            rest = rest.replace(part, "")
    return rest != folded and not _LETTER.search(rest)


@cache
def _common() -> frozenset[str]:
    return frozenset(_COMMON_FILE.read_text(encoding="utf-8").splitlines())

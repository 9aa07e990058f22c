"""Account passwords: which are accepted (NIST SP 800-63B), and how they are kept (argon2id, RFC 9106)."""

import os
import re
import unicodedata
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Final, TypeVar

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
# Verified for names that nobody has, so that an unknown name takes as long as a wrong password. Of a random password,
# with the parameters above; it stands here since a hash takes a start 20 ms.
_NOBODY: Final = "$argon2id$v=19$m=19456,t=2,p=1$AfocRTFid6yzxReL9fMccA$0RuxfU8oBeHO2i9wmVYV40A1ttU11if23/cb8eXLguY"

R = TypeVar("R")

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
        return "The password contains characters that are not valid Unicode."
    folded = _normalised(password).casefold()
    if not _common().isdisjoint((folded, _SEPARATORS.sub("", folded))):
        return "This password is too common. Choose another."
    if _is_only_names(folded, names):
        return "This password is too close to a name. Choose another."
    return None


def hash_password(password: str) -> str:
    """The argon2id hash to be stored, its parameters and salt included."""
    return _in_turn(_hasher.hash, _normalised(password))


def verify(stored_hash: str | None, password: str) -> bool:
    """Whether the password is the one that was hashed; None or "", for nobody's, takes just as long and is False."""
    known = bool(stored_hash)
    # What is longer than any accepted password is not even normalised, which can take quadratic time.
    offered = _normalised(password) if len(password) <= LONGEST else ""
    try:
        _in_turn(_hasher.verify, stored_hash or _NOBODY, offered)
    except (VerificationError, InvalidHashError, UnicodeEncodeError):
        return False
    return known


def is_outdated(stored_hash: str) -> bool:
    """Whether the hash was made with other parameters than today's."""
    return _hasher.check_needs_rehash(stored_hash)


def _in_turn(work: Callable[..., R], *arguments: str) -> R:
    """Let one of the few hash, once the others are done. Raises TooMany if that takes too long."""
    waiting = _workers.submit(work, *arguments)
    try:
        return waiting.result(TURN_SECONDS)
    except TimeoutError:
        waiting.cancel()
        raise TooMany(
            "Many people are signing in at the moment. Try again in a few seconds.", int(TURN_SECONDS)
        ) from None


def _new_workers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(AT_ONCE, thread_name_prefix="argon2")


# Threads of their own, and not just a semaphore: what a thread has used for a hash stays with it (glibc's arenas), so
# that with a semaphore alone forty threads held 436 MiB in the end.
_workers = _new_workers()


def _after_fork() -> None:
    """A fork copies no threads."""
    global _workers  # noqa: PLW0603
    _workers = _new_workers()


os.register_at_fork(after_in_child=_after_fork)


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

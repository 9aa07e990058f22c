"""Which passwords are accepted, and that the same typed password is always the same one."""

import pytest

from services.accounts import passwords
from tests.made_once import HASH_OF_NOBODY, HASHER

GOOD = "river otter seventeen lamp"
NAMES = ("alice", "alice.miller@example.com", "OpenAlgo")


@pytest.mark.parametrize(
    "password",
    [
        GOOD,
        "aaaabbbbccccdddd1",
        "            x            y",
        "пароль из кириллицы",
        "🦦" * 11 + "a",
        "x7" + "é" * 3 + "qwzj vurk",
        "alice went to sea",
        "849302175639",
        "n0 rules at all",
    ],
)
def test_there_are_no_composition_rules(password: str) -> None:
    assert passwords.refusal(password, NAMES) is None


@pytest.mark.parametrize("password", ["", "short", "eleven char", "\ufdfa", "e\u0301" * 6])
def test_a_short_password_is_refused(password: str) -> None:
    assert passwords.refusal(password, NAMES) == "Use at least 12 characters."


@pytest.mark.parametrize("password", ["x7" * 64 + "z", "\ufdfa" * 20, "z" * 60_000])
def test_a_long_password_is_refused(password: str) -> None:
    assert passwords.refusal(password, NAMES) == "Use at most 128 characters."


def test_128_characters_are_accepted() -> None:
    assert passwords.refusal("x7" * 64, NAMES) is None


@pytest.mark.parametrize(
    "password",
    [
        "passwordpassword",
        "Password1234",
        "PASSWORD12345",
        "qwertyuiop123",
        "1qaz2wsx3edc",
        "123456789012",
        "aaaaaaaaaaaa",
        "Summer2026123",
        "sealpost1234",
        "correct horse battery staple",
        "correct-horse-battery-staple",
        "ｐａｓｓｗｏｒｄ1234",
        "administrator",
        "pass word 12 34",
    ],
)
def test_a_common_password_is_refused(password: str) -> None:
    assert "common" in (passwords.refusal(password, NAMES) or "")


@pytest.mark.parametrize(
    "password",
    [
        "alicealicealice",
        "Alice-Alice-2026!",
        "alice.miller@example.com",
        "Alice.Miller1234",
        "openalgo!OpenAlgo",
        "example.com!123",
    ],
)
def test_a_password_of_names_alone_is_refused(password: str) -> None:
    assert "name" in (passwords.refusal(password, NAMES) or "")


def test_a_short_name_in_a_password_does_not_matter() -> None:
    assert passwords.refusal("849302175639", ("8", "8@x.example")) is None


def test_composed_and_decomposed_letters_are_the_same_password() -> None:
    stored = passwords.hash_password("café au lait matin")
    assert passwords.verify(stored, "cafe\u0301 au lait matin")


def test_spaces_around_a_password_count() -> None:
    stored = passwords.hash_password(f" {GOOD} ")
    assert passwords.verify(stored, f" {GOOD} ")
    assert not passwords.verify(stored, GOOD)


@pytest.mark.parametrize("other", ["R", "z", ""])
def test_case_counts_to_the_last_of_128_characters(other: str) -> None:
    password = ("river otter seventeen lamp " * 5)[:127] + "r"
    stored = passwords.hash_password(password)
    assert passwords.verify(stored, password)
    assert not passwords.verify(stored, password[:-1] + other)


def test_outside_of_tests_a_hash_takes_what_owasp_asks_for() -> None:
    stored = HASHER.hash(GOOD)
    assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$")


def test_outside_of_tests_a_name_that_nobody_has_takes_as_long_as_a_wrong_password() -> None:
    assert not HASHER.check_needs_rehash(HASH_OF_NOBODY)


def test_the_hash_is_argon2id_and_salted() -> None:
    first, second = passwords.hash_password(GOOD), passwords.hash_password(GOOD)
    assert first.startswith("$argon2id$")
    assert first != second


def test_nobody_is_verified_without_a_hash() -> None:
    assert not passwords.verify(None, GOOD)


def test_a_broken_hash_verifies_nobody() -> None:
    assert not passwords.verify("$argon2id$broken", GOOD)


def test_the_list_of_common_passwords_is_long_and_lower_case() -> None:
    words = passwords._COMMON_FILE.read_text(encoding="utf-8").splitlines()
    assert len(words) > 4000
    assert all(word == word.casefold() and len(word) >= passwords.SHORTEST for word in words)

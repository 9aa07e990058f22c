"""The scanner finds what is planted, in every encoding, and nothing else; otherwise no other test means anything."""

import hashlib
import random

import pytest

from tests.secret_encodings import CHALLENGE, ENCODINGS, USERNAME
from tests.secret_scanner import cram_md5_answer, forms, found_in

SECRETS = {
    "plain": "correct-Horse7Battery",
    "ASCII with signs": "Sm7p'q\"u<o>t&e%41+=\\/~#x",
    "several scripts": "  Grüße – пароль 鍵 🔑 zum Tor ",
    "random": "x7Kq2vZx9LmWt4Rb8Hs1Nd6Yf3Pg0Ju5",
}


def surrounded(planted: bytes) -> bytes:
    """Something planted amid a binary file's noise."""
    noise = random.Random(11)
    return noise.randbytes(997) + b"\nreply=" + planted + b";\r\n" + noise.randbytes(1003)


def values(secret: str) -> list[str]:
    return [secret, cram_md5_answer(USERNAME, secret, CHALLENGE)]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("secret", SECRETS.values(), ids=list(SECRETS))
def test_a_planted_leak_is_found(secret: str, encoding: str) -> None:
    data = surrounded(ENCODINGS[encoding](secret))
    assert found_in(data, {"planted": values(secret)}) == {"planted"}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("secret", SECRETS.values(), ids=list(SECRETS))
def test_a_secret_that_differs_by_one_character_is_another_one(secret: str, encoding: str) -> None:
    other = secret[:9] + chr(ord(secret[9]) + 1) + secret[10:]
    data = surrounded(ENCODINGS[encoding](other))
    assert found_in(data, {"planted": values(secret)}) == set()


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_a_digest_gives_nothing_away(algorithm: str) -> None:
    secret = SECRETS["plain"]
    digest = hashlib.new(algorithm, secret.encode()).hexdigest().encode()
    assert found_in(surrounded(digest), {"planted": [secret]}) == set()


def test_a_broken_stream_hides_nothing_that_stands_beside_it() -> None:
    secret = SECRETS["plain"]
    assert found_in(b"\x1f\x8b\x08\x78\x9c" + secret.encode(), {"planted": [secret]}) == {"planted"}


def test_a_secret_too_short_to_tell_from_chance_is_refused() -> None:
    with pytest.raises(ValueError, match="too short"):
        forms("hunter2")

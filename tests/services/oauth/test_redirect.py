"""The browser that comes back: with the answer of this sign-in, from this provider, in time; or for nothing."""

from datetime import timedelta
from typing import Final

import pytest

from services.oauth import redirect
from services.oauth.failures import About, TokenFailure, TokenFault
from services.oauth.redirect import PendingSignIn
from tests.services.oauth.signing_in import begun
from utils import clock
from utils.secret import Secret

ISSUER: Final = "https://accounts.google.com"


def read(answer: dict[str, list[str]], pending: PendingSignIn, minutes: float = 1) -> Secret:
    return redirect.code_of(answer, pending, ISSUER, pending.began_at + timedelta(minutes=minutes))


def answer_to(pending: PendingSignIn, **others: list[str]) -> dict[str, list[str]]:
    return {"state": [pending.state.reveal()], "code": ["4/abc"]} | others


def test_an_answer_in_time_gives_the_code() -> None:
    pending = begun()
    assert read(answer_to(pending), pending) == Secret("4/abc")
    assert read(answer_to(pending, iss=[ISSUER], scope=["a"], scope2=["a", "b"]), pending) == Secret("4/abc")
    assert read(answer_to(pending), pending, 9.9) == Secret("4/abc")


def test_no_two_sign_ins_are_alike() -> None:
    first, second = begun(), begun()
    assert first.state != second.state
    assert first.verifier != second.verifier
    assert first.nonce != second.nonce
    assert 43 <= len(first.verifier.reveal()) <= 128


@pytest.mark.parametrize("minutes", [10, 11, 60, -6])
def test_an_answer_out_of_time_counts_for_nothing(minutes: float) -> None:
    pending = begun()
    with pytest.raises(TokenFailure) as caught:
        read(answer_to(pending), pending, minutes)
    assert caught.value.fault is TokenFault.STATE


@pytest.mark.parametrize(
    "others",
    [
        {"state": []},
        {"state": [""]},
        {"state": ["of another session"]},
        {"state": ["stäte"]},
        {"code": []},
        {"code": [""]},
        {"code": ["a", "b"]},
        {"code": ["x" * 5000]},
        {"code": ["a\r\nb"]},
        {"code": ["ä"]},
        {"iss": ["https://login.microsoftonline.com"]},
        {"iss": [ISSUER, "https://evil.example"]},
        {"error": ["access_denied", "server_error"]},
    ],
    ids=str,
)
def test_an_answer_of_another_sign_in_counts_for_nothing(others: dict[str, list[str]]) -> None:
    pending = begun()
    with pytest.raises(TokenFailure) as caught:
        read(answer_to(pending, **others), pending)
    assert (caught.value.fault, caught.value.about) == (TokenFault.STATE, About.SIGN_IN)


def test_the_state_of_another_sign_in_is_not_ours() -> None:
    with pytest.raises(TokenFailure) as caught:
        read(answer_to(begun()), begun())
    assert caught.value.fault is TokenFault.STATE


def test_someone_who_says_no_is_told_apart_and_only_with_the_right_state() -> None:
    pending = begun()
    said = {"error": ["access_denied"], "error_description": ["<b>no</b>"]}
    with pytest.raises(TokenFailure) as caught:
        read(answer_to(pending, **said), pending)
    assert (caught.value.fault, caught.value.error) == (TokenFault.REFUSED, "access_denied")
    with pytest.raises(TokenFailure) as forged:
        read(answer_to(pending, state=["x"], **said), pending)
    assert forged.value.fault is TokenFault.STATE


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("http://localhost/callback?code=a&state=b", {"code": ["a"], "state": ["b"]}),
        ("  http://localhost/?error=access_denied&state=b \n", {"error": ["access_denied"], "state": ["b"]}),
        ("?code=a%2Fb", {"code": ["a/b"]}),
        ("", {}),
        ("no address", {}),
        ("http://[half?code=a", {}),
        ("http://localhost/?" + "&".join(f"a{number}=1" for number in range(99)), {}),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_pasted_address_is_read_like_one_that_came(address: str, found: dict[str, list[str]]) -> None:
    assert redirect.pasted(address) == found


def test_a_moment_is_no_later_than_it_began() -> None:
    pending = redirect.begin("https://mail.example.com/back", clock.now())
    assert pending.redirect_uri == "https://mail.example.com/back"

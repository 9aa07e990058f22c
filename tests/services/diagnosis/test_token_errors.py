"""Why there is no token: each cause has words of its own, says whether to wait, and leads to where it is mended."""

import json
from collections.abc import Iterator
from itertools import product
from typing import Any, Final

import pytest

from services.connecting import missing
from services.delivery import retry_policy
from services.delivery.retry_policy import MailAction
from services.diagnosis.diagnosis import Diagnosis, diagnose, explain
from services.diagnosis.mending import MendPage
from services.diagnosis.picture import Picture
from services.diagnosis.reply_rules import TROUBLES, tables
from services.oauth import failures
from services.oauth.failures import About, TokenFailure, TokenFault, as_delivery_error, refused
from services.oauth.sealed import SignInCondition
from services.outbox.reasons import Reason
from services.smtp.settings import Bearer
from tests.smtp_clients import shop_settings
from utils.errors import DeliveryError, Fault, Phase, TokenTrouble
from utils.secret import Secret

TEXTS: Final = ("title", "meaning", "cause", "remedy")
PICTURE: Final = Picture(settings=shop_settings(bearer=Bearer(grant="config:3/1", token=Secret("t"))))
ENTRIES: Final[list[dict[str, Any]]] = json.loads(TROUBLES.read_text(encoding="utf-8"))["troubles"]


def entries() -> Iterator[tuple[str, dict[str, Any]]]:
    for entry in ENTRIES:
        for name in entry["of"]:
            yield name, entry


def said(failure: TokenFailure) -> Diagnosis:
    return diagnose(as_delivery_error(failure), PICTURE)


def every_error() -> list[str]:
    return sorted({*failures._OF_PROVIDER, *failures._OF_SIGN_IN, *failures._OF_CLIENT, failures.OTHER})


def test_no_two_causes_share_a_text() -> None:
    for text in ("title", "cause"):
        found = [entry[text] for entry in ENTRIES]
        assert sorted({*found}) == sorted(found), text
    assert len({(entry["meaning"], entry["remedy"]) for entry in ENTRIES}) == len(ENTRIES)
    names = [name for name, _ in entries()]
    assert len(names) == len({*names})


@pytest.mark.parametrize("fault", TokenFault)
def test_every_kind_of_failure_is_explained_by_name(fault: TokenFault) -> None:
    assert said(TokenFailure(fault)).rule == f"token:{fault}"


def test_every_error_and_every_kind_of_the_closed_lists_has_its_own_advice() -> None:
    for error in every_error():
        assert said(refused(400, {"error": error})).rule == f"token:{error}"
    kinds = {kind for _, kind in failures._KINDS} | {*failures._SUBTYPES.values()}
    for kind in kinds:
        assert said(TokenFailure(TokenFault.REFUSED, error="invalid_grant", kind=kind)).rule == f"token:{kind}"


@pytest.mark.parametrize(("name", "entry"), list(entries()), ids=lambda value: value if isinstance(value, str) else "")
def test_each_cause_leads_to_its_own_advice(name: str, entry: dict[str, Any]) -> None:
    if name.startswith("AADSTS"):
        failure = refused(400, {"error": "invalid_grant", "error_codes": [int(name.removeprefix("AADSTS"))]})
        assert (failure.about is About.PROVIDER) is entry["retryable"] or name == "AADSTS70016"  # the code is awaited
    elif name in [*TokenFault]:
        failure = TokenFailure(TokenFault(name))
    elif " " in name:
        fault, link = name.split(" ")
        failure = TokenFailure(TokenFault(fault), link=Fault(link))
    else:
        failure = TokenFailure(TokenFault.REFUSED, error="invalid_client", kind=name)
    found = said(failure)
    assert found.rule == f"token:{name}"
    assert [getattr(found, text) for text in TEXTS] == [entry[text] for text in TEXTS]


def test_what_is_waited_for_is_what_is_tried_again() -> None:
    for fault, link in product(TokenFault, (None, Fault.TIMEOUT, Fault.TLS_CERTIFICATE, Fault.OURS)):
        failure = TokenFailure(fault, link=link if fault is TokenFault.UNREACHABLE else None)
        assert said(failure).retryable is (failure.about is About.PROVIDER), str(failure)
    for error in every_error():
        failure = refused(400, {"error": error})
        assert said(failure).retryable is (failure.about is About.PROVIDER), error


def test_mail_waits_whatever_the_provider_says() -> None:
    for error, number in product(every_error(), (0, 700082, 7000222, 53003)):
        failure = refused(400, {"error": error, "error_codes": [number]})
        verdict = retry_policy.of_error(as_delivery_error(failure))
        assert verdict.action is MailAction.SNOOZE
        assert verdict.goes_on
        assert verdict.is_unreachable
        is_passing = failure.about is About.PROVIDER
        assert (verdict.opens, verdict.trips) == (not is_passing, is_passing)
        assert verdict.reason is (Reason.TOKEN_UNAVAILABLE if is_passing else Reason.TOKEN_DEAD)


def test_what_a_person_has_to_mend_has_a_page_or_says_who_can() -> None:
    for name, entry in entries():
        if not entry["retryable"] and not entry.get("tries"):
            assert any(word in entry["remedy"] for word in ("dministrator", "admin center", "Admin console", "Set the",
                "user name", "In the", "Remove the", "Firefox")), name  # fmt: skip


@pytest.mark.parametrize(
    ("failure", "page"),
    [
        (TokenFailure(TokenFault.REFUSED, error="invalid_grant", code="AADSTS700082"), MendPage.CONNECT),
        (TokenFailure(TokenFault.REFUSED, error="invalid_grant", kind="expired_or_revoked"), MendPage.CONNECT),
        (TokenFailure(TokenFault.STATE), MendPage.CONNECT),
        (TokenFailure(TokenFault.REFUSED, error="invalid_client", code="AADSTS7000222"), MendPage.CLIENT_SECRET),
        (TokenFailure(TokenFault.REFUSED, error="invalid_client", kind="wrong_secret"), MendPage.CLIENT_SECRET),
        (TokenFailure(TokenFault.REFUSED, error="unauthorized_client", code="AADSTS700016"), MendPage.REGISTRATION),
        (TokenFailure(TokenFault.KEY), MendPage.REGISTRATION),
    ],
    ids=str,
)
def test_a_cause_leads_to_the_page_where_it_is_mended(failure: TokenFailure, page: MendPage) -> None:
    assert [action.leads_to for action in said(failure).actions] == [page]


def test_the_advice_of_an_attempt_that_was_stored_is_the_same() -> None:
    for failure in (
        refused(401, {"error": "invalid_client", "error_codes": [7000222]}),
        refused(400, {"error": "invalid_grant", "error_description": "Token has been expired or revoked."}),
        TokenFailure(TokenFault.UNREACHABLE, link=Fault.TLS_CERTIFICATE),
        TokenFailure(TokenFault.UNREACHABLE, link=Fault.OURS),
        TokenFailure(TokenFault.OURS),
        refused(400, {"error": "zork", "error_codes": [999111]}),
    ):
        error = as_delivery_error(failure)
        stored = explain(phase=error.phase, fault=error.fault, text=error.text, host="smtp.office365.com", port=587)
        live = said(failure)
        assert (stored.rule, stored.remedy, stored.docs_url) == (live.rule, live.remedy, live.docs_url)
        assert stored.actions == ()


def test_a_number_that_is_not_known_is_told_with_where_to_look_it_up() -> None:
    found = said(refused(400, {"error": "invalid_grant", "error_codes": [130500]}))
    assert found.rule == "token:invalid_grant"
    assert "AADSTS130500" in found.remedy
    assert found.docs_url == "https://login.microsoftonline.com/error?code=130500"
    assert "AADSTS" not in said(refused(400, {"error": "invalid_grant"})).remedy


def test_the_text_that_a_row_keeps_has_the_names_and_no_word_of_the_provider() -> None:
    trouble = TokenTrouble("refused", "invalid_grant", "AADSTS70000", "expired_or_revoked")
    assert str(trouble) == "No token: refused, invalid_grant, expired_or_revoked, AADSTS70000"
    assert set(TokenTrouble.names_in(str(trouble))) == {*trouble.names}
    assert TokenTrouble.names_in(str(trouble))[0] == "AADSTS70000"
    assert DeliveryError(Phase.SIGN_IN, Fault.TOKEN_DEAD, "something else").trouble_names == ()


def test_every_number_that_the_guide_knows_has_its_own_advice() -> None:
    assert missing._BY_CODE.keys() <= tables()["tokens"].keys()


def test_every_name_is_one_of_a_failure() -> None:
    """No advice waits for what never comes."""
    kinds = {kind for _, kind in failures._KINDS} | {*failures._SUBTYPES.values()}
    kinds |= {each.value for each in SignInCondition}
    links = {f"{fault} {link}" for fault in TokenFault for link in Fault}
    assert {name for name in tables()["tokens"] if not name.startswith("AADSTS")} <= {
        *TokenFault, *every_error(), *kinds, *links,
    }  # fmt: skip

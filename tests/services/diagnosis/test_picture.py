"""What is known of a failure, what follows from how far it got, and what stays unknown."""

from dataclasses import replace
from ipaddress import ip_address

import pytest

from services.diagnosis.conditions import CONDITIONS, may_hold, surely_hold
from services.diagnosis.picture import Picture
from services.smtp.client import SmtpClient
from services.smtp.dialogue import Dialogue
from services.smtp.settings import Security, SmtpSettings
from tests import certificates
from tests.scripted_server import ScriptedServer, start_tls
from tests.smtp_clients import Script, policy, settings_for
from utils.errors import DeliveryError, Phase
from utils.secret import Secret

TYPED = SmtpSettings(
    host="smtp.shop.example",
    port=587,
    security=Security.STARTTLS,
    username="mailer",
    password=Secret("geheim-8472"),
    from_email="hello@shop.example",
)


@pytest.mark.parametrize(
    ("security", "phase", "encrypted", "signed_in"),
    [
        (Security.STARTTLS, Phase.EHLO, False, False),
        (Security.STARTTLS, Phase.ENCRYPTION, None, False),
        (Security.STARTTLS, Phase.SIGN_IN, True, False),
        (Security.STARTTLS, Phase.SENDER, True, True),
        (Security.TLS, Phase.CONNECT, False, False),
        (Security.TLS, Phase.GREETING, True, False),
        (Security.TLS, Phase.MESSAGE, True, True),
        (Security.NONE, Phase.SENDER, False, True),
    ],
)
def test_how_far_it_got_tells_what_went_well(
    security: Security, phase: Phase, encrypted: bool | None, signed_in: bool
) -> None:
    seen = Picture(settings=replace(TYPED, security=security)).at(phase)
    assert (seen.encrypted, seen.signed_in) == (encrypted, signed_in)


def test_without_a_user_name_nobody_has_signed_in() -> None:
    assert Picture(settings=replace(TYPED, username="", password=Secret(""))).at(Phase.RECIPIENT).signed_in is False


def test_what_was_seen_goes_before_what_would_follow() -> None:
    assert Picture(settings=TYPED, encrypted=False).at(Phase.RECIPIENT).encrypted is False


@pytest.mark.parametrize("phase", Phase)
def test_of_a_stored_attempt_nothing_is_claimed(phase: Phase) -> None:
    stored = Picture(settings=replace(TYPED, host="", port=0), is_typed=False).at(phase)
    answers = {name: question(stored) for name, question in CONDITIONS.items()}
    assert {name for name, answer in answers.items() if answer is not None} <= {"opening", "known_to_encrypt"}


@pytest.mark.parametrize("name", sorted(CONDITIONS))
def test_what_is_not_known_excludes_nothing_and_is_never_sure(name: str) -> None:
    stored = Picture(settings=replace(TYPED, host="", port=0), is_typed=False)
    if CONDITIONS[name](stored) is None:
        assert may_hold(stored, [name], [name])
        assert not surely_hold(stored, [name], [])
        assert not surely_hold(stored, [], [name])


def test_the_steps_note_what_is_offered_before_and_after_encryption_and_how_far_the_sign_in_came() -> None:
    script: Script = {
        "EHLO": ["250-scripted.test\n250 STARTTLS", "250-scripted.test\n250-SIZE 1000\n250 AUTH PLAIN XOAUTH2"],
        "STARTTLS": start_tls(),
        "AUTH": "535 5.7.8 no",
    }
    with ScriptedServer(script, tls=certificates.good_context()) as server:
        settings = settings_for(server, security=Security.STARTTLS, username="shop", password="geheim-8472")
        talk = Dialogue(settings, None)
        with pytest.raises(DeliveryError):
            SmtpClient(settings, policy(), talk=talk).open()
    seen = Picture.of(settings, talk.seen)
    assert seen.addresses == {ip_address("127.0.0.1"): None}
    assert seen.plain_offers == {"STARTTLS": ""}
    assert (seen.encrypted, seen.signed_in, seen.mechanism) == (True, False, "PLAIN")
    assert (seen.mechanisms, seen.size_limit) == (("PLAIN", "XOAUTH2"), 1000)

"""Passkeys: made and used once for each challenge, in its browser, for this site; and what is sent in their place."""

import json
from collections.abc import Callable

import pytest
from flask import Flask

from database import passkey_db
from database.engine import reading
from services import audit
from services.accounts import accounts, administration, sessions
from services.accounts.proofs import Proof
from services.audit import Action
from services.factors import enrolment, passkeys, relying_party, steps, ways
from services.factors.passkeys import Purpose
from tests.authenticator import Authenticator
from tests.second_factors import enrol
from tests.turned_clock import Now
from tests.visitors import make_alice, make_bob
from utils import clock
from utils.errors import Conflict, InvalidInput, NotFound

pytestmark = pytest.mark.usefixtures("app")

BROWSER = "the cookie of a browser"


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Now:
    turned = Now()
    monkeypatch.setattr(clock, "now", turned)
    return turned


def add(device: Authenticator, name: str = "phone", account_id: int = 1) -> list[str]:
    answer = device.create(passkeys.options_to_create(account_id, BROWSER))
    return passkeys.add(account_id, name, answer, bound_to=BROWSER, but="")


@pytest.fixture
def phone() -> Authenticator:
    """Alice's, taken into use."""
    make_alice()
    device = Authenticator()
    add(device)
    return device


def asked(purpose: Purpose = Purpose.SIGN_IN, bound_to: str = BROWSER) -> str:
    return passkeys.options_to_use(bound_to, purpose)


def signed_in(answer: str, bound_to: str = BROWSER) -> str:
    return passkeys.sign_in(answer, bound_to=bound_to).username


def refusal(act: Callable[[], object]) -> str:
    with pytest.raises(InvalidInput) as refused:
        act()
    return refused.value.errors[passkeys.FIELD][0]


def test_a_passkey_signs_in_and_is_both_factors_in_one(phone: Authenticator) -> None:
    assert signed_in(phone.use(asked())) == "alice"
    assert not steps.is_needed(1, [Proof.PASSKEY])
    assert steps.is_needed(1, [Proof.PASSWORD])


def test_a_browser_is_asked_for_a_passkey_that_it_keeps_and_that_verifies_its_person() -> None:
    make_alice()
    options = json.loads(passkeys.options_to_create(1, BROWSER))
    wanted = options["authenticatorSelection"]
    assert (wanted["residentKey"], wanted["userVerification"]) == ("required", "required")
    assert options["rp"]["id"] == "localhost"
    assert options["attestation"] == "none"
    assert json.loads(asked())["userVerification"] == "required"
    assert json.loads(asked())["allowCredentials"] == []  # so it tells nobody who has one


def test_the_first_factor_brings_recovery_codes_and_further_passkeys_do_not(phone: Authenticator) -> None:
    assert ways.of_account(1).codes_left == 10
    assert add(Authenticator(), "  blue key\n") == []
    assert [each.name for each in passkeys.of_account(1)] == ["phone", "blue key"]
    assert ways.of_account(1).passkeys == 2


def test_a_passkey_without_a_name_gets_one(phone: Authenticator) -> None:
    add(Authenticator(), " ")
    assert passkeys.of_account(1)[1].name == "Passkey"


def test_its_last_use_is_told(phone: Authenticator, now: Now) -> None:
    assert passkeys.of_account(1)[0].last_used_at is None
    signed_in(phone.use(asked()))
    assert passkeys.of_account(1)[0].last_used_at == now.moment


def test_a_device_that_has_one_already_is_told_to_make_no_other(phone: Authenticator) -> None:
    excluded = json.loads(passkeys.options_to_create(1, BROWSER))["excludeCredentials"]
    assert len(excluded) == 1
    with pytest.raises(Conflict):
        add(phone)
    assert ways.of_account(1).passkeys == 1


def test_an_answer_is_good_once(phone: Authenticator) -> None:
    answer = phone.use(asked())
    signed_in(answer)
    assert refusal(lambda: signed_in(answer)) == passkeys.OVER


def test_a_passkey_cannot_be_made_twice_by_one_answer() -> None:
    make_alice()
    answer = Authenticator().create(passkeys.options_to_create(1, BROWSER))
    passkeys.add(1, "phone", answer, bound_to=BROWSER, but="")
    assert refusal(lambda: passkeys.add(1, "again", answer, bound_to=BROWSER, but="")) == passkeys.OVER


def test_a_challenge_of_another_session_is_none(phone: Authenticator) -> None:
    assert refusal(lambda: signed_in(phone.use(asked(bound_to="another")))) == passkeys.OVER
    assert refusal(lambda: signed_in(phone.use(asked()), bound_to="another")) == passkeys.OVER


def test_a_challenge_is_for_one_purpose(phone: Authenticator) -> None:
    assert refusal(lambda: signed_in(phone.use(asked(Purpose.CONFIRM)))) == passkeys.OVER
    passkeys.confirm(1, phone.use(asked(Purpose.CONFIRM)), bound_to=BROWSER)


def test_a_challenge_is_for_five_minutes(phone: Authenticator, now: Now) -> None:
    former, late = asked(), asked()
    now.turn(299)
    assert signed_in(phone.use(former)) == "alice"
    now.turn(1)
    assert refusal(lambda: signed_in(phone.use(late))) == passkeys.OVER
    asked()
    with reading() as session:
        assert session.query(passkey_db.PasskeyChallenge).count() == 1


def test_a_challenge_that_nobody_made_is_refused(phone: Authenticator) -> None:
    made_up = json.dumps(json.loads(asked()) | {"challenge": "AAAA"})
    assert refusal(lambda: signed_in(phone.use(made_up))) == passkeys.OVER


def test_another_origin_is_refused(phone: Authenticator) -> None:
    for phone.origin in (
        "https://localhost:5000",
        "http://localhost",
        "http://evil.example",
        "http://localhost.evil.example:5000",
    ):
        assert refusal(lambda: signed_in(phone.use(asked()))) == passkeys.REFUSED
    assert refusal(lambda: add(Authenticator("http://evil.example"))) == passkeys.REFUSED


def test_another_site_is_refused(phone: Authenticator) -> None:
    elsewhere = json.dumps(json.loads(asked()) | {"rpId": "evil.example"})
    assert refusal(lambda: signed_in(phone.use(elsewhere))) == passkeys.REFUSED


def test_a_device_that_has_not_verified_its_person_is_refused(phone: Authenticator) -> None:
    phone.verifies = False
    assert refusal(lambda: signed_in(phone.use(asked()))) == passkeys.REFUSED
    assert refusal(lambda: add(Authenticator(verifies=False))) == passkeys.REFUSED


def test_a_signature_by_another_key_is_refused_and_the_trail_tells_of_it(phone: Authenticator) -> None:
    other = Authenticator()
    other.id = phone.id
    assert refusal(lambda: signed_in(other.use(asked()))) == passkeys.REFUSED
    event = audit.events(action=Action.SECOND_FACTOR_FAILED)[0]
    assert (event.subject, event.details) == ("account alice", "passkey")


def test_a_passkey_that_nobody_has_is_refused_in_the_same_words(phone: Authenticator) -> None:
    assert refusal(lambda: signed_in(Authenticator().use(asked()))) == passkeys.REFUSED
    assert "alice" not in audit.events(action=Action.SECOND_FACTOR_FAILED)[0].subject


def test_a_passkey_of_another_account_confirms_nobody(phone: Authenticator) -> None:
    bob = make_bob()
    assert refusal(lambda: passkeys.confirm(bob.id, phone.use(asked(Purpose.CONFIRM)), bound_to=BROWSER))


def test_a_disabled_account_is_not_signed_in(phone: Authenticator) -> None:
    root = accounts.create("root", "root@example.com", "river otter seventeen lamp", is_admin=True)
    administration.disable(1, by=root.id)
    assert refusal(lambda: signed_in(phone.use(asked()))) == passkeys.REFUSED


def test_a_count_of_signatures_that_falls_is_told_and_keeps_nobody_out(phone: Authenticator) -> None:
    phone.count = 40
    signed_in(phone.use(asked()))
    assert passkeys.of_account(1)[0].count_fell_at is None
    phone.count = 7
    assert signed_in(phone.use(asked())) == "alice"
    assert passkeys.of_account(1)[0].count_fell_at is not None
    event = audit.events(action=Action.PASSKEY_COUNT_FELL)[0]
    assert (event.subject, event.details) == ("account alice", "passkey “phone”")


def test_a_passkey_that_counts_nothing_is_not_doubted() -> None:
    make_alice()
    device = Authenticator(counts=False)
    add(device)
    for _ in range(2):
        signed_in(device.use(asked()))
    assert passkeys.of_account(1)[0].count_fell_at is None


def test_an_attestation_of_a_megabyte_is_not_even_read() -> None:
    make_alice()
    answer = Authenticator().create(passkeys.options_to_create(1, BROWSER), padding=1_000_000)
    assert refusal(lambda: passkeys.add(1, "phone", answer, bound_to=BROWSER, but="")) == passkeys.TOO_LONG
    assert ways.of_account(1).passkeys == 0


def test_what_is_no_answer_at_all_is_refused() -> None:
    nothing = ("", "{", "[]", "null", "7", "[" * 16_000, '{"response": 1}')
    without_challenge = (
        f'{{"response": {{"clientDataJSON": "{said}"}}}}' for said in ("é", "W10", "eyJjaGFsbGVuZ2UiOiAxfQ")
    )
    for answer in (*nothing, *without_challenge):
        assert refusal(lambda answer=answer: signed_in(answer)) == passkeys.REFUSED  # type: ignore[misc]


def test_what_is_cut_or_of_another_kind_is_refused(phone: Authenticator) -> None:
    for lacking in ("authenticatorData", "signature"):
        answer = json.loads(phone.use(asked()))
        answer["response"][lacking] = answer["response"][lacking][:7]
        assert refusal(lambda answer=answer: signed_in(json.dumps(answer))) == passkeys.REFUSED  # type: ignore[misc]
    answer = json.loads(phone.use(asked()))
    del answer["id"]
    assert refusal(lambda: signed_in(json.dumps(answer))) == passkeys.REFUSED


def test_an_account_can_have_twenty(phone: Authenticator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passkeys, "MOST", 1)
    with pytest.raises(Conflict, match="Remove one first"):
        passkeys.options_to_create(1, BROWSER)


def test_the_first_passkey_ends_every_other_session() -> None:
    alice = make_alice()
    begun = [
        sessions.begin(alice.id, 1, proven_by=[Proof.PASSWORD], address="192.0.2.1", browser="Firefox")
        for _ in range(2)
    ]
    answer = Authenticator().create(passkeys.options_to_create(1, BROWSER))
    passkeys.add(1, "phone", answer, bound_to=BROWSER, but=sessions.hash_of(begun[0]))
    assert [sessions.resume(each, "192.0.2.1") is not None for each in begun] == [True, False]


def test_the_last_factor_that_is_removed_takes_the_recovery_codes_along(phone: Authenticator) -> None:
    enrol(1)
    assert passkeys.remove(1, passkeys.of_account(1)[0].id, but="") == "phone"
    assert ways.of_account(1).codes_left == 10
    assert refusal(lambda: signed_in(phone.use(asked()))) == passkeys.REFUSED
    enrolment.remove_app(1, but="")
    assert ways.of_account(1).codes_left == 0
    removed = [event.details for event in audit.events(action=Action.FACTOR_REMOVED)]
    assert removed == ["authenticator app", "passkey “phone”"]


def test_a_passkey_of_another_account_is_not_removed(phone: Authenticator) -> None:
    bob = make_bob()
    with pytest.raises(NotFound):
        passkeys.remove(bob.id, passkeys.of_account(1)[0].id, but="")


class TestTheSite:
    @pytest.fixture
    def environment(self, environment: dict[str, str], base_url: str) -> dict[str, str]:
        is_secure = {"APP_ENV": "production"} if base_url.startswith("https") else {}
        return environment | is_secure | {"BASE_URL": base_url}

    @pytest.mark.parametrize(
        ("base_url", "site", "origin"),
        [
            ("https://mail.example.com", "mail.example.com", "https://mail.example.com"),
            ("https://mail.example.com:443/sealpost", "mail.example.com", "https://mail.example.com"),
            ("https://mail.example.com:8443", "mail.example.com", "https://mail.example.com:8443"),
            ("http://localhost:5000", "localhost", "http://localhost:5000"),
            ("http://sealpost.localhost:5000", "sealpost.localhost", "http://sealpost.localhost:5000"),
        ],
    )
    def test_is_that_of_base_url_whatever_a_header_says(self, app: Flask, site: str, origin: str) -> None:
        with app.test_request_context(headers={"Host": "evil.example", "X-Forwarded-Host": "evil.example"}):
            assert relying_party.relying_party() == relying_party.RelyingParty(site, origin)

    @pytest.mark.parametrize(
        ("base_url", "reason"),
        [
            ("http://127.0.0.1:5000", relying_party.IS_ADDRESS),
            ("https://192.0.2.1", relying_party.IS_ADDRESS),
            ("http://[::1]:5000", relying_party.IS_ADDRESS),
            ("http://mail.example.com", relying_party.IS_HTTP),
        ],
    )
    def test_has_none_where_no_browser_would_make_one(self, app: Flask, reason: str) -> None:
        assert passkeys.why_not() == reason
        make_alice()
        with pytest.raises(Conflict, match=reason.partition(".")[0]):
            passkeys.options_to_create(1, BROWSER)
        with pytest.raises(Conflict):
            asked()

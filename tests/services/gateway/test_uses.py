"""What is known of who has used the gateway, and of which gateways run."""

from datetime import timedelta

import pytest
from flask import Flask

from database.engine import transaction
from services.accounts import administration, api_tokens
from services.gateway import presence, uses
from services.gateway.uses import NEVER, Refused, UseState, Visit, Who
from tests.turned_clock import Now
from tests.visitors import make_alice, make_bob

pytestmark = pytest.mark.usefixtures("app")


def token_of(account_id: int) -> int:
    return api_tokens.create(account_id, "Gitea", scopes=["send"])[1].id


def note(*visits: Visit) -> None:
    with transaction() as session:
        uses.note(session, visits)


def visit(who: Who, *mail_ids: str, refused: Refused | None = None, address: str = "192.0.2.7") -> Visit:
    return Visit(who=who, address=address, ehlo="gitea.example", mail_ids=mail_ids, refused=refused)


def test_a_token_is_first_waited_for_then_seen_then_has_sent(now: Now) -> None:
    token_id = token_of(make_alice().id)
    who = Who(token_id=token_id)
    assert uses.by_token([token_id]) == {token_id: NEVER}
    assert NEVER.state is UseState.WAITING
    note(visit(who))
    assert uses.by_token([token_id])[token_id].state is UseState.CONNECTED
    note(visit(who, "a" * 32, "b" * 32))
    now.turn(60)
    note(visit(who, "c" * 32, address="2001:db8::1"))
    found = uses.by_token([token_id])[token_id]
    assert (found.state, found.mails) == (UseState.CAME, 3)
    assert (found.first_mail_id, found.last_mail_id) == ("a" * 32, "c" * 32)
    assert found.first_mail_at
    assert found.last_mail_at == found.first_mail_at + timedelta(minutes=1)
    assert (found.address, found.ehlo) == ("2001:db8::1", "gitea.example")


def test_the_last_refusal_is_told_until_a_mail_is_taken_after_it(now: Now) -> None:
    token_id = token_of(make_alice().id)
    who = Who(token_id=token_id)
    note(visit(who, refused=Refused(code=550, words="This address is not yours.")))
    found = uses.by_token([token_id])[token_id]
    assert (found.state, found.refusal_code, found.refusal) == (UseState.REFUSED, 550, "This address is not yours.")
    now.turn(1)
    note(visit(who, "a" * 32))
    assert uses.by_token([token_id])[token_id].state is UseState.CAME


def test_refused_sign_ins_are_an_accounts_and_trusted_networks_have_their_own_rows() -> None:
    alice = make_alice()
    note(
        visit(Who(account_id=alice.id), refused=Refused(code=535, words="Wrong.")),
        visit(Who(network="10.0.0.0/8"), "a" * 32),
    )
    assert uses.refused_sign_ins(alice.id).refusal_code == 535
    assert uses.refused_sign_ins(alice.id + 1) is NEVER
    assert {cidr: use.mails for cidr, use in uses.by_network().items()} == {"10.0.0.0/8": 1}


def test_a_use_goes_with_its_account_and_one_of_a_token_that_is_gone_is_not_kept() -> None:
    bob = make_bob()
    token_id = token_of(bob.id)
    note(visit(Who(token_id=token_id), "a" * 32))
    make_alice(is_admin=True)
    administration.delete(bob.id)
    note(visit(Who(token_id=token_id), "b" * 32), visit(Who(account_id=bob.id)))
    assert uses.by_token([token_id]) == {token_id: NEVER}


def test_what_a_client_calls_itself_is_kept_as_one_printable_line() -> None:
    token_id = token_of(make_alice().id)
    note(Visit(who=Who(token_id=token_id), address="192.0.2.7", ehlo="a\r\n\u202eb" + "x" * 300))
    ehlo = uses.by_token([token_id])[token_id].ehlo
    assert ehlo.startswith("a")
    assert ehlo.isprintable()
    assert len(ehlo) == 255


def test_a_gateway_runs_while_it_gives_signs_of_life_and_until_it_ends(app: Flask, now: Now) -> None:
    assert presence.running() == []
    start = now.moment
    presence.beat("p1", start, ("127.0.0.1:2525", "smtps://0.0.0.0:465"))
    presence.beat("p2", start, ("127.0.0.1:2526",), "The new certificate cannot be used.")
    first, second = presence.running()
    assert first.addresses == ("127.0.0.1:2525", "smtps://0.0.0.0:465")
    assert second.trouble == "The new certificate cannot be used."
    presence.leave("p2")
    assert [each.process_id for each in presence.running()] == ["p1"]
    now.turn(120)
    assert presence.running() == []
    assert [each.is_running for each in presence.every()] == [False]
    now.turn(2 * 86400)
    presence.beat("p3", start, ())
    assert [each.process_id for each in presence.every()] == ["p3"]

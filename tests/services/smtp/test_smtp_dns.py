"""The names of mail servers against a real name server: its answers, its failures, and what changes meanwhile."""

from typing import Any

import pytest

from services.smtp import dial
from services.smtp.client import Step
from services.smtp.dialogue import SideLook
from services.smtp.habits import Habit, habits_of
from services.smtp.wire import Deadline
from tests.dns_server import DnsServer, Fails, Turns
from tests.patience import PATIENCE
from tests.scripted_server import ScriptedServer
from tests.smtp_clients import client_for, policy
from utils.addresses import ip_literal
from utils.errors import DeliveryError, Fault, Phase

HOST = "mail.test"
Records = list[str] | Fails | Turns


def zone(a: Records | None = None, aaaa: Records | None = None) -> dict[tuple[str, str], Records]:
    """What the name server knows of HOST; nothing at all makes it a name that does not exist."""
    return {(HOST, kind): records for kind, records in (("A", a), ("AAAA", aaaa)) if records is not None}


def opened(server: ScriptedServer, known: dict[tuple[str, str], Records], **rules: Any) -> list[Step]:
    """The steps of connecting to HOST at the server's port, by a name server that knows only ``known``."""
    steps: list[Step] = []
    with DnsServer(known) as dns:
        limits = policy(dns_resolver=dns.address, **rules)
        with client_for(server, steps.append, rules=limits, host=HOST):
            pass
    return steps


@pytest.mark.parametrize(
    ("known", "fault"),
    [
        (zone(), Fault.DNS_NOT_FOUND),
        (zone(a=[], aaaa=[]), Fault.DNS_NOT_FOUND),
        (zone(a=Fails.SERVFAIL, aaaa=Fails.SERVFAIL), Fault.DNS_FAILED),
        (zone(a=Fails.REFUSED, aaaa=[]), Fault.DNS_FAILED),
        (zone(a=Fails.SILENCE, aaaa=Fails.SILENCE), Fault.DNS_FAILED),
        (zone(a=Fails.GARBAGE, aaaa=Fails.GARBAGE), Fault.DNS_FAILED),
        (zone(a=["169.254.169.254"]), Fault.ADDRESS_REFUSED),
        (zone(a=["169.254.169.254"], aaaa=["fe80::1"]), Fault.ADDRESS_REFUSED),
        (zone(a=["0.0.0.0", "224.0.0.1"], aaaa=["::ffff:169.254.169.254", "::"]), Fault.ADDRESS_REFUSED),
    ],
)
def test_each_failure_of_a_look_up_has_its_name(known: dict[tuple[str, str], Records], fault: Fault) -> None:
    with ScriptedServer() as server:
        with pytest.raises(DeliveryError) as caught:
            opened(server, known, total_seconds=0.3)
        assert server.connections == []
    assert (caught.value.phase, caught.value.fault) == (Phase.DNS, fault)


def test_a_dead_ipv6_address_does_not_hide_the_ipv4_one() -> None:
    with ScriptedServer() as server:
        steps = opened(server, zone(a=["127.0.0.1"], aaaa=["::1"]))
    assert [(step.status, step.fact) for step in steps if step.name in (SideLook.ADDRESS, Phase.CONNECT)] == [
        ("warning", f"::1, port {server.port}, refused the connection"),
        ("ok", f"{HOST} (127.0.0.1), port {server.port}"),
    ]


@pytest.mark.parametrize("half", [Fails.SERVFAIL, Fails.SILENCE])
def test_a_name_server_that_fails_for_one_kind_does_not_hide_the_other(half: Fails) -> None:
    with ScriptedServer() as server:
        steps = opened(server, zone(a=["127.0.0.1"], aaaa=half), total_seconds=0.5)
    assert steps[0].fact == f"{HOST}: 127.0.0.1"


def test_a_name_that_changes_meanwhile_is_dialled_as_it_was_judged() -> None:
    turns = Turns(["127.0.0.1"], ["169.254.169.254"])
    with ScriptedServer() as server:
        steps = opened(server, zone(a=turns, aaaa=[]))
    assert steps[0].fact == f"{HOST}: 127.0.0.1"
    assert turns.next() == ["169.254.169.254"]
    assert len(server.connections) == 1


@pytest.mark.parametrize("every_address", [False, True])
@pytest.mark.parametrize(
    "forbidden",
    [
        "fe80::1", "ff02::1", "::", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "fd00:ec2::254",
        "0.0.0.0", "0.1.2.3", "169.254.169.254", "169.254.1.1", "224.0.0.1", "255.255.255.255", "100.100.100.200",
    ],
)  # fmt: skip
def test_a_forbidden_address_among_good_ones_is_left_out_and_never_dialled(forbidden: str, every_address: bool) -> None:
    known = zone(a=["127.0.0.1"], aaaa=[forbidden]) if ":" in forbidden else zone(a=[forbidden, "127.0.0.1"], aaaa=[])
    with ScriptedServer() as server:
        steps = opened(server, known, every_address=every_address)
        assert len(server.connections) == 1
    (found,) = (step for step in steps if step.name is Phase.DNS)
    (left_out,) = (step for step in steps if step.name is SideLook.ADDRESS)
    assert (found.status, found.fact) == ("ok", f"{HOST}: 127.0.0.1")
    assert left_out.status == "warning"
    assert left_out.fact.startswith(f"{ip_literal(forbidden)} is ")
    connects = [(step.status, step.fact) for step in steps if step.name is Phase.CONNECT]
    assert connects == [("ok", f"{HOST} (127.0.0.1), port {server.port}")]


def test_an_address_that_answered_once_is_not_dialled_when_the_name_has_it_no_more() -> None:
    with ScriptedServer() as server, ScriptedServer(host="127.0.0.9", port=server.port) as former:
        habits_of(HOST, server.port).learn(Habit.ADDRESS, "127.0.0.9")
        opened(server, zone(a=["127.0.0.1"], aaaa=["fe80::1"]))
        assert former.connections == []


def test_a_name_that_leads_to_a_forbidden_address_first_is_not_asked_for_again() -> None:
    with ScriptedServer() as server:
        with pytest.raises(DeliveryError) as caught:
            opened(server, zone(a=Turns(["169.254.169.254"], ["127.0.0.1"]), aaaa=[]))
        assert server.connections == []
    assert caught.value.fault is Fault.ADDRESS_REFUSED


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1"])
def test_what_is_no_name_of_the_dns_is_not_asked_for(host: str) -> None:
    with DnsServer({}) as dns:
        found, _ = dial.look_up(host, Deadline(PATIENCE), dns.address)
        assert found
        assert dns.questions == []

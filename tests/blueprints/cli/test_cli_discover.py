"""`flask smtp discover`: the words and the exit code, and the same as the API says."""

import json
from collections.abc import Iterator

import pytest
from click.testing import Result
from flask import Flask

from blueprints.cli.frame import DONE, NOT_WELL, REFUSED
from tests.dns_server import DnsServer
from tests.visitors import Visitor

DISCOVER = "/api/settings/smtp/discover"


@pytest.fixture(scope="module")
def dns() -> Iterator[DnsServer]:
    zone = {
        ("firm.example", "MX"): ["1 aspmx.l.google.com."],
        ("_submissions._tcp.own.example", "SRV"): ["0 0 465 mail.own.example."],
        ("_submissions._tcp.foreign.example", "SRV"): ["0 0 465 mail.own.example."],
        ("mail.own.example", "A"): ["198.41.0.4"],
        ("_submissions._tcp.none.example", "SRV"): ["0 0 0 ."],
        ("_submission._tcp.none.example", "SRV"): ["0 0 0 ."],
    }
    with DnsServer(zone) as server:
        yield server


@pytest.fixture
def environment(environment: dict[str, str], dns: DnsServer) -> dict[str, str]:
    return {**environment, "DNS_RESOLVER": dns.address}


def run(app: Flask, *words: str) -> Result:
    return app.test_cli_runner().invoke(args=["smtp", "discover", *words])


def test_a_person_reads_what_was_found_and_where(app: Flask) -> None:
    told = run(app, "me@own.example")
    assert told.exit_code == DONE
    assert told.stdout == (
        "own.example names mail.own.example, port 465 (TLS), as its server.\n"
        "  Server        mail.own.example\n"
        "  Port          465\n"
        "  Encryption    TLS\n"
        "  User name     me@own.example\n"
        "  From address  me@own.example\n"
        "Source: the domain’s SRV records in DNS.\n"
    )


def test_what_is_known_to_stand_in_the_way_is_told(app: Flask) -> None:
    told = run(app, "me@hotmail.com")
    assert "no longer accept passwords over SMTP" in told.stdout
    assert "The provider’s own guide: https://" in told.stdout


def test_where_nothing_is_found_it_says_so_by_its_exit_code(app: Flask) -> None:
    told = run(app, "me@none.example")
    assert told.exit_code == NOT_WELL
    assert told.stdout == "none.example says in its DNS that it has no server to send email through.\n"


@pytest.mark.parametrize("text", ["nobody", "a@b@c.example", "10.0.0.1"])
def test_what_is_no_address_is_refused_in_one_line(app: Flask, text: str) -> None:
    told = run(app, text)
    assert (told.exit_code, told.stdout) == (REFUSED, "")
    assert len(told.stderr.splitlines()) == 1


def test_command_api_and_form_say_the_same(app: Flask, admin: Visitor) -> None:
    for text in (
        "me@gmail.com",
        "me@firm.example",
        "me@own.example",
        "me@foreign.example",
        "me@none.example",
        "SendGrid",
    ):
        told = json.loads(run(app, text, "--json").stdout)
        answer = admin.get(DISCOVER, query_string={"email": text})
        assert answer.json
        assert told == answer.json["data"], text
        page = admin.get("/settings/smtp/new", query_string={"find": text})
        for words in (told["message"], told["origin"]):
            assert words in page.text, text

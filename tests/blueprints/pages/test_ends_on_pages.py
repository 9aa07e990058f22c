"""What will end, on the list of servers, on a server's page, on an account's own page, and at the command line."""

import html
import re
from datetime import date, timedelta

import pytest
from flask import Flask

from services.oauth.providers import Grant, OAuthProvider
from services.oauth.registration import Registration
from services.settings import configs
from services.settings.fields import parse_change
from services.settings.sealing import StoredConfig
from tests import own_servers
from tests.certificates import client_pair
from tests.server_form import LIST
from tests.signed_in_by_token import register
from tests.visitors import Visitor, make_bob, visit
from utils import clock
from utils.secret import Secret


def today() -> date:
    return clock.now().date()


def with_secret(config_id: int, days: int) -> None:
    """A client secret that ends in so many days."""
    register(
        config_id,
        Registration(
            provider=OAuthProvider.CUSTOM,
            way=Grant.CLIENT_CREDENTIALS,
            token_url="https://id.example/token",
            scope="mail",
            client_id="sealpost",
            client_secret=Secret("s3cret canary"),
            secret_ends_on=today() + timedelta(days=days),
        ),
    )


def server(name: str, days: int, *, is_active: bool = False) -> StoredConfig:
    change = {"name": name, "smtp_server": "smtp.example.com", "from_email": "a@example.com", "is_active": is_active}
    stored = configs.create(parse_change(change))
    with_secret(stored.id, days)
    return stored


def ends(page: str) -> list[str]:
    """The lines of the panel, in words."""
    found = re.search(r'<section class="panel ends".*?</section>', page, re.S)
    lines = re.findall(r"<li>(.*?)</li>", found[0], re.S) if found else []
    return [" ".join(html.unescape(re.sub(r"<[^>]*>", " ", line)).split()) for line in lines]


def test_the_list_has_what_ends_of_all_servers_in_order(app: Flask, admin: Visitor) -> None:
    server("Backup <b>", 45)
    server("Primary", 6, is_active=True)
    server("Old", -3)
    page = admin.get(LIST).text
    soon = today() + timedelta(days=6)
    assert [line.split(" The ")[0] for line in ends(page)] == [
        "Ended Old",
        "In 6 days Primary",
        "In 45 days Backup <b>",
    ]
    assert f"The client secret expires on {soon} UTC. Create a new one at the provider" in ends(page)[1]
    assert "Later" in page
    assert "canary" not in page
    assert ends(admin.get(f"{LIST}?q=Primary").text) == []  # the question was another


def test_each_line_leads_to_where_it_is_mended(app: Flask, admin: Visitor) -> None:
    stored = server("Primary", 6, is_active=True)
    own = client_pair(days=9)
    change = {"client_certificate": own.certificate, "client_key": own.key, "use_tls": True}
    configs.update(stored.id, parse_change(change))
    panel = admin.get(LIST).text.partition("What will end")[2].partition("</section>")[0]
    links = [link.partition("?")[0] for link in re.findall(r'class="touch-link" href="([^"]+)"', panel)]
    assert links == [f"{LIST}/{stored.id}/connect", f"{LIST}/{stored.id}"]
    assert {admin.get(link).status_code for link in links} == {200}


@pytest.mark.parametrize(("days", "when"), [(45, "In 45 days"), (1, "In 1 day"), (0, "Today"), (-1, "Ended")])
def test_a_servers_own_page_says_when(app: Flask, admin: Visitor, days: int, when: str) -> None:
    stored = server("Primary", days)
    page = admin.get(f"{LIST}/{stored.id}").text
    assert [line.partition(" The ")[0] for line in ends(page)] == [when]
    assert ("Nothing within 30 days." in page) is (days == 45)


def test_where_nothing_ends_nothing_is_said(app: Flask, admin: Visitor) -> None:
    configs.create(parse_change({"name": "A", "smtp_server": "smtp.example.com", "from_email": "a@example.com"}))
    for path in (LIST, f"{LIST}/1", f"{LIST}/new"):
        assert "What will end" not in admin.get(path).text


def test_an_account_sees_what_ends_of_its_own_server_and_of_no_other(app: Flask) -> None:
    server("Primary", 5, is_active=True)
    bob = make_bob()
    visitor = visit(app)
    visitor.sign_in("bob")
    assert ends(visitor.get("/account/smtp").text) == []
    with_secret(own_servers.bring(bob.id, "192.0.2.7", own_servers.PORT), 9)
    assert [line.partition(" The ")[0] for line in ends(visitor.get("/account/smtp").text)] == ["In 9 days"]


def test_the_command_line_says_what_ends_and_when(app: Flask) -> None:
    server("Primary", 6, is_active=True)
    soon = today() + timedelta(days=6)
    run = app.test_cli_runner().invoke
    assert f"{soon}: client secret" in run(args=["smtp", "list"]).output
    assert f"In 6 days. The client secret expires on {soon} UTC." in run(args=["smtp", "show", "Primary"]).output
    assert f'"ends_on": "{soon}"' in run(args=["smtp", "show", "Primary", "--json"]).output

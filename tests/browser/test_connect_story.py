"""A password that Microsoft refuses, a guided connection, a token that dies, and a second sign-in that lets mail go."""

import contextlib
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import pytest
from playwright.sync_api import Page, expect

from tests import certificates, oauth_faults
from tests.bearer_server import BearerSide
from tests.browser.conftest import NewPage, StartServer
from tests.browser.steps import (
    expect_heading,
    expect_outcome,
    fill,
    follow,
    press,
    report,
    row,
    save,
    scripted,
    sign_in,
    state,
)
from tests.dns_server import DnsServer, Zone
from tests.loopback import free_port
from tests.oauth_provider import OAuthProviderServer, RegisteredClient
from tests.patience import PATIENCE
from tests.sasl_answers import say
from tests.scripted_server import Answer, Connection, ScriptedServer
from tests.signed_in_by_token import GoodTokens

HOST: Final = "smtp.office365.com"
ZONE: Final[Zone] = {(HOST, "A"): ["127.0.0.1"]}
MAILBOX: Final = "shop@contoso.example"
PASSWORD: Final = "An app p4ssword"
CLIENT: Final = "11111111-2222-4333-8444-555555555555"
TENANT: Final = "01234567-89ab-cdef-0123-456789abcdef"
SECRET: Final = "abc8Q~value-of-the-secret_0123456789"
BASIC_IS_OFF: Final = "535 5.7.139 Authentication unsuccessful, basic authentication is disabled. [AM0PR05CA0074]"


class MicrosoftSide(BearerSide):
    """Takes tokens, and no password."""

    def __call__(self, connection: Connection) -> None:
        if connection.command.split(" ")[1] in ("PLAIN", "LOGIN"):
            say(connection, BASIC_IS_OFF)
        else:
            super().__call__(connection)


@dataclass
class World:
    """Microsoft as it is for one installation."""

    provider: OAuthProviderServer
    mail: ScriptedServer
    url: str


@pytest.fixture
def world(start_server: StartServer) -> Iterator[World]:
    with OAuthProviderServer(certificates.good_context("localhost")) as provider, DnsServer(ZONE) as dns:
        provider.mailbox = MAILBOX
        side = MicrosoftSide(GoodTokens(provider), "microsoft")
        offers = "250-AM0.outlook.example\n250-8BITMIME\n250 AUTH LOGIN XOAUTH2"
        script: dict[str, Answer | list[Answer]] = {"EHLO": offers, "AUTH": side}
        with ScriptedServer(script, tls=certificates.good_context(HOST), implicit=True) as mail:
            port = free_port()
            url = f"http://localhost:{port}"  # the only one without https that Microsoft sends browsers back to
            start_server(
                with_accounts=True,
                PORT=str(port),
                BASE_URL=url,
                DNS_RESOLVER=dns.address,
                SMTP_CA_FILE=str(certificates.ca_file()),
            )
            provider.clients[CLIENT] = RegisteredClient((f"{url}/oauth/callback",), secret=SECRET)
            yield World(provider, mail, url)


def add_server(page: Page, world: World) -> None:
    page.goto("/settings/smtp/new")
    scripted(page.get_by_role("radio", name="TLS", exact=True)).check()
    values = {"Name": "Microsoft", "Server": HOST, "Port": str(world.mail.port), "User name": MAILBOX}
    fill(page, values | {"Password": PASSWORD, "From address": MAILBOX})
    scripted(page.get_by_label("Active", exact=True)).check()
    save(page)


def register(page: Page, world: World) -> None:
    page.get_by_text("Another cloud or scope").click()
    fill(page, {"Authority": world.provider.url})
    fill(page, {"Application (client) ID": CLIENT, "Directory (tenant) ID": TENANT, "Client secret": SECRET})


def agree(page: Page) -> None:
    page.get_by_role("button", name="Allow").click()


@pytest.mark.parametrize("with_script", [True, False], ids=["with JavaScript", "without JavaScript"])
def test_from_a_refused_password_to_a_connection_and_back_after_its_end(
    world: World, new_page: NewPage, with_script: bool
) -> None:
    page = new_page(world.url, leads_to=world.provider.url, java_script_enabled=with_script, ignore_https_errors=True)
    sign_in(page)
    add_server(page, world)
    follow(page, "Microsoft")
    press(page, "Test Connection")
    report(page).get_by_role("link", name="Connect with Microsoft").click()
    register(page, world)
    press(page, "Connect with Microsoft")
    agree(page)
    expect(page.get_by_text(f"Connected as {MAILBOX}").first).to_be_visible()
    finish(page, with_script=with_script)
    page.goto("/settings/smtp")
    expect(row(page, "Microsoft")).to_contain_text("Active")
    follow(page, "Microsoft")
    press(page, "Send test email")
    expect_outcome(page, "Test email accepted")
    world.provider.end_grants()
    world.provider.next("token", oauth_faults.aadsts(50173))
    hang_up(world)
    ask_for_a_link(new_page(world.url))
    look_until(page, "sign-in again")
    page.get_by_role("link", name="Connect again").first.click()
    connection = page.get_by_role("region", name="State of the connection")
    expect(connection).to_contain_text("Needs sign-in again")
    expect(connection).to_contain_text("password")
    scripted(connection.get_by_role("button", name="Connect again")).click()
    agree(page)
    finish(page, with_script=with_script)
    received(world, "bob@example.com")
    page.goto("/settings/smtp")
    expect(state(page)).not_to_contain_text("sign-in again")


def look_until(page: Page, words: str) -> None:
    """Look at the list until it says so of where mail goes: a worker has to meet the server first."""
    end = time.monotonic() + PATIENCE
    page.goto("/settings/smtp")
    while words not in (state(page).text_content() or ""):
        assert time.monotonic() < end, f"nothing was told of {words}"
        page.wait_for_timeout(200)
        page.reload()


def hang_up(world: World) -> None:
    """End the connections that are kept open: those outlive their token."""
    for connection in world.mail.connections:
        with contextlib.suppress(OSError):
            connection.sock.shutdown(socket.SHUT_RDWR)


def received(world: World, recipient: str) -> None:
    """Wait until the mail server has an email to this recipient."""
    end = time.monotonic() + PATIENCE
    while not any(f"To: {recipient}".encode() in message for message in world.mail.messages):
        assert time.monotonic() < end, "no such email came"
        world.mail.stopping.wait(0.05)


def finish(page: Page, *, with_script: bool) -> None:
    """The sign-in by token is tested, by itself where there is script, and then it serves."""
    if not with_script:
        press(page, "Check again")
    expect(page.get_by_text("The sign-in by token works.")).to_be_visible()


def ask_for_a_link(page: Page) -> None:
    page.goto("/forgot-password")
    fill(page, {"Email": "bob@example.com"})
    press(page, "Send the link")
    expect_heading(page, "Check your inbox")

"""A chapter of the secret story: a server is connected by token, with all mistakes made, and what was granted ends."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qs, urlencode, urlsplit

from cryptography.hazmat.primitives.asymmetric import rsa

from tests import certificates, oauth_faults
from tests.faults.token_sink import TokenSink
from tests.live_server import Answer, Browser
from tests.oauth_provider import USER_CODE, OAuthProviderServer, RegisteredClient
from tests.secret_canaries import (
    ACCESS_TOKEN,
    ANOTHER_CLIENT_SECRET,
    AUTHORIZATION_CODE,
    CLIENT_SECRET,
    DEVICE_CODE,
    REFRESH_TOKEN,
)
from tests.secret_story_ways import BEARER, CONFIGS, STREAM, CommandLine, as_bytes
from tests.services.oauth.signing_in import pressed

MAILBOX: Final = "shop@example.com"
CALLBACK: Final = "/oauth/callback"
NAME: Final = "By token"
MARKS: Final = {"access": ACCESS_TOKEN, "refresh": REFRESH_TOKEN, "code": AUTHORIZATION_CODE, "device": DEVICE_CODE}
SECRETS: Final = {
    "access token": {ACCESS_TOKEN},
    "refresh token": {REFRESH_TOKEN},
    "authorization code": {AUTHORIZATION_CODE},
    "device code": {DEVICE_CODE},
    "client secret": {CLIENT_SECRET, ANOTHER_CLIENT_SECRET},
}
_JSON: Final = BEARER | {"Content-Type": "application/json"}

Leaked = Callable[[str, str], None]  # takes a secret by its name


@dataclass
class Connecting:
    """What the steps of the chapter share."""

    admin: Browser
    script: Browser
    stranger: Browser
    line: CommandLine
    provider: OAuthProviderServer
    sink: TokenSink
    config_id: int = 0
    csrf_token: str = ""

    @property
    def page(self) -> str:
        return f"/settings/smtp/{self.config_id}/connect"

    def post(self, what: str = "", **fields: str) -> Answer:
        """Press one of the page's buttons."""
        self.csrf_token = self.csrf_token or self.admin.csrf_token(self.page)
        return self.admin.post(f"{self.page}{what}", fields | {"csrf_token": self.csrf_token})

    def registered(self, **other: str) -> dict[str, str]:
        """What is typed into the form."""
        url = self.provider.url
        fields = {"provider": "custom", "way": "code", "client_id": "sealpost", "client_secret": CLIENT_SECRET}
        fields |= {"authorize_url": f"{url}/authorize", "token_url": f"{url}/token", "issuer": url}
        fields |= {"device_url": f"{url}/devicecode", "revoke_url": f"{url}/revoke", "scope": "mail openid"}
        return fields | other


def connect(
    admin: Browser,
    script: Browser,
    stranger: Browser,
    line: CommandLine,
    *,
    sources: Iterator[str],
    leaked: Leaked,
) -> str:
    """The whole chapter, and the page that it is about; all that the provider knows is among the secrets afterwards."""
    with (
        OAuthProviderServer(certificates.good_context("localhost")) as provider,
        TokenSink(certificates.good_context(), provider.mailbox_of) as sink,
    ):
        provider.mailbox = MAILBOX
        told = Connecting(admin, script, stranger, line, provider, sink)
        _store(told)
        provider.marks = MARKS  # so that one canary finds all of a kind
        steps = (_register, _come_back_wrongly, _come_back, _send, _type_a_code, _use_the_api, _use_a_command, _lose_it)
        for step in steps:
            admin.come_from(next(sources))  # an administrator who tries so much at once would be asked to wait
            step(told)
        _register_keys(told, leaked)
        assert (
            script.send("POST", f"{CONFIGS}/1/activate", headers=BEARER).status == 200
        )  # with which the story goes on
        for name, field in (("OAuth state", "state"), ("PKCE verifier", "code_verifier")):
            values = provider.sent(field)  # to search for all takes its time
            for value in (values[0], *values[-2:]):  # of the page, the API and the command
                leaked(name, value)
        return told.page


def _store(told: Connecting) -> None:
    server = {"name": NAME, "smtp_server": "localhost", "smtp_port": told.sink.port, "use_ssl": True, "use_tls": False}
    server |= {"smtp_username": MAILBOX, "auth_method": "XOAUTH2", "from_email": MAILBOX}
    created = told.script.post_json(CONFIGS, as_bytes(server), **BEARER)
    assert created.status == 201, created.text
    told.config_id = json.loads(created.body)["data"]["id"]


def _register(told: Connecting) -> None:
    """Wrongly in several ways, then rightly, and look at it."""
    wrong = {"client_secret": ANOTHER_CLIENT_SECRET}
    for more in ({"token_url": "http://evil.example/"}, {"provider": "none"}, {"scope": "ä"}, {"client_id": ""}):
        assert told.post("", **told.registered(**wrong, **more)).status == 422
    assert told.post("", **told.registered()).status == 303
    assert told.post("", **told.registered(), version="another").status == 422
    assert "sealpost" in told.admin.get(told.page).text


def _begun(told: Connecting) -> str:
    """The provider's page that the browser is sent to."""
    answer = told.post("/start")
    assert answer.status == 303
    assert answer.location.startswith(told.provider.url), answer.location
    uri = parse_qs(urlsplit(answer.location).query)["redirect_uri"][0]
    told.provider.clients["sealpost"] = RegisteredClient((uri,), secret=CLIENT_SECRET)
    return answer.location


def _answered(url: str, decision: str = "grant") -> dict[str, str]:
    """What the browser comes back with."""
    return {name: values[0] for name, values in pressed(url, decision).items()}


def _callback(browser: Browser, answer: dict[str, str]) -> None:
    assert browser.get(f"{CALLBACK}?{urlencode(answer)}").status == 303


def _come_back_wrongly(told: Connecting) -> None:
    good = _answered(_begun(told))
    for wrong in ({"code": good["code"]}, good | {"state": good["code"]}, {}, {"error": good["code"]}):
        _callback(told.admin, wrong)
    _callback(told.stranger, good)  # who is not signed in
    told.provider.next("token", oauth_faults.error("invalid_grant", f"Malformed {good['code']} {CLIENT_SECRET}"))
    _callback(told.admin, good)
    _callback(told.admin, good)  # twice
    _callback(told.admin, _answered(_begun(told), "deny"))
    mix_up = _answered(_begun(told)) | {"iss": "https://evil.example"}
    _callback(told.admin, mix_up)
    for fault in (oauth_faults.megabyte(), oauth_faults.redirect("https://evil.example/")):
        told.provider.next("token", fault)
        _callback(told.admin, _answered(_begun(told)))
    assert "Connected as" not in told.admin.get(told.page).text


def _come_back(told: Connecting) -> None:
    """Once by the callback, once by pasting the address."""
    _callback(told.admin, _answered(_begun(told)))
    answer = _answered(_begun(told))
    pasted = told.post("/paste", pasted_code=f"http://localhost:47925{CALLBACK}?{urlencode(answer)}")
    assert pasted.status == 303
    assert "Connected as" in told.admin.get(told.page).text
    again = told.post("/paste", pasted_code=f"http://localhost:47925{CALLBACK}?{urlencode(answer)}")
    assert again.status == 303


def _test(told: Connecting, accept: str = STREAM) -> str:
    fields = {"csrf_token": told.csrf_token}
    return told.admin.post(f"{told.page}/check", fields, Accept=accept).text


def _send(told: Connecting) -> None:
    """Test it, let it serve, and send through it."""
    one = f"{CONFIGS}/{told.config_id}"
    assert '"ok":true' in _test(told).replace(" ", "")
    _test(told, "text/html")
    assert told.script.send("POST", f"{one}/activate", headers=BEARER).status == 200
    assert told.script.post_json(f"{one}/test", as_bytes({"to": MAILBOX}), **BEARER, Accept=STREAM).status == 200
    assert told.script.get(one, **BEARER).status == 200


def _type_a_code(told: Connecting) -> None:
    """The other way: a code that is typed at the provider's page."""
    assert told.post("", **told.registered(way="device")).status == 303
    assert told.post("/code").status == 303
    assert USER_CODE in told.admin.get(told.page).text
    assert told.post("/code/state").status == 303
    assert told.post("", **told.registered()).status == 303
    _callback(told.admin, _answered(_begun(told)))


def _use_the_api(told: Connecting) -> None:
    """The same by the API, with secrets where none belongs."""
    script, oauth = told.script, f"{CONFIGS}/{told.config_id}/oauth"

    def ask(what: str, body: Any = None) -> Any:
        answer = script.post_json(f"{oauth}/{what}", b"" if body is None else as_bytes(body), **BEARER)
        return answer.status, json.loads(answer.body)

    fields = ("client_id", "tenant", "token_url", "scope", "provider", "client_certificate", "secret_ends_on", "other")
    wrong: list[Any] = [{field: [ANOTHER_CLIENT_SECRET]} for field in ("client_secret", *fields)]
    wrong += [{field: f"{ANOTHER_CLIENT_SECRET} \x00"} for field in fields]
    wrong += [{"service_account": f'{{"type": "{ANOTHER_CLIENT_SECRET}"}}'}, {"client_key": ANOTHER_CLIENT_SECRET}]
    for body in wrong:
        assert script.send("PUT", oauth, as_bytes(body), _JSON).status == 422, body
    assert script.send("PUT", oauth, as_bytes({"client_secret": CLIENT_SECRET}), _JSON).status == 200
    assert script.get(oauth, **BEARER).status == 200
    url = ask("authorize")[1]["data"]["url"]
    uri = parse_qs(urlsplit(url).query)["redirect_uri"][0]
    told.provider.clients["sealpost"] = RegisteredClient((uri,), secret=CLIENT_SECRET)
    answer = urlencode(_answered(url))
    for address in (answer, f"{uri}?{answer}&{answer}", f"{uri}?error={answer}"):
        assert ask("finish", {"address": address})[0] == 422
    assert ask("finish", {"address": f"{uri}?{answer}"})[0] == 422  # its sign-in was given up with the first of those
    url = ask("authorize")[1]["data"]["url"]
    status, done = ask("finish", {"address": f"{uri}?{urlencode(_answered(url))}"})
    assert (status, done["data"]["state"]) == (200, "connected")
    assert ask("check")[0] == 200


def _use_a_command(told: Connecting) -> None:
    """The same from a terminal."""

    def signed_in(said: str) -> str:
        url = next(line for line in said.splitlines() if line.startswith(told.provider.url))
        uri = parse_qs(urlsplit(url).query)["redirect_uri"][0]
        return f"{uri}?{urlencode(_answered(url))}"

    told.line.answer("Address: ", signed_in, "smtp", "connect", NAME, "--json")


def _lose_it(told: Connecting) -> None:
    """The provider takes everything back, and says in every way what it knows of it."""
    provider, one = told.provider, f"{CONFIGS}/{told.config_id}"
    everything = " ".join((*MARKS.values(), *provider.sent("code_verifier"), CLIENT_SECRET))
    provider.end_tokens()
    told.sink.hang_up()
    provider.next("token", oauth_faults.error("invalid_grant", everything, error_uri=everything))
    assert '"ok":false' in _test(told).replace(" ", "")
    told.script.send("POST", f"{one}/test", headers=BEARER)
    provider.end_grants()
    for page in (told.page, "/settings/smtp", f"/settings/smtp/{told.config_id}", "/settings/audit", "/readyz"):
        told.admin.get(page)


def _register_keys(told: Connecting, leaked: Leaked) -> None:
    """A certificate's key and a service account's key, refused and taken."""
    for kind in ("private key", "service-account key"):
        pair = certificates.client_pair(key=rsa.generate_private_key(65537, 2048))
        leaked(kind, pair.key.splitlines()[5])
        if kind == "private key":
            fields: dict[str, Any] = {"client_certificate": pair.certificate, "client_key": pair.key}
            fields |= {"way": "client_credentials", "client_secret": ""}
        else:
            file = {"type": "service_account", "client_email": "robot@project.example", "private_key": pair.key}
            fields = {"way": "service_account", "service_account": json.dumps(file), "client_secret": ""}
        told.post("", **told.registered(**fields, token_url="http://evil.example/"))
        told.post("", **told.registered(**fields))
        told.provider.next("token", oauth_faults.error("invalid_client", pair.key))
        told.post("/start")
        told.admin.get(told.page)

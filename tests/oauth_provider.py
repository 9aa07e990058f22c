"""A provider of tokens for the tests, over real HTTP: people sign in on its pages, programs get tokens from it.

Every path works below any other, so ``/tenant/oauth2/v2.0/token`` is ``/token``. What it should not do is put in
``script`` (tests/oauth_faults.py).
"""

import base64
import hashlib
import html
import json
import secrets
import socket
import ssl
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Self
from urllib.parse import parse_qs, urlencode, urlsplit

from tests import oauth_faults, signed_texts
from tests.loopback import free_port
from tests.oauth_faults import Answer, Dropped, Edited, Held
from tests.patience import PATIENCE

SKEW: Final = 60  # seconds that its clock takes a signed text to be off
USER_CODE: Final = "WDJB-MJHT"


class Refused(Exception):
    """An error of the token endpoint."""

    def __init__(self, error: str, description: str = "", status: int = 400) -> None:
        super().__init__(error)
        self.answer = oauth_faults.error(error, description, status)


@dataclass
class RegisteredClient:
    """An application. Without secret and certificate it is a public one; ``delegates`` are a service account's."""

    redirect_uris: tuple[str, ...] = ()
    secret: str = ""
    certificate: str = ""  # PEM; of a service account, too
    delegates: frozenset[str] = frozenset()  # mailboxes that it may get tokens for


@dataclass
class _Code:
    client_id: str
    form: dict[str, str]
    mailbox: str


@dataclass
class _Grant:
    """What someone has granted: ``refresh`` is the token that is good, those in ``spent`` were."""

    client_id: str
    mailbox: str
    scope: str
    refresh: str = ""
    spent: set[str] = field(default_factory=set)
    is_revoked: bool = False


@dataclass
class _Access:
    mailbox: str
    scope: str
    ends: float
    grant: _Grant | None = None


class OAuthProviderServer:
    """``with OAuthProviderServer(context) as provider:`` serves at ``provider.url``, over TLS if there is a context.

    ``rotates``: a refresh token is good once, and one that comes twice ends the grant, with all of its tokens (RFC 9700
    4.14.2), unless it is not ``is_strict``, as with Microsoft; otherwise it may be used again, as with Google.
    ``gives_refresh``: whether there is one at all. ``counts`` has how many tokens were given in each way.
    """

    def __init__(self, context: ssl.SSLContext | None = None, *, rotates: bool = True) -> None:
        self.clients: dict[str, RegisteredClient] = {}
        self.mailbox = "shop@example.com"  # of who is signed in at its pages
        self.life = 3600
        self.rotates = rotates
        self.is_strict = True
        self.gives_refresh = True
        self.token_octets = 32  # of an access token, before they are written in Base64
        self.marks: dict[str, str] = {}  # what an access, refresh, code or device begins with, instead of that word
        self.identity: dict[str, Any] = {}  # claims of id tokens, beside the usual ones
        self.clock_ahead = 0.0  # seconds
        self.clock: Callable[[], float] = time.time
        self.script: dict[str, deque[oauth_faults.Fault]] = defaultdict(deque)  # by the last part of a path
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.counts: Counter[str] = Counter()
        self.port = free_port()
        self._context = context
        self._lock = threading.RLock()
        self._codes: dict[str, _Code] = {}
        self._grants: list[_Grant] = []
        self._access: dict[str, _Access] = {}
        self._devices: dict[str, dict[str, Any]] = {}
        self._server = _Server(("127.0.0.1", self.port), self)

    @property
    def url(self) -> str:
        """Where it is, without a slash at the end."""
        return f"{'https' if self._context else 'http'}://localhost:{self.port}"

    @property
    def context(self) -> ssl.SSLContext | None:
        return self._context

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), name="oauth-provider", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def next(self, place: str, *faults: oauth_faults.Fault) -> None:
        """Let the next requests of ``token``, ``revoke`` … go wrong, each in its way."""
        self.script[place].extend(faults)

    def mailbox_of(self, access_token: str) -> str:
        """Whose mail may be sent with a token that comes to a mail server; "" if it is good for nothing."""
        with self._lock:
            found = self._access.get(access_token)
            is_good = found and found.ends > self.now() and not (found.grant and found.grant.is_revoked)
            return found.mailbox if found and is_good else ""

    def granted(self, client_id: str, mailbox: str = "", scope: str = "mail") -> dict[str, Any]:
        """The answer that follows once someone has signed in, as if that had just happened."""
        with self._lock:
            return self._granted(client_id, mailbox or self.mailbox, scope, "")

    def sent(self, name: str) -> list[str]:
        """The values that came in a field of this name, the first one first."""
        return list(dict.fromkeys(form[name] for _, form in self.requests if form.get(name)))

    def end_tokens(self) -> None:
        """Let every access token end now."""
        with self._lock:
            for token in self._access.values():
                token.ends = 0

    def end_grants(self) -> None:
        """Do as if everyone had taken back what they granted."""
        with self._lock:
            for grant in self._grants:
                grant.is_revoked = True

    def now(self) -> float:
        """Its clock."""
        return self.clock() + self.clock_ahead

    def signed(self, claims: dict[str, Any]) -> str:
        """An id token."""
        return signed_texts.unsigned(claims)

    def more_pages(self, form: dict[str, str]) -> dict[str, Callable[[], Answer]]:
        """What else can be opened here, by the last part of its path."""
        return {}

    # What its pages and endpoints do; ``form`` has each parameter once.

    def consent_page(self, form: dict[str, str]) -> Answer:
        """The page on which someone grants it, or an error page where it must not send anyone back."""
        client = self.clients.get(form.get("client_id", ""))
        if client is None or form.get("redirect_uri") not in client.redirect_uris:
            return _page("This application or its address is unknown.", 400)
        if form.get("response_type") != "code" or form.get("code_challenge_method") != "S256":
            return _back(form, {"error": "invalid_request"})
        fields = "".join(
            f'<input type="hidden" name="{html.escape(name)}" value="{html.escape(value)}">'
            for name, value in form.items()
        )
        return _page(
            f'<h1>Sign in</h1><p>As {html.escape(self.mailbox)}</p><form method="post">{fields}'
            '<button name="decision" value="grant">Allow</button> '
            '<button name="decision" value="deny">Deny</button></form>'
        )

    def decided(self, form: dict[str, str]) -> Answer:
        """Someone has pressed one of the two buttons."""
        if form.get("decision") != "grant":
            return _back(form, {"error": "access_denied", "error_description": "The user said no."})
        code = self._new("code", 24)
        with self._lock:
            self._codes[code] = _Code(form["client_id"], form, self.mailbox)
        return _back(form, {"code": code})

    def device_begun(self, form: dict[str, str]) -> Answer:
        """RFC 8628 3.2."""
        code = self._new("device", 24)
        with self._lock:
            self._devices[code] = {"state": "pending", "form": form}
        answer = {
            "device_code": code,
            "user_code": USER_CODE,
            "verification_uri": f"{self.url}/device",
            "expires_in": 900,
            "interval": 5,
            "message": f"Open {self.url}/device and enter {USER_CODE}.",
        }
        return oauth_faults.saying(answer)

    def device_page(self) -> Answer:
        """Where someone types the code."""
        return _page(
            '<h1>Enter the code</h1><form method="post"><label>Code <input name="user_code"></label>'
            '<button name="decision" value="grant">Allow</button> '
            '<button name="decision" value="deny">Deny</button></form>'
        )

    def device_decided(self, form: dict[str, str]) -> Answer:
        """Someone has typed it, and pressed one of the buttons."""
        if form.get("user_code") != USER_CODE:
            return _page("This code is wrong.", 400)
        with self._lock:
            for device in self._devices.values():
                device["state"] = "granted" if form.get("decision") == "grant" else "denied"
        return _page("You can close this page.")

    def token(self, form: dict[str, str]) -> Answer:
        """RFC 6749 3.2."""
        ways = {
            "authorization_code": self._by_code,
            "refresh_token": self._by_refresh,
            "client_credentials": self._by_client,
            "urn:ietf:params:oauth:grant-type:jwt-bearer": self._by_assertion,
            "urn:ietf:params:oauth:grant-type:device_code": self._by_device,
        }
        way = ways.get(form.get("grant_type", ""))
        if way is None:
            raise Refused("unsupported_grant_type")
        with self._lock:
            answer = way(form)
            self.counts[form["grant_type"].rpartition(":")[2]] += 1
        return oauth_faults.saying(answer)

    def revoke(self, form: dict[str, str]) -> Answer:
        """RFC 7009: an unknown token is no error."""
        token = form.get("token", "")
        with self._lock:
            for grant in self._grants:
                if token and token in (grant.refresh, *grant.spent):
                    grant.is_revoked = True
                    self.counts["revoked"] += 1
        return Answer(200, b"")

    def _by_code(self, form: dict[str, str]) -> dict[str, Any]:
        client_id = self._authenticated(form)
        code = self._codes.pop(form.get("code", ""), None)  # good once
        if code is None or code.client_id != client_id or form.get("redirect_uri") != code.form.get("redirect_uri"):
            raise Refused("invalid_grant", "Malformed auth code.")
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != code.form.get("code_challenge"):
            raise Refused("invalid_grant", "Invalid code verifier.")
        return self._granted(client_id, code.mailbox, code.form.get("scope", ""), code.form.get("nonce", ""))

    def _by_device(self, form: dict[str, str]) -> dict[str, Any]:
        client_id = self._authenticated(form)
        device = self._devices.get(form.get("device_code", ""))
        if device is None:
            raise Refused("expired_token")
        if device["state"] != "granted":
            raise Refused("authorization_pending" if device["state"] == "pending" else "access_denied")
        del self._devices[form["device_code"]]
        return self._granted(client_id, self.mailbox, device["form"].get("scope", ""), "")

    def _by_refresh(self, form: dict[str, str]) -> dict[str, Any]:
        client_id = self._authenticated(form)
        token = form.get("refresh_token", "")
        grant = next((each for each in self._grants if token and token in (each.refresh, *each.spent)), None)
        if grant is None or grant.is_revoked or grant.client_id != client_id:
            raise Refused("invalid_grant", "Token has been expired or revoked.")
        if token in grant.spent and self.is_strict:
            grant.is_revoked = True  # it was copied: whose it is cannot be known
            raise Refused("invalid_grant", "Token has been expired or revoked.")
        answer = self._access_for(grant.mailbox, grant.scope, grant)
        if self.rotates:
            grant.spent.add(grant.refresh)
            grant.refresh = answer["refresh_token"] = self._new("refresh")
        return answer

    def _by_client(self, form: dict[str, str]) -> dict[str, Any]:
        client_id = self._authenticated(form)
        client = self.clients[client_id]
        if not client.secret and not client.certificate:
            raise Refused("unauthorized_client", "A public client gets no token for itself.")
        return self._access_for(client_id, form.get("scope", ""), None)

    def _by_assertion(self, form: dict[str, str]) -> dict[str, Any]:
        claims = self._signed(form.get("assertion", ""), "RS256", "invalid_grant")
        account = self.clients.get(claims["iss"])
        if account is None or claims.get("sub") not in account.delegates:
            said = (
                "Client is unauthorized to retrieve access tokens using this method, or client not authorized for any"
            )
            raise Refused("unauthorized_client", f"{said} of the scopes requested.", 401)
        return self._access_for(claims["sub"], claims.get("scope", ""), None)

    def _granted(self, client_id: str, mailbox: str, scope: str, nonce: str) -> dict[str, Any]:
        grant = _Grant(client_id, mailbox, scope)
        self._grants.append(grant)
        answer = self._access_for(mailbox, scope, grant)
        if self.gives_refresh:
            grant.refresh = answer["refresh_token"] = self._new("refresh")
        if "openid" in scope.split():
            now = int(self.now())
            usual = {"iss": self.url, "aud": client_id, "sub": "1", "iat": now, "exp": now + 3600}
            claims = usual | {"email": mailbox, "email_verified": True} | ({"nonce": nonce} if nonce else {})
            answer["id_token"] = self.signed(claims | self.identity)
        return answer

    def _access_for(self, mailbox: str, scope: str, grant: _Grant | None) -> dict[str, Any]:
        token = self._new("access", self.token_octets)
        self._access[token] = _Access(mailbox, scope, self.now() + self.life, grant)
        return {"access_token": token, "token_type": "Bearer", "expires_in": self.life, "scope": scope}

    def _new(self, kind: str, octets: int = 32) -> str:
        return f"{self.marks.get(kind, kind)}-{secrets.token_urlsafe(octets)}"

    def _authenticated(self, form: dict[str, str]) -> str:
        """The id of the client that has shown itself."""
        client_id = form.get("client_id", "")
        client = self.clients.get(client_id)
        if client is None:
            raise Refused("invalid_client", "The OAuth client was not found.", 401)
        if form.get("client_assertion"):
            if self._signed(form["client_assertion"], "PS256", "invalid_client")["sub"] != client_id:
                raise Refused("invalid_client", "AADSTS700027: of another application.", 401)
        elif client.secret and not secrets.compare_digest(
            form.get("client_secret", "").encode(), client.secret.encode()
        ):
            raise Refused("invalid_client", "The provided client secret is invalid.", 401)
        elif client.certificate:
            raise Refused("invalid_client", "AADSTS7000218: a client assertion is missing.", 401)
        return client_id

    def _signed(self, text: str, algorithm: str, error: str) -> dict[str, Any]:
        """The claims of a JWT that one of the clients has signed, in time and for this provider."""
        try:
            certificate = self.clients[signed_texts.claims_of(text)["iss"]].certificate
            claims = signed_texts.checked(text, certificate, algorithm)
        except (ValueError, KeyError):
            raise Refused(error, "Invalid JWT Signature.") from None
        starts = max(claims["iat"], claims.get("nbf", 0))
        is_in_time = starts <= self.now() + SKEW and self.now() - SKEW < claims["exp"] <= claims["iat"] + 3600
        if not is_in_time or not claims["aud"].startswith(self.url):
            said = "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe."
            raise Refused(error, said)
        return claims


def _page(body: str, status: int = 200) -> Answer:
    text = f'<!doctype html><html lang="en"><title>Provider</title><main>{body}</main></html>'
    return Answer(status, text.encode(), (("Content-Type", "text/html; charset=utf-8"),))


def _back(form: dict[str, str], answer: dict[str, str]) -> Answer:
    """Send the browser to where it came from."""
    uri = form["redirect_uri"]
    query = urlencode(answer | {"state": form.get("state", "")})
    return Answer(302, b"", (("Location", f"{uri}{'&' if '?' in uri else '?'}{query}"),))


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], provider: OAuthProviderServer) -> None:
        self.provider = provider
        super().__init__(address, _Handler)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """In the thread of the connection, so that nobody who does not shake hands holds up the others."""
        request.settimeout(PATIENCE)
        if self.provider.context is None:
            return super().finish_request(request, client_address)
        with self.provider.context.wrap_socket(request, server_side=True) as tls:
            return super().finish_request(tls, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever hangs up early is none of the tests' concern."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        place, form = self._asked(urlsplit(self.path).query)
        provider = self.server.provider
        pages = {"authorize": lambda: provider.consent_page(form), "device": provider.device_page}
        self._answer(place, (pages | provider.more_pages(form)).get(place))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
        place, form = self._asked(body)
        provider = self.server.provider
        ways = {
            "authorize": provider.decided,
            "token": provider.token,
            "devicecode": provider.device_begun,
            "device": provider.device_decided,
            "revoke": provider.revoke,
        }
        way = ways.get(place)
        self._answer(place, (lambda: way(form)) if way else None)

    def _asked(self, text: str) -> tuple[str, dict[str, str]]:
        path = urlsplit(self.path).path
        form = {name: values[0] for name, values in parse_qs(text, keep_blank_values=True).items()}
        form |= self._shown()
        self.server.provider.requests.append((path, form))
        return path.rpartition("/")[2], form

    def _shown(self) -> dict[str, str]:
        """What came in the header instead of the form."""
        kind, _, shown = self.headers.get("Authorization", "").partition(" ")
        if kind == "Basic":
            client_id, _, secret = base64.b64decode(shown).decode().partition(":")
            return {"client_id": client_id, "client_secret": secret}
        return {"bearer": shown} if shown else {}

    def _answer(self, place: str, way: Any) -> None:
        script = self.server.provider.script[place]
        fault = script.popleft() if script else None
        if isinstance(fault, Held):
            oauth_faults.wait_for(fault)
        if isinstance(fault, Answer):
            return self._send(fault)
        if isinstance(fault, Dropped) and not fault.after:
            return self._hang_up()
        try:
            answer = way() if way else _page("Not found", 404)
        except Refused as refused:
            answer = refused.answer
        if isinstance(fault, Dropped):
            return self._hang_up()
        if isinstance(fault, Edited):
            changed = json.loads(answer.body)
            fault.change(changed)
            answer = oauth_faults.saying(changed, answer.status)
        return self._send(answer)

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(answer.body)
        self.close_connection = True

    def _hang_up(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *_: object) -> None:
        """Nothing on the tests' output."""

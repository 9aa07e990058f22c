"""The part that is Authlib's: a request for a token as it is sent, and what is signed. Loaded when it is first needed.

Authlib writes the requests and signs; connections are ours (``services/web_request.py``), and so is every reading of
an answer.
"""

import base64
from collections.abc import Mapping
from datetime import datetime, timedelta
from io import BytesIO
from typing import Any, Final, NamedTuple

from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from authlib.oauth2.rfc7523.assertion import sign_jwt_bearer_assertion
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from joserfc.jwk import RSAKey
from requests import PreparedRequest, Response
from requests.adapters import BaseAdapter
from requests.structures import CaseInsensitiveDict

from services import web_request
from services.oauth.answers import SKEW, json_object
from services.oauth.client import OAuthClient, ServiceAccount, TokenPolicy, UnusableKey, check_rsa
from services.oauth.failures import TokenFailure, TokenFault, is_unwell, refused, seconds_to_wait
from services.smtp.settings import Identity
from services.smtp.wire import Deadline
from services.web_request import WebAnswer, WebFailure, host_of
from utils.errors import Fault
from utils.secret import Secret

LONGEST: Final = 64 * 1024  # octets of an answer; Microsoft's have 6,000
_REDIRECTS: Final = range(300, 400)
_ERRORS: Final = 400
_ASSERTION_LIFE: Final = timedelta(minutes=10)  # from the moment on at which it is signed
_GOOGLE_LIFE: Final = timedelta(minutes=55)  # an hour at most, from the moment that it is said to be signed
_JSON: Final = "application/json"
_HEADERS: Final = ("Content-Type", "Accept", "Authorization")


def opened(client: OAuthClient | None, token_url: str, policy: TokenPolicy | None, now: datetime) -> "TokenSession":
    """A session for one request of a client, or of none; without a policy nothing can be sent. Raises TokenFailure."""
    return TokenSession(client.client_id if client else None, _shown(client, token_url, now), policy, now)


class _Shown(NamedTuple):
    """How a client shows itself: the name of the way, and what it takes."""

    method: str
    secret: Any = None
    certificate: "_ByCertificate | None" = None


def _shown(client: OAuthClient | None, token_url: str, now: datetime) -> _Shown:
    if client is None:
        return _Shown("nobody")
    if client.certificate:
        by_certificate = _ByCertificate(token_url, client.certificate, now)
        return _Shown("private_key_jwt", _key(client.certificate.key), by_certificate)
    if client.secret is None:
        return _Shown("none")
    return _Shown("client_secret_basic" if client.by_header else "client_secret_post", client.secret.reveal())


class TokenSession(OAuth2Session):  # type: ignore[misc]  # it has no types
    """Authlib's session with our connections and our reading. Used for one request."""

    def __init__(self, client_id: str | None, shown: "_Shown", policy: TokenPolicy | None, now: datetime) -> None:
        super().__init__(
            client_id,
            shown.secret,
            token_endpoint_auth_method=shown.method,
            revocation_endpoint_auth_method=shown.method,
            code_challenge_method="S256",
            trust_env=False,  # neither a proxy nor .netrc: a secret goes where the provider's entry says
        )
        self.register_client_auth_method(("nobody", _as_it_stands))
        if shown.certificate:
            self.register_client_auth_method(shown.certificate)
        self._now = now
        self.adapters.clear()
        if policy:  # else a link is made, and nothing is sent
            own = _OwnConnections(policy)
            self.mount("https://", own)
            self.mount("http://", own)

    def parse_response_token(self, resp: Response) -> dict[str, Any]:
        """The answer as a JSON object, where Authlib would keep it and count its life by the clock."""
        return answer_of(resp)

    def posted(self, url: str, form: Mapping[str, str]) -> dict[str, Any]:
        """The answer to a form that asks for no token. Raises TokenFailure."""
        auth = self.client_auth(self.token_endpoint_auth_method)
        return answer_of(self.post(url, data=dict(form), headers={"Accept": _JSON}, auth=auth, withhold_token=True))

    def revoked(self, url: str, token: Secret, kind: str) -> None:
        """Tell a provider that a token is to be of no more use (RFC 7009). Raises TokenFailure."""
        response = self.revoke_token(url, token.reveal(), kind, headers={"Accept": _JSON})
        if response.status_code >= _ERRORS:
            answer_of(response)  # which says why; of success it says whatever it likes

    def assertion(self, account: ServiceAccount, mailbox: str, scope: str, token_url: str) -> str:
        """What a service account shows to get a token for a mailbox (RFC 7523 2.1). Raises TokenFailure."""
        signed = self._now - SKEW
        found: str = sign_jwt_bearer_assertion(
            _key(account.key),
            account.email,
            token_url,
            mailbox,
            issued_at=int(signed.timestamp()),
            expires_at=int((signed + _GOOGLE_LIFE).timestamp()),
            claims={"scope": scope},
            header={"typ": "JWT"} | ({"kid": account.key_id} if account.key_id else {}),
            alg="RS256",
        )
        return found


class _OwnConnections(BaseAdapter):
    """How requests gets to a server: over a connection of ours, which was judged, once and without a redirect."""

    def __init__(self, policy: TokenPolicy) -> None:
        super().__init__()
        self._policy = policy

    def send(self, request: PreparedRequest, *_: object, **__: object) -> Response:
        answer = self._answer(request)
        if answer.status in _REDIRECTS:
            raise TokenFailure(TokenFault.REDIRECTED, status=answer.status)
        response = Response()
        response.status_code = answer.status
        response.headers = CaseInsensitiveDict(answer.headers)
        response.raw = BytesIO(answer.body)
        response.request = request
        return response

    def close(self) -> None:
        """Nothing is kept open."""

    def _answer(self, request: PreparedRequest) -> WebAnswer:
        body = request.body or b""
        try:
            return web_request.ask(
                host_of(request.url or "", may_be_plain=self._policy.may_be_plain),
                request.method or "POST",
                request.path_url,
                {name: str(request.headers[name]) for name in _HEADERS if name in request.headers},
                body if isinstance(body, bytes) else str(body).encode("ascii"),
                reach=self._policy.reach,
                deadline=Deadline(self._policy.seconds),
                longest=LONGEST,
            )
        except WebFailure as failure:
            is_answer = failure.fault in (Fault.TOO_LARGE, Fault.BROKEN_REPLY)
            raise TokenFailure(
                TokenFault.BAD_ANSWER if is_answer else TokenFault.UNREACHABLE, link=failure.fault
            ) from None
        except ValueError:  # no URL that a secret may be sent to
            raise TokenFailure(TokenFault.UNREACHABLE, link=Fault.OURS) from None


def _as_it_stands(_client: object, _method: str, uri: str, headers: Any, body: str) -> tuple[str, Any, str]:  # noqa: ANN401
    """A request in which no client shows itself: what is in it is enough."""
    return uri, headers, body


class _ByCertificate(PrivateKeyJWT):  # type: ignore[misc]
    """Signs as Microsoft asks for it: PS256, and the certificate's SHA-256 in the header.

    It is dated back by what a clock may be off, so that a provider whose clock is behind takes it, too.
    """

    def __init__(self, token_url: str, identity: Identity, now: datetime) -> None:
        headers = {"typ": "JWT", "x5t#S256": _thumbprint(identity.certificate)}
        super().__init__(token_url, headers=headers, alg="PS256")
        self._now = now

    def sign(self, auth: Any, token_endpoint: str) -> str:  # noqa: ANN401 - Authlib's own
        signed = int((self._now - SKEW).timestamp())
        assertion: str = sign_jwt_bearer_assertion(
            auth.client_secret,
            auth.client_id,
            token_endpoint,
            auth.client_id,
            issued_at=signed,
            expires_at=int((self._now + _ASSERTION_LIFE).timestamp()),
            claims={"nbf": signed},
            header=dict(self.headers),
            alg=self.alg,
        )
        return assertion


def answer_of(response: Response) -> dict[str, Any]:
    """An answer as a JSON object that tells of no error; one without a body is an empty one. Raises TokenFailure."""
    status, wait = response.status_code, seconds_to_wait(response.headers.get("Retry-After", ""))
    try:
        answer = json_object(response.content or b"{}", status)
    except TokenFailure:
        if is_unwell(status):
            raise refused(status, {}, wait) from None  # a page of whatever stands before the provider
        raise
    if "error" in answer or is_unwell(status):
        raise refused(status, answer, wait)
    if status >= _ERRORS:
        raise TokenFailure(TokenFault.BAD_ANSWER, status=status)
    return answer


def _key(key: Secret) -> RSAKey:
    """A private key as Authlib signs with it. Raises TokenFailure."""
    try:
        check_rsa(key)
    except UnusableKey:
        raise TokenFailure(TokenFault.KEY) from None
    return RSAKey.import_key(key.reveal())


def _thumbprint(certificate: str) -> str:
    """The SHA-256 of a certificate, as x5t#S256 has it (RFC 7515 4.1.8). Raises TokenFailure."""
    try:
        digest = x509.load_pem_x509_certificate(certificate.encode()).fingerprint(hashes.SHA256())
    except ValueError:
        raise TokenFailure(TokenFault.KEY) from None
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()

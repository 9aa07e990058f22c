"""A provider that people sign in with (OpenID Connect), for the tests: the one of tokens, with discovery and keys.

Its id tokens are signed by hand, so that no library agrees with itself.
"""

import base64
import hashlib
import hmac
import json
import ssl
from collections.abc import Callable
from functools import cache
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from tests import oauth_faults
from tests.oauth_faults import Answer
from tests.oauth_provider import OAuthProviderServer, RegisteredClient

CLIENT: Final = "sealpost"
SECRET: Final = "cl1ent-s3cret-f0r-tests"
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


@cache
def rsa_key(number: int) -> rsa.RSAPrivateKey:
    """One of several keys, each made once."""
    return rsa.generate_private_key(65537, 2048)


class OidcProviderServer(OAuthProviderServer):
    """``with OidcProviderServer(context, redirect_uri) as provider:``; whoever signs in at its page is ``subject``.

    ``identity`` are further claims of id tokens. ``said`` changes its discovery document. ``edit`` changes the claims
    of an id token before it is signed, ``sign`` does that in another way.
    """

    def __init__(self, context: ssl.SSLContext | None, redirect_uri: str) -> None:
        super().__init__(context)
        self.clients[CLIENT] = RegisteredClient((redirect_uri,), secret=SECRET)
        self.subject = "subject-1"
        self.issuer = self.url
        self.said: dict[str, Any] = {}
        self.keys: dict[str, tuple[str, PrivateKey]] = {"first": ("RS256", rsa_key(0))}
        self.signs_with = "first"
        self.edit: Callable[[dict[str, Any]], object] = lambda claims: None
        self.sign: Callable[[dict[str, Any]], str] | None = None
        self.user_info: dict[str, Any] = {}
        self.names_itself = True
        self.extra_answer: dict[str, str] = {}  # of the way back

    def come_back(self, url: str, decision: str = "grant") -> str:
        """What the browser is sent back to from the page at this address, once somebody has decided."""
        form = dict(parse_qsl(urlsplit(url).query)) | {"decision": decision}
        assert self.consent_page(form).status == 200
        return dict(self.decided(form).headers)["Location"]

    def decided(self, form: dict[str, str]) -> Answer:
        answer = super().decided(form)
        place = dict(answer.headers)["Location"]
        more = {"iss": self.issuer} if self.names_itself else {}
        for name, value in (more | self.extra_answer).items():
            place += f"&{name}={value}"
        return Answer(302, b"", (("Location", place),))

    def signed(self, claims: dict[str, Any]) -> str:
        claims |= {"iss": self.issuer, "sub": self.subject} | self.identity
        self.edit(claims)
        if self.sign:
            return self.sign(claims)
        algorithm, key = self.keys[self.signs_with]
        head = {"alg": algorithm, "kid": self.signs_with, "typ": "JWT"}
        return jwt(head, claims, lambda octets: signature(key, algorithm, octets))

    def by_hmac(self, claims: dict[str, Any]) -> str:
        """As an attacker signs who knows the public key, which is no secret."""
        public = self.keys["first"][1].public_key()
        pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        head = {"alg": "HS256", "kid": "first"}
        return jwt(head, claims, lambda octets: hmac.new(pem, octets, hashlib.sha256).digest())

    def more_pages(self, form: dict[str, str]) -> dict[str, Callable[[], Answer]]:
        return {
            "openid-configuration": lambda: oauth_faults.saying(self._discovery()),
            "keys": lambda: oauth_faults.saying({"keys": [jwk(kid, *of) for kid, of in self.keys.items()]}),
            "userinfo": lambda: oauth_faults.saying({"sub": self.subject} | self.user_info),
            "end-session": lambda: _signed_out(form),
        }

    def _discovery(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
            "userinfo_endpoint": f"{self.url}/userinfo",
            "end_session_endpoint": f"{self.url}/end-session",
            "id_token_signing_alg_values_supported": ["none", "HS256", *{of for of, _ in self.keys.values()}],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            "authorization_response_iss_parameter_supported": self.names_itself,
        } | self.said


def jwt(head: dict[str, Any], claims: dict[str, Any], sign: Callable[[bytes], bytes]) -> str:
    """A text of this form, signed in this way."""
    text = ".".join(_base64(json.dumps(part).encode()) for part in (head, claims))
    return f"{text}.{_base64(sign(text.encode()))}"


def signature(key: PrivateKey, algorithm: str, octets: bytes) -> bytes:
    """RFC 7518 3."""
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(octets)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        pair = decode_dss_signature(key.sign(octets, ec.ECDSA(hashes.SHA256())))
        return b"".join(number.to_bytes(32, "big") for number in pair)
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
    return key.sign(octets, pss if algorithm == "PS256" else padding.PKCS1v15(), hashes.SHA256())


def jwk(kid: str, algorithm: str, key: PrivateKey) -> dict[str, Any]:
    """The public half, as a provider shows it (RFC 7517)."""
    found = {"kid": kid, "use": "sig", "alg": algorithm}
    public = key.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        numbers = public.public_numbers()
        return found | {"kty": "RSA", "n": _number(numbers.n, public.key_size // 8), "e": _number(numbers.e, 3)}
    if isinstance(public, ed25519.Ed25519PublicKey):
        return found | {"kty": "OKP", "crv": "Ed25519", "x": _base64(public.public_bytes_raw())}
    at = public.public_numbers()
    return found | {"kty": "EC", "crv": "P-256", "x": _number(at.x, 32), "y": _number(at.y, 32)}


def _signed_out(form: dict[str, str]) -> Answer:
    place = form.get("post_logout_redirect_uri", "")
    return Answer(302, b"", (("Location", place),)) if place else Answer(200, b"Signed out.")


def _number(value: int, octets: int) -> str:
    return _base64(value.to_bytes(octets, "big"))


def _base64(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()

"""Who gives tokens for SMTP: where, what is asked of them, and to which mail servers a token of theirs may go."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

from services.web_request import host_of
from utils.addresses import InvalidAddress, ip_literal, parse_host


class OAuthProvider(StrEnum):
    """Who is asked for a token."""

    GOOGLE = "google"
    MICROSOFT = "microsoft"
    FASTMAIL = "fastmail"
    CUSTOM = "custom"


class Grant(StrEnum):
    """The way to a token."""

    CODE = "code"  # someone signs in, in a browser that comes back (RFC 6749 4.1, RFC 7636)
    DEVICE = "device"  # someone signs in, in a browser anywhere (RFC 8628)
    CLIENT_CREDENTIALS = "client_credentials"  # the application itself (RFC 6749 4.4)
    SERVICE_ACCOUNT = "service_account"  # the application on behalf of a mailbox (RFC 7523 2.1)


# What is asked for beside access to SMTP, and not named again in the answer: who signed in, and a token for renewing.
BESIDE: Final = frozenset({"openid", "email", "profile", "offline_access"})
GOOGLE_SCOPE: Final = "https://mail.google.com/"  # exactly so, with the slash
FASTMAIL_SCOPE: Final = "https://www.fastmail.com/dev/protocol-smtp"
ANY_TENANT: Final = ("organizations", "common", "consumers")
_TENANT_ID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SCOPE: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")  # RFC 6749 3.3
_LONGEST_SCOPE: Final = 1024


class UnusableProvider(ValueError):
    """What was entered for a provider cannot be used; the text says what to do and never echoes it."""


@dataclass(frozen=True, kw_only=True)
class TokenProvider:
    """Where tokens are from. Its URLs are the only ones that a secret or a refresh token is sent to.

    ``scopes`` are those of each way that it offers; a way that is not among them is not offered. ``smtp_hosts`` are the
    only mail servers that an access token is sent to. ``issuer``: what it calls itself in answers, "" where that is
    not known before (a tenant's id).
    """

    kind: OAuthProvider
    authorize_url: str = ""
    token_url: str
    device_url: str = ""
    revoke_url: str = ""
    issuer: str = ""
    scopes: Mapping[Grant, tuple[str, ...]]
    smtp_hosts: frozenset[str]
    extra: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))  # of the authorization URL

    def offers(self, grant: Grant) -> bool:
        """Whether a token can be had in this way."""
        return grant in self.scopes

    def takes_token(self, smtp_host: str) -> bool:
        """Whether a token of this provider may be sent to a mail server."""
        try:
            return parse_host(smtp_host) in self.smtp_hosts
        except InvalidAddress:
            return False

    def lacking(self, grant: Grant, granted: Iterable[str]) -> list[str]:
        """The scopes without which no mail can be sent, and that were not granted: people can leave one out."""
        found = set(granted)
        return [scope for scope in self.scopes[grant] if scope not in BESIDE and scope not in found]


@dataclass(frozen=True, kw_only=True)
class Cloud:
    """One of Microsoft's: where people sign in, the two kinds of scope, and its mail servers."""

    authority: str
    resource: str  # before SMTP.Send, of who signs in
    app_resource: str  # before .default, of the application itself
    smtp_hosts: frozenset[str]


WORLDWIDE: Final = Cloud(
    authority="https://login.microsoftonline.com",
    resource="https://outlook.office.com",  # not graph.microsoft.com, whose tokens SMTP refuses with 535 5.7.3
    app_resource="https://outlook.office365.com",
    smtp_hosts=frozenset({"smtp.office365.com", "smtp-mail.outlook.com", "outlook.office365.com"}),
)
US_GOVERNMENT: Final = Cloud(
    authority="https://login.microsoftonline.us",
    resource="https://outlook.office365.us",
    app_resource="https://outlook.office365.us",
    smtp_hosts=frozenset({"smtp.office365.us"}),
)
CHINA: Final = Cloud(
    authority="https://login.partner.microsoftonline.cn",
    resource="https://partner.outlook.cn",
    app_resource="https://partner.outlook.cn",
    smtp_hosts=frozenset({"smtp.partner.outlook.cn"}),
)
CLOUDS: Final = {"worldwide": WORLDWIDE, "us": US_GOVERNMENT, "cn": CHINA}


def google() -> TokenProvider:
    """Gmail and Google Workspace. Its device flow knows no scope of mail, and a secret alone gives no token."""
    return TokenProvider(
        kind=OAuthProvider.GOOGLE,
        authorize_url="https://accounts.google.com/o/oauth2/v2/auth",
        token_url="https://oauth2.googleapis.com/token",  # noqa: S106 - no password
        revoke_url="https://oauth2.googleapis.com/revoke",
        issuer="https://accounts.google.com",
        scopes=MappingProxyType(
            {Grant.CODE: (GOOGLE_SCOPE, "openid", "email"), Grant.SERVICE_ACCOUNT: (GOOGLE_SCOPE,)}
        ),
        smtp_hosts=frozenset({"smtp.gmail.com", "smtp.googlemail.com", "smtp-relay.gmail.com"}),
        # Without both of them, whoever has agreed before is given no refresh token.
        extra=MappingProxyType({"access_type": "offline", "prompt": "consent"}),
    )


def microsoft(
    tenant: str, *, cloud: Cloud = WORLDWIDE, authority: str = "", scope: str = "", may_be_plain: bool = False
) -> TokenProvider:
    """Microsoft 365, by the tenant's id or domain, or for all of them (``organizations``, ``common``).

    ``authority`` and ``scope`` replace the cloud's where that has other ones. Raises UnusableProvider.
    """
    tenant = _tenant(tenant)
    base = _https(authority, may_be_plain=may_be_plain).rstrip("/") if authority else cloud.authority
    endpoints = f"{base}/{tenant}/oauth2/v2.0"
    delegated = (*_scopes(scope or f"{cloud.resource}/SMTP.Send"), "offline_access", "openid", "profile")
    scopes = {Grant.CODE: delegated, Grant.DEVICE: delegated}
    if tenant not in ANY_TENANT:  # an application signs in to one tenant
        scopes[Grant.CLIENT_CREDENTIALS] = (f"{_resource(scope) or cloud.app_resource}/.default",)
    return TokenProvider(
        kind=OAuthProvider.MICROSOFT,
        authorize_url=f"{endpoints}/authorize",
        token_url=f"{endpoints}/token",
        device_url=f"{endpoints}/devicecode",
        issuer=f"{base}/{tenant}/v2.0" if _TENANT_ID.fullmatch(tenant) and not authority else "",
        scopes=MappingProxyType(scopes),
        smtp_hosts=cloud.smtp_hosts,
    )


def fastmail() -> TokenProvider:
    """Fastmail, whose token URL has another name than everybody's."""
    return TokenProvider(
        kind=OAuthProvider.FASTMAIL,
        authorize_url="https://api.fastmail.com/oauth/authorize",
        token_url="https://api.fastmail.com/oauth/refresh",  # noqa: S106 - no password
        revoke_url="https://api.fastmail.com/oauth/revoke",
        issuer="https://api.fastmail.com",
        scopes=MappingProxyType({Grant.CODE: (FASTMAIL_SCOPE, "offline_access")}),
        smtp_hosts=frozenset({"smtp.fastmail.com"}),
    )


def custom(
    *,
    token_url: str,
    scope: str,
    smtp_host: str,
    authorize_url: str = "",
    device_url: str = "",
    revoke_url: str = "",
    issuer: str = "",
    may_be_plain: bool = False,
) -> TokenProvider:
    """Any other, bound to one mail server. Each way is offered that it has a URL for. Raises UnusableProvider."""
    scopes = _scopes(scope)
    grants = {Grant.CLIENT_CREDENTIALS: scopes, Grant.SERVICE_ACCOUNT: scopes}
    grants |= {Grant.CODE: scopes} if authorize_url else {}
    grants |= {Grant.DEVICE: scopes} if device_url else {}
    urls = [
        _https(url, may_be_plain=may_be_plain) if url else ""
        for url in (authorize_url, token_url, device_url, revoke_url, issuer)
    ]
    if not token_url:
        raise UnusableProvider("Enter the token URL.")
    try:
        host = parse_host(smtp_host)
    except InvalidAddress:
        raise UnusableProvider("Enter the host name of the mail server first.") from None
    return TokenProvider(
        kind=OAuthProvider.CUSTOM,
        authorize_url=urls[0],
        token_url=urls[1],
        device_url=urls[2],
        revoke_url=urls[3],
        issuer=urls[4],
        scopes=MappingProxyType(grants),
        smtp_hosts=frozenset({host}),
    )


def admin_consent_url(provider: TokenProvider, client_id: str, redirect_uri: str) -> tuple[str, dict[str, str]]:
    """Where an administrator of a Microsoft tenant agrees for all of it, and with which parameters."""
    base = provider.authorize_url.removesuffix("/oauth2/v2.0/authorize")
    scope = "https://ps.outlook.com/.default"
    return f"{base}/v2.0/adminconsent", {"client_id": client_id, "redirect_uri": redirect_uri, "scope": scope}


def _tenant(text: str) -> str:
    tenant = text.strip().lower()
    if tenant in ANY_TENANT or _TENANT_ID.fullmatch(tenant):
        return tenant
    try:
        domain = parse_host(tenant)
    except InvalidAddress:
        domain = ""
    if "." not in domain or ip_literal(domain):
        raise UnusableProvider("Enter the tenant’s id (like 01234567-89ab-…) or one of its domains.")
    return domain


def _https(url: str, *, may_be_plain: bool) -> str:
    """The URL, if a secret may be sent there."""
    try:
        host_of(url, may_be_plain=may_be_plain)
    except ValueError:
        raise UnusableProvider("Enter a whole address that begins with https:// and has no user name or #.") from None
    return url


def _scopes(text: str) -> tuple[str, ...]:
    scopes = tuple(dict.fromkeys(text.split()))
    if len(text) > _LONGEST_SCOPE or not all(_SCOPE.fullmatch(scope) and _can_be_split(scope) for scope in scopes):
        raise UnusableProvider("Enter the scope as the provider names it, several with spaces between.")
    return scopes


def _can_be_split(scope: str) -> bool:
    """Not an address whose host has a bracket without the other."""
    try:
        urlsplit(scope)
    except ValueError:
        return False
    return True


def _resource(scope: str) -> str:
    """What a scope is of: https://host of https://host/SMTP.Send."""
    parts = urlsplit(next(iter(scope.split()), ""))
    return f"{parts.scheme}://{parts.netloc}" if parts.scheme == "https" and parts.netloc else ""

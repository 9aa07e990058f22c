"""What is registered at a provider after a change: every rule between its fields, whoever asks for the change."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from services.connecting import slips
from services.connecting.fields import RegistrationChange
from services.oauth import keeping, providers
from services.oauth.client import UnusableKey, check_rsa
from services.oauth.providers import CLOUDS, Grant, OAuthProvider, UnusableProvider
from services.oauth.registration import DEFAULT_TENANT, NONE, Registration
from services.smtp import client_certificate
from utils.errors import InvalidInput

ENTER_AGAIN: Final = "You changed where it is sent, or the application. Enter it again."
NOT_OFFERED: Final = "This provider does not offer this way. Choose another."
# What each provider knows a use for; what else was entered is not kept.
_USED: Final[Mapping[OAuthProvider, frozenset[str]]] = {
    OAuthProvider.GOOGLE: frozenset({"is_testing"}),
    OAuthProvider.MICROSOFT: frozenset({"tenant", "cloud", "authority", "scope"}),
    OAuthProvider.FASTMAIL: frozenset(),
    OAuthProvider.CUSTOM: frozenset(
        {"authorize_url", "token_url", "device_url", "revoke_url", "issuer", "scope", "is_testing"}
    ),
}
_OPTIONAL: Final = frozenset().union(*_USED.values())
_URLS: Final = ("authority", "authorize_url", "token_url", "device_url", "revoke_url", "issuer")
# Where a stored secret would be sent, and as whose.
_DESTINATION: Final = ("provider", "cloud", "authority", "token_url", "revoke_url", "client_id")
_PLAIN: Final = ("provider", "way", "client_id", "secret_ends_on", *sorted(_OPTIONAL))
_SECRETS: Final = ("client_secret", "client_key", "service_account")


def registration_after(stored: Registration | None, change: RegistrationChange, smtp_host: str) -> Registration:
    """What is registered after a change of what is stored, or of nothing, for a mail server.

    A stored secret is kept only for the application and the addresses that it was entered for. Raises InvalidInput.
    """
    if stored is None and not change.given("provider"):
        raise InvalidInput({"provider": ["Choose who gives the tokens."]})
    if stored and change.client_certificate == stored.client_certificate:
        change = change.model_copy(update={"client_certificate": ""})  # as the page had it
    base = stored or Registration(provider=change.provider, way=Grant.CODE)
    taken = {name: getattr(change, name) for name in _PLAIN if change.given(name)}
    result = _fitted(replace(base, **taken), smtp_host)
    errors = _url_errors(result) or _place_errors(result, smtp_host)
    for check in (_client_id_errors, _secret_errors, _slips):
        errors |= check(result, change)
    if errors:
        raise InvalidInput(errors)
    result = _with_secrets(stored, result, change)
    if change.client_secret and not change.given("secret_ends_on"):
        result = replace(result, secret_ends_on=None)  # it was that of the one before
    return result if result.client_secret else replace(result, secret_ends_on=None)


def _fitted(found: Registration, smtp_host: str) -> Registration:
    """Without what its provider and its way have no use for, and with what goes without saying."""
    blank: dict[str, Any] = {name: False if name == "is_testing" else "" for name in _OPTIONAL - _USED[found.provider]}
    if found.provider is OAuthProvider.MICROSOFT:
        blank["cloud"] = found.cloud or _cloud_of(smtp_host)
        blank["tenant"] = found.tenant or DEFAULT_TENANT
    if found.way is Grant.SERVICE_ACCOUNT:
        blank |= {"client_id": "", "secret_ends_on": None}
    return replace(found, **blank)


def _cloud_of(smtp_host: str) -> str:
    return next((name for name, cloud in CLOUDS.items() if smtp_host in cloud.smtp_hosts), next(iter(CLOUDS)))


def _url_errors(found: Registration) -> dict[str, list[str]]:
    """Each address on its own, so that the field is named which is at fault."""
    may_be_plain, errors = keeping.policy().may_be_plain, dict[str, list[str]]()
    for name in _URLS:
        if url := getattr(found, name):
            try:
                providers.custom(token_url=url, scope="", smtp_host="localhost", may_be_plain=may_be_plain)
            except UnusableProvider as fault:
                errors[name] = [str(fault)]
    return errors


def _place_errors(found: Registration, smtp_host: str) -> dict[str, list[str]]:
    """Whether there is such a provider for this mail server, and whether it offers the way."""
    if found.provider is OAuthProvider.CUSTOM:
        needed = {"token_url": "Enter the token URL.", "scope": "Enter the scope as the provider names it."}
        needed |= {"authorize_url": "Enter where people sign in."} if found.way is Grant.CODE else {}
        needed |= {"device_url": "Enter where codes are given."} if found.way is Grant.DEVICE else {}
        if missing := {name: [text] for name, text in needed.items() if not getattr(found, name)}:
            return missing
    try:
        provider = found.token_provider(smtp_host, may_be_plain=keeping.policy().may_be_plain)
    except UnusableProvider as fault:
        return {"provider": [str(fault)]}
    if not provider.offers(found.way):
        if found.provider is OAuthProvider.MICROSOFT and found.way is Grant.CLIENT_CREDENTIALS:
            return {"tenant": ["The application signs in to one tenant: enter its ID or one of its domains."]}
        return {"way": [NOT_OFFERED]}
    return {}


def _client_id_errors(found: Registration, _change: RegistrationChange) -> dict[str, list[str]]:
    if found.way is Grant.SERVICE_ACCOUNT:
        return {}
    if not found.client_id:
        return {"client_id": ["Enter the client ID."]}
    return {}


def _secret_errors(found: Registration, change: RegistrationChange) -> dict[str, list[str]]:
    """What is wrong with the secrets of the change by themselves."""
    secret, errors = change.client_secret.reveal(), dict[str, list[str]]()
    if secret and secret == found.client_id:
        errors["client_secret"] = ["This is the client ID. Enter the client secret."]
    elif secret and (change.client_certificate or change.client_key):
        errors["client_secret"] = ["Enter either a client secret or a certificate with its key, not both."]
    elif secret and change.remove_client_secret:
        errors["client_secret"] = ["Remove the client secret or enter a new one, not both."]
    if change.remove_client_certificate and (change.client_certificate or change.client_key):
        errors["client_certificate"] = ["Remove the certificate or enter a new one, not both."]
    return errors


def _slips(found: Registration, change: RegistrationChange) -> dict[str, list[str]]:
    """What was pasted into the wrong field. At another address than the provider's own, ids have any form."""
    if found.way is Grant.SERVICE_ACCOUNT:
        return {}
    told = slips.slips(
        found.provider, client_id=found.client_id, tenant=found.tenant, secret=change.client_secret or None
    )
    return {field: texts for field, texts in told.items() if field != "client_id" or not found.authority}


def _with_secrets(stored: Registration | None, result: Registration, change: RegistrationChange) -> Registration:
    """Decide which secrets go with it: new ones, the stored ones, or none. Raises InvalidInput."""
    if result.way is Grant.SERVICE_ACCOUNT:
        return _with_service_account(stored, result, change)
    result = replace(result, service_account=NONE)
    if change.remove_client_certificate or change.client_secret:
        result = replace(result, client_certificate="", client_key=NONE)
    if change.remove_client_secret or change.client_certificate or change.client_key:
        result = replace(result, client_secret=NONE)
    result = _with_certificate(result, change)
    result = replace(result, client_secret=change.client_secret or result.client_secret)
    kept = [name for name in ("client_secret", "client_key") if getattr(result, name) and not getattr(change, name)]
    _check_kept(stored, result, kept)
    _check_enough(result)
    return result


def _with_certificate(result: Registration, change: RegistrationChange) -> Registration:
    certificate = change.client_certificate or result.client_certificate
    key = change.client_key or result.client_key
    if not certificate and not key:
        return result
    if not certificate:
        raise InvalidInput({"client_certificate": ["Enter the certificate for this key."]})
    if not key:
        raise InvalidInput({"client_key": ["Enter the key for this certificate."]})
    if change.client_certificate or change.client_key:
        facts = client_certificate.facts_of(certificate)
        if facts and facts.has_expired:
            raise InvalidInput({"client_certificate": [facts.trouble]})
        if not client_certificate.belong_together(certificate, key):
            raise InvalidInput({"client_key": [client_certificate.OTHER_KEY]})
        try:
            check_rsa(key)
        except UnusableKey as fault:
            raise InvalidInput({"client_key": [str(fault)]}) from None
    return replace(result, client_certificate=certificate, client_key=key)


def _with_service_account(
    stored: Registration | None, result: Registration, change: RegistrationChange
) -> Registration:
    account = change.service_account or result.service_account
    if not account:
        raise InvalidInput({"service_account": ["Paste the whole JSON file of the service account’s key."]})
    if not change.service_account:
        _check_kept(stored, result, ["service_account"])
    return replace(result, service_account=account, client_secret=NONE, client_certificate="", client_key=NONE)


def _check_kept(stored: Registration | None, result: Registration, kept: list[str]) -> None:
    """A stored secret is for the application and the addresses that it was entered for. Raises InvalidInput."""
    if stored is None or not kept:
        return
    if any(getattr(stored, name) != getattr(result, name) for name in _destination(result)):
        raise InvalidInput({name: [ENTER_AGAIN] for name in kept})


def _destination(found: Registration) -> list[str]:
    """A service account says by itself whose it is."""
    return [name for name in _DESTINATION if name != "client_id" or found.way is not Grant.SERVICE_ACCOUNT]


def _check_enough(found: Registration) -> None:
    """Whether the way works with what there is. Raises InvalidInput."""
    is_bare = not found.client_secret and not found.client_key
    if is_bare and found.way is Grant.CLIENT_CREDENTIALS:
        raise InvalidInput({"client_secret": ["Enter the client secret, or a certificate with its key."]})
    if is_bare and found.provider is OAuthProvider.GOOGLE:
        raise InvalidInput({"client_secret": ["Enter the client secret: Google asks for it."]})

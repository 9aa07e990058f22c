"""What advice may assume of a failure: a closed list of questions to its picture, each answered yes, no, or None where
nobody knows.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from services.diagnosis.picture import Picture
from services.providers import registry
from services.smtp import sasl
from services.smtp.settings import Security, SmtpSettings
from utils.errors import OPENING

_FOR_SENDING: Final = {587, 465, 2525, 2587, 2465}  # 25 is for mail between servers (RFC 6409 3.1)


def _of_typed(picture: Picture, fact: bool) -> bool | None:
    return fact if picture.is_typed else None


def _is_login(settings: SmtpSettings) -> bool:
    return settings.username.casefold() == settings.from_email.casefold()


def _by_token(picture: Picture) -> bool | None:
    settings = picture.settings
    return settings.is_by_token or settings.bearer is not None if picture.is_typed else picture.by_token


def _usable_mechanism(picture: Picture) -> bool | None:
    """Whether one is offered by which Sealpost could sign in, whichever was chosen."""
    if picture.mechanisms is None:
        return None
    encrypted, by_token = picture.encrypted is not False, picture.settings.bearer is not None
    return any(sasl.is_usable(name, encrypted=encrypted, by_token=by_token) for name in picture.mechanisms)


def _only_tokens(picture: Picture) -> bool | None:
    """Whether signing in takes a token (OAuth2) here, and no password."""
    names = picture.mechanisms
    return None if names is None else bool({*sasl.BY_TOKEN} & {*names}) and not _usable_mechanism(picture)


def _method_missing(picture: Picture) -> bool | None:
    """Whether a sign-in method was chosen that the server does not offer."""
    if picture.mechanisms is None or not picture.is_typed:
        return None
    method = picture.settings.auth_method
    return bool(method) and method not in {name.removesuffix(sasl.PLUS) for name in picture.mechanisms}


def _over_limit(picture: Picture) -> bool | None:
    """Whether the message is larger than the server says that it takes."""
    if not picture.message_size or not picture.size_limit:
        return None
    return picture.message_size > picture.size_limit


def _known_to_encrypt(picture: Picture) -> bool:
    """Whether the server is a provider's that offers STARTTLS to everybody on this port."""
    provider = registry.for_server(picture.settings.host)
    if not provider or not registry.is_checked(provider):
        return False
    ways = [(provider["port"], provider["security"]), *((way["port"], way["security"]) for way in provider["ways"])]
    return (picture.settings.port, Security.STARTTLS) in ways


CONDITIONS: Final[dict[str, Callable[[Picture], bool | None]]] = {
    # How far it came.
    "opening": lambda picture: None if picture.phase is None else picture.phase in OPENING,
    "encrypted": lambda picture: picture.encrypted,
    "signed_in": lambda picture: picture.signed_in,
    # What was typed.
    "login_typed": lambda picture: _of_typed(picture, picture.settings.has_login),
    "encryption_chosen": lambda picture: _of_typed(picture, picture.settings.security is not Security.NONE),
    "method_chosen": lambda picture: _of_typed(picture, bool(picture.settings.auth_method)),
    "by_token": _by_token,
    "app_only": lambda picture: picture.app_only,
    "app_in_testing": lambda picture: picture.app_in_testing,
    "can_connect": lambda picture: bool(picture.token_house) if picture.settings.host else None,
    "personal": lambda picture: _of_typed(picture, picture.settings.is_personal),
    "from_is_login": lambda picture: _of_typed(picture, _is_login(picture.settings)),
    "certificate_typed": lambda picture: _of_typed(picture, bool(picture.settings.client_certificate)),
    "port_for_sending": lambda picture: picture.settings.port in _FOR_SENDING if picture.settings.port else None,
    # What the server offers.
    "sign_in_offered": lambda picture: None if picture.mechanisms is None else bool(picture.mechanisms),
    "usable_mechanism_offered": _usable_mechanism,
    "only_tokens_offered": _only_tokens,
    "chosen_method_missing": _method_missing,
    # What the probe has seen.
    "another_way_works": lambda picture: bool(picture.usable_ways) if picture.ways else None,
    "other_ports_dead": lambda picture: bool(picture.dead_ports) and not picture.usable_ways if picture.ways else None,
    # The message.
    "attachments": lambda picture: picture.has_attachments,
    "over_limit": _over_limit,
    "known_to_encrypt": _known_to_encrypt,
}


def may_hold(picture: Picture, needs: Iterable[str], unless: Iterable[str]) -> bool:
    """Whether the picture does not exclude any of these: what is not known excludes nothing."""
    return all(CONDITIONS[name](picture) is not False for name in needs) and all(
        CONDITIONS[name](picture) is not True for name in unless
    )


def surely_hold(picture: Picture, needs: Sequence[str], unless: Sequence[str]) -> bool:
    """Whether the picture shows all of these."""
    return all(CONDITIONS[name](picture) is True for name in needs) and all(
        CONDITIONS[name](picture) is False for name in unless
    )

"""What advice may assume of a failure: a closed list of questions to its picture, each answered yes, no, or None where
nobody knows.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from services.diagnosis.picture import Picture
from services.providers import registry
from services.smtp import sasl
from services.smtp.settings import OpenWay, Security

_BY_TOKEN: Final = {"XOAUTH2", "OAUTHBEARER"}
_SUBMISSION: Final = (587, 465, 2525, 2587, 2465)


def _of_typed(picture: Picture, fact: bool) -> bool | None:
    return fact if picture.is_typed else None


def _usable_mechanism(picture: Picture) -> bool | None:
    """Whether one is offered that Sealpost knows, whichever was chosen."""
    if picture.mechanisms is None:
        return None
    return any(name.removesuffix(sasl.PLUS) in sasl.KNOWN for name in picture.mechanisms)


def _only_tokens(picture: Picture) -> bool | None:
    """Whether signing in takes a token (OAuth2) here, and no password."""
    names = picture.mechanisms
    return None if names is None else bool(names) and not _usable_mechanism(picture) and bool(_BY_TOKEN & {*names})


def _another_works(picture: Picture) -> bool | None:
    """Whether the probe has seen a mail server on another port, or in another mode."""
    if not picture.ways:
        return None
    return any(isinstance(answer, OpenWay) for way, answer in picture.ways.items() if way != picture.way)


def _ports_dead(picture: Picture) -> bool | None:
    """Whether other ports were tried, and none of them works."""
    others = [answer for way, answer in picture.ways.items() if way[0] != picture.settings.port]
    return not any(isinstance(answer, OpenWay) for answer in others) if others else None


def _known_to_encrypt(picture: Picture) -> bool:
    """Whether the server is a provider's that offers STARTTLS to everybody on this port."""
    provider = registry.for_server(picture.settings.host)
    if not provider or provider["development_only"]:
        return False
    ways = [(provider["port"], provider["security"]), *((way["port"], way["security"]) for way in provider["ways"])]
    return (picture.settings.port, Security.STARTTLS) in ways


CONDITIONS: Final[dict[str, Callable[[Picture], bool | None]]] = {
    "signed_in": lambda picture: picture.signed_in,
    "login_typed": lambda picture: _of_typed(picture, picture.settings.has_login),
    "encrypted": lambda picture: picture.encrypted,
    "encryption_chosen": lambda picture: _of_typed(picture, picture.settings.security is not Security.NONE),
    "tls_chosen": lambda picture: _of_typed(picture, picture.settings.security is Security.TLS),
    "method_chosen": lambda picture: _of_typed(picture, bool(picture.settings.auth_method)),
    "sign_in_offered": lambda picture: None if picture.mechanisms is None else bool(picture.mechanisms),
    "usable_mechanism_offered": _usable_mechanism,
    "only_tokens_offered": _only_tokens,
    "another_way_works": _another_works,
    "ports_dead": _ports_dead,
    "submission_port": lambda picture: picture.settings.port in _SUBMISSION if picture.settings.port else None,
    "attachments": lambda picture: picture.has_attachments,
    "known_to_encrypt": _known_to_encrypt,
    "provider_known": lambda picture: bool(picture.provider),
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

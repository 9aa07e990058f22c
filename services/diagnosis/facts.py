"""What the texts of an advice may name in braces: facts of one failure, each only where it is known."""

import re
from collections.abc import Iterable
from ipaddress import ip_address
from typing import Final

from services.diagnosis import known_names
from services.diagnosis.picture import Picture
from utils.addresses import ascii_domain
from utils.errors import DeliveryError, Fault
from utils.net_guard import IPAddress

NAMES: Final = {
    "list", "list_meaning", "list_removal", "ended_list", "ended_in", "our_address", "our_pointer", "ehlo_name",
    "interceptor", "interceptor_kind", "mail_server", "existing_name", "token_code",
}  # fmt: skip
_LONGEST: Final = 500  # characters of a reply that are looked at
_NUMBER: Final = re.compile(r"AADSTS\d{4,9}")
_PLACE: Final = re.compile(r"\{(\w+)\}")
# In brackets, or free: not as part of a name like 5.113.0.203.zen.spamhaus.org, which has it the other way round.
_BRACKETED: Final = re.compile(r"[\[(<](?:IPv6:)?([0-9A-Fa-f.:]{3,45})[\])>]")
_FREE: Final = re.compile(
    r"(?<![\w.:])(\d{1,3}(?:\.\d{1,3}){3}|[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{0,4}){2,7})(?![\w:]|\.\w)"
)


def of_failure(error: DeliveryError, picture: Picture) -> dict[str, str]:
    """What is known of this failure, each fact in letters of ours or checked to be what it is.

    Where nothing of the server's may be told, the address that it saw of us is not.
    """
    found = {"ehlo_name": _own_name(picture)}
    if listed := known_names.block_list_in(error.text[:_LONGEST]):
        found |= _of_list(listed)
    if not picture.settings.is_personal and (address := our_address(error.text)):
        found |= {"our_address": str(address), "our_pointer": address.reverse_pointer}
    if picture.certificate and (known := known_names.interceptor_in(" ".join(picture.certificate.signed_by))):
        found |= {"interceptor": known.name, "interceptor_kind": known.kind}
    if error.fault in (Fault.TOKEN_DEAD, Fault.TOKEN_UNAVAILABLE):
        found["token_code"] = next((name for name in error.trouble_names if _NUMBER.fullmatch(name)), "")
    if picture.name_exists:
        found["existing_name"] = picture.settings.host
    if picture.mail_servers:
        found["mail_server"] = picture.mail_servers[0]
    return {name: fact for name, fact in found.items() if fact}


def _of_list(listed: known_names.BlockList) -> dict[str, str]:
    """What is to be said of a list; one that ended has no removal, and names whom its name servers' new owner likes."""
    if listed.ended:
        return {"ended_list": listed.name, "ended_in": str(listed.ended)}
    return {"list": listed.name, "list_meaning": listed.meaning, "list_removal": listed.removal}


def _own_name(picture: Picture) -> str:
    """This machine's name, if it has one: where it greets as the From domain, that is another machine's in DNS."""
    name = picture.settings.helo_hostname or picture.ehlo_name
    sender = picture.settings.from_email
    return "" if sender and name == ascii_domain(sender) else name


def named_in(texts: Iterable[str]) -> set[str]:
    """The facts that these texts name, apart from what a picture always has to say (services/diagnosis/filling.py)."""
    return {name for text in texts for name in _PLACE.findall(text)} & NAMES


def our_address(reply: str) -> IPAddress | None:
    """The address from which the server has seen us come, if its reply names one."""
    text = reply[:_LONGEST]
    for said in (*_BRACKETED.findall(text), *_FREE.findall(text)):
        try:
            address = ip_address(said)
        except ValueError:
            continue
        if not (address.is_loopback or address.is_unspecified or address.is_multicast):
            return address
    return None

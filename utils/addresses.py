"""Mail addresses and host names: one strict grammar for each, checked before anything else.

Stricter than RFC 5322 on purpose. What servers and libraries read differently (quoted local parts,
comments, groups, routes, lists, domain literals; CVE-2023-27043 and its kin) is refused, so that
the address that was checked is the address that gets the mail. Somebody who is written to did not
choose the address for its grammar: recipients may have what servers are known to take beyond it.
"""

import ipaddress
import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache
from typing import Final

import email_validator
import idna

LONGEST_ADDRESS: Final = 254  # octets, RFC 5321 4.5.3.1.3 with RFC 3696 erratum 1690
LONGEST_HOST: Final = 253  # octets, RFC 1035 2.3.4
DNS_PORT: Final = 53
HIGHEST_PORT: Final = 65535
LONGEST_NAME: Final = 255  # characters of a display name
LONGEST_MAILBOX: Final = 2 * LONGEST_NAME + LONGEST_ADDRESS + 8  # every character escaped, quotes, brackets

CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
BIDI_CONTROLS: Final = re.compile(r"[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")

_LABEL: Final = r"[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?"
_DNS_NAME: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_LOOSE_LABEL: Final = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"  # the DNS itself knows no more rules (RFC 2181 11)
_LOOSE_NAME: Final = re.compile(rf"{_LOOSE_LABEL}(?:\.{_LOOSE_LABEL})*")
# getaddrinfo reads such a last label as part of an IPv4 address: 127.1, 2130706433, 0x7f000001.
_NUMERIC_LABEL: Final = re.compile(r"(?:[0-9]+|0x[0-9a-f]*)")
# Names that mean something only where they are used, so that no mail server can look them up: RFC 6761 6.2 to 6.4,
# RFC 6762 3 and its appendix G, RFC 7686, RFC 8375 (and all other infrastructure, RFC 3172), RFC 9476, what ICANN keeps
# for private use (internal) or will not delegate (home, corp, mail), and the "localdomain" of many a hosts file.
# "example" (RFC 6761 6.5) is none of them: in documentation it stands for a public name.
_LOCAL_LABELS: Final = {
    "localhost", "localdomain", "local", "test", "invalid", "intranet", "internal", "private", "corp", "home", "lan",
    "mail", "onion", "alt", "arpa",
}  # fmt: skip
_PORT: Final = re.compile(r"[1-9][0-9]{0,4}")
_IDEOGRAPHIC_DOTS: Final = "\u3002\uff61"  # IDNA reads them as dots
# Marks that show nothing and that IDNA drops, so that another address would get the mail.
_INVISIBLE_MARKS: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
# Given out by Japanese mobile operators until 2009, and still in use: no dot-atom of RFC 5322 3.2.3, yet not ambiguous.
_ATOMS_AND_DOTS: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+"
_ODD_DOTS: Final = re.compile(r"\..*|.*\.\..*|.*\.")
_QUOTED_LOCAL: Final = re.compile(rf'"({_ATOMS_AND_DOTS})"(@.*)')
_QUOTED_NAME: Final = re.compile(r'"((?:[^"\\]|\\.)*)"')

_PLAIN_ADDRESS: Final = "Write the address like name@example.com."

# One's own network may use root@localhost or a@mail.local; the list is documented as editable.
email_validator.SPECIAL_USE_DOMAIN_NAMES.clear()


class InvalidAddress(ValueError):
    """Not an address, a mailbox or a host; the text tells the remedy and never echoes the input."""


def parse_address(text: str) -> str:
    """Check that ``text`` is exactly one plain address and return it normalised.

    The domain comes back in lower case and in Unicode, the local part in NFC (RFC 6532 3.1), the
    mailboxes of RFC 2142 (Info, Postmaster) in lower case. Raises InvalidAddress.
    """
    return _validated(_bounded(text))[0]


def ascii_domain(address: str) -> str:
    """The domain of an address, as A-labels."""
    return ascii_address(address).rpartition("@")[2]


def shown_domain(domain: str) -> str:
    """A domain in A-labels as people write it, each label in Unicode that leads back to it."""
    return ".".join(map(_shown_label, domain.split(".")))


def ascii_address(address: str) -> str:
    """Return the address with its domain as A-labels (RFC 5891). Raises InvalidAddress."""
    return _validated(_bounded(address))[1]


def parse_recipient(text: str) -> str:
    """Check an address that mail goes to, as liberally as servers take them, and return it normalised.

    Beyond ``parse_address`` it takes dots at odd places (``a..b@docomo.ne.jp``), also in the quotes that some type
    around them, which do not come back; ``_`` in the domain; A-labels that IDNA 2008 does not know, as they stand.
    Raises InvalidAddress.
    """
    return _liberally(_bounded(text))[0]


def ascii_recipient(address: str) -> str:
    """Return the address of a recipient with its domain as A-labels. Raises InvalidAddress."""
    return _liberally(_bounded(address))[1]


def header_form(address: str) -> str:
    """Return a checked address as a header may hold it: dots at odd places need quotes (RFC 5322 3.4.1)."""
    local, _, domain = address.rpartition("@")
    return f'"{local}"@{domain}' if has_odd_dots(local) else address


def has_odd_dots(local: str) -> bool:
    """Whether a local part begins or ends with a dot, or has two in a row, and is plain otherwise."""
    is_plain = re.fullmatch(_ATOMS_AND_DOTS, local) is not None and local.strip(".") != ""
    return is_plain and _ODD_DOTS.fullmatch(local) is not None


def parse_mailbox(text: str) -> tuple[str, str]:
    """Read a sender, ``Name <a@b>``, ``"Name" <a@b>`` or ``a@b``, into (name, address).

    Raises InvalidAddress.
    """
    return _mailbox(text, parse_address)


def parse_recipient_mailbox(text: str) -> tuple[str, str]:
    """Read a recipient likewise, its address by ``parse_recipient``. Raises InvalidAddress."""
    return _mailbox(text, parse_recipient)


def _mailbox(text: str, parse: Callable[[str], str]) -> tuple[str, str]:
    if not isinstance(text, str) or len(text) > LONGEST_MAILBOX:
        raise InvalidAddress("Write the address like Name <name@example.com>.")
    if not text.endswith((">", "> ")):
        return "", parse(text)
    name, _, address = text.strip(" ")[:-1].rpartition("<")
    return _display_name(name.strip(" ")), parse(address)


def mask_address(address: str) -> str:
    """Make an address fit for a log line: ``a***@example.com``, or ``***`` if it is none."""
    try:
        local, _, domain = ascii_recipient(address).rpartition("@")
    except InvalidAddress:
        return "***"
    return f"{local[0]}***@{domain}"


def parse_host(text: str) -> str:
    """Check by grammar alone that ``text`` is a DNS name or an IP address; return it normalised.

    A name comes back in lower case, as A-labels, without a trailing dot; an IP address in its
    canonical form, without brackets. Nothing passes that a resolver would quietly turn into an
    address. Raises InvalidAddress.
    """
    if not isinstance(text, str) or not text:
        raise InvalidAddress("Enter the host name of the mail server, like smtp.example.com.")
    if len(text) > LONGEST_HOST + 1:
        raise InvalidAddress(f"A host name has at most {LONGEST_HOST} characters.")
    _refuse_url_parts(text)
    if ":" in text or "[" in text or "]" in text:
        return _ipv6(text)
    if _look_alike(text):
        raise InvalidAddress("The host name contains a look-alike character. Retype it in plain letters and dots.")
    host = text.removesuffix(".").lower()
    if _ends_in_number(host):
        return _ipv4(host)
    if not host.isascii() or "xn--" in host:
        host = _a_labels(host)
    if len(host) > LONGEST_HOST or not _DNS_NAME.fullmatch(host):
        raise InvalidAddress("This is not a host name. Use letters, digits, hyphens and dots, like smtp.example.com.")
    return host


def _bounded(text: str) -> str:
    """Refuse what must not even reach the parser or its cache: other types and overlong text."""
    if not isinstance(text, str):
        raise InvalidAddress("Enter one email address as text.")
    if len(text) > LONGEST_ADDRESS:
        raise InvalidAddress(f"An email address has at most {LONGEST_ADDRESS} characters.")
    return text


@lru_cache(maxsize=4096)
def _validated(text: str) -> tuple[str, str]:
    """Return the normalised address and the same with its domain as A-labels."""
    _refuse_other_forms(text)
    try:
        valid = email_validator.validate_email(
            text,
            check_deliverability=False,
            allow_quoted_local=False,
            allow_domain_literal=False,
            allow_display_name=False,
            globally_deliverable=False,
        )
    except email_validator.EmailNotValidError:
        raise InvalidAddress(f"This is not an email address. {_PLAIN_ADDRESS}") from None
    if _ends_in_number(valid.ascii_domain):
        raise InvalidAddress("Write a domain name after the @, not an IP address.")
    return valid.normalized, f"{valid.local_part}@{valid.ascii_domain}"


@lru_cache(maxsize=4096)
def _liberally(text: str) -> tuple[str, str]:
    """The same for a recipient: what the strict grammar takes comes out as it does there."""
    try:
        return _validated(text)
    except InvalidAddress:
        local, domain = _loose_parts(text)
    shown, encoded = _loose_domain(domain)
    if len(f"{local}@{encoded}".encode()) > LONGEST_ADDRESS:
        raise InvalidAddress(f"An email address has at most {LONGEST_ADDRESS} characters.")
    return f"{local}@{shown}", f"{local}@{encoded}"


def _loose_parts(text: str) -> tuple[str, str]:
    quoted = _QUOTED_LOCAL.fullmatch(text)
    if quoted and has_odd_dots(quoted[1]):
        text = quoted[1] + quoted[2]
    _refuse_other_forms(text)
    local, _, domain = text.rpartition("@")
    if not has_odd_dots(local):
        local = _validated(f"{local}@a.example")[0].rpartition("@")[0]
    return local, domain


def _loose_domain(domain: str) -> tuple[str, str]:
    """A domain as it is shown and as A-labels: by IDNA 2008 with UTS 46 where it is not ASCII."""
    try:
        mapped = domain.lower() if domain.isascii() else idna.uts46_remap(domain, std3_rules=False, transitional=False)
        labels = [label if label.isascii() else idna.alabel(label).decode() for label in mapped.split(".")]
    except idna.IDNAError:
        raise InvalidAddress(f"This is not an email address. {_PLAIN_ADDRESS}") from None
    encoded = ".".join(labels)
    if len(encoded) > LONGEST_HOST or not _LOOSE_NAME.fullmatch(encoded):
        raise InvalidAddress(f"This is not an email address. {_PLAIN_ADDRESS}")
    if _ends_in_number(encoded):
        raise InvalidAddress("Write a domain name after the @, not an IP address.")
    return shown_domain(encoded), encoded


def _shown_label(label: str) -> str:
    """An A-label in Unicode, if that leads back to it."""
    try:
        shown = idna.ulabel(label)
        return shown if idna.alabel(shown).decode() == label else label
    except idna.IDNAError:
        return label


def _refuse_other_forms(text: str) -> None:
    if not text:
        raise InvalidAddress(f"Enter an email address. {_PLAIN_ADDRESS}")
    if text.isprintable() and text.count("@") > 1:
        raise InvalidAddress("Enter only one address.")
    if _invisible(text):
        raise InvalidAddress("Remove spaces, line breaks and invisible characters from the address.")
    if any(character in text for character in "<>"):
        raise InvalidAddress("Enter only the address, without a name, < or >.")
    if any(character in text for character in ",;"):
        raise InvalidAddress("Enter only one address.")
    if any(character in text for character in '"\\()[]:'):
        raise InvalidAddress(f"An address cannot contain quotes, brackets or colons. {_PLAIN_ADDRESS}")
    if _look_alike(text):
        raise InvalidAddress("The address contains a look-alike character. Retype it in plain letters and dots.")
    if "@" not in text:
        raise InvalidAddress(f"The address has no @. {_PLAIN_ADDRESS}")


def _invisible(text: str) -> bool:
    return not text.isprintable() or " " in text or _INVISIBLE_MARKS.search(text) is not None


def _look_alike(text: str) -> bool:
    """Whether a character disguises ASCII (full width, circled, Kelvin sign, long s) or a dot."""
    return not text.isascii() and any(
        character in _IDEOGRAPHIC_DOTS or any(map(str.isascii, unicodedata.normalize("NFKC", character)))
        for character in text
        if not character.isascii()
    )


def _ends_in_number(host: str) -> bool:
    return _NUMERIC_LABEL.fullmatch(host.rpartition(".")[2]) is not None


def _display_name(text: str) -> str:
    quoted = _QUOTED_NAME.fullmatch(text)
    name = re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else text
    if CONTROLS.search(name) or BIDI_CONTROLS.search(name):
        raise InvalidAddress("Remove line breaks and control characters from the name.")
    if len(name) > LONGEST_NAME:
        raise InvalidAddress(f"The name has at most {LONGEST_NAME} characters.")
    if not quoted and any(character in name for character in '"<>@,;:\\'):
        raise InvalidAddress('Put the name in double quotes, like "Shop, Ltd." <name@example.com>.')
    return name


def _refuse_url_parts(text: str) -> None:
    if _invisible(text):
        raise InvalidAddress("Remove spaces, line breaks and invisible characters from the host name.")
    if "://" in text:
        raise InvalidAddress("Enter only the host name, without https:// or smtp://.")
    if "@" in text:
        raise InvalidAddress("Enter only the host name, without a user name or an @.")
    if any(character in text for character in "/\\?#"):
        raise InvalidAddress("Enter only the host name, without a path.")
    if any(character in text for character in ",;"):
        raise InvalidAddress("Enter only one host name.")


def _ipv4(text: str) -> str:
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError:
        raise InvalidAddress("Write an IPv4 address as four numbers from 0 to 255, like 192.0.2.10.") from None


def _ipv6(text: str) -> str:
    if text.startswith("[") and text.endswith("]"):
        text = text[1:-1]
    elif "]:" in text or text.count(":") == 1:
        raise InvalidAddress("Enter only the host name. The port has its own field.")
    if "%" in text:
        raise InvalidAddress("Enter the IPv6 address without a zone (the part from %).")
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        raise InvalidAddress("This is not an IPv6 address. Write it like 2001:db8::25.") from None
    return str(address.ipv4_mapped or address)


def _a_labels(host: str) -> str:
    try:
        return ascii_domain(f"postmaster@{host}")
    except InvalidAddress:
        raise InvalidAddress("This is not a valid international host name. Check its spelling.") from None


def parse_name_server(text: str) -> tuple[str, int]:
    """Read ``192.0.2.53``, ``192.0.2.53:5353``, ``2001:db8::53`` or ``[2001:db8::53]:5353`` into (address, port).

    Raises InvalidAddress.
    """
    alone = text.removeprefix("[").removesuffix("]")
    if ip_literal(alone):
        return alone, DNS_PORT
    host, _, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    address = ip_literal(host[1:-1] if bracketed else host)
    well_formed = isinstance(address, ipaddress.IPv6Address) == bracketed and _PORT.fullmatch(port)
    if not address or not well_formed or int(port) > HIGHEST_PORT:
        raise InvalidAddress(
            "Enter the IP address of a DNS server, like 192.0.2.53, 192.0.2.53:53 or [2001:db8::53]:53."
        )
    return str(address), int(port)


def ip_literal(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the address that a host is by its very name, or None for a DNS name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


@lru_cache(maxsize=64)
def public_name(host: str) -> str | None:
    """A host in its normal form, if it looks like a name that others can know: with a dot, and by RFC 1123's letters.

    Whether the DNS knows it is not asked. An address, an underscore and a last label of local use are not public.
    """
    try:
        name = parse_host(host)
    except InvalidAddress:
        return None
    labels = name.split(".")
    is_public = len(labels) > 1 and "_" not in name and labels[-1] not in _LOCAL_LABELS
    return name if is_public and not ip_literal(name) else None


def is_loopback(host: str) -> bool:
    """Whether a host is this machine by its very name."""
    address = ip_literal(host)
    return host == "localhost" or (address is not None and address.is_loopback)

"""What a server with habits says: forms of replies, and the fates that an address or a message names."""

from typing import Final

from tests.faults.model.behaviour import Behaviour, Form

SPAM: Final = b"X-Fate: spam\r\n"
_LONG: Final = 2100  # octets, beyond what a client has to take
# What becomes of a recipient, by the beginning of the address; the first two are mended with the time.
GREY: Final = "grey"
FULL: Final = "full"
UNKNOWN: Final = "unknown"
FORBIDDEN: Final = "forbidden"
BYE: Final = "bye"
GONE: Final = "gone"
FOR_GOOD: Final = (UNKNOWN, FORBIDDEN, BYE, GONE)
_HOURS: Final = {GREY: 1, FULL: 2}
_REFUSALS: Final = {
    GREY: b"450 4.7.1 greylisted, try again later\r\n",
    FULL: b"452 4.2.2 mailbox full\r\n",
    UNKNOWN: b"550 5.1.1 no such user\r\n",
    FORBIDDEN: b"550 5.7.1 not to this one\r\n",
    BYE: b"421 4.3.0 not for this one\r\n",
    GONE: b"",
}


def fate_of(address: str) -> str:
    """The word for what becomes of this recipient; "ok" if it is taken."""
    return address.partition("-")[0]


def refusal_of(address: str, hour: int, first_asked: dict[str, int]) -> bytes | None:
    """What is said instead of yes to this recipient; nothing is said before the end, None if yes is said."""
    fate = fate_of(address)
    since = hour - first_asked.setdefault(address, hour)
    if fate not in _REFUSALS or (fate in _HOURS and since >= _HOURS[fate]):
        return None
    return _REFUSALS[fate]


def is_spam(content: bytes) -> bool:
    """Whether the message is refused for what it holds."""
    return SPAM in content.partition(b"\r\n\r\n")[0] + b"\r\n"


def line(code: int, text: str, form: Form | None = None) -> bytes:
    """A reply of one line."""
    match form:
        case Form.GLUED:
            said = f"{code}OK {text}"
        case Form.TAB:
            said = f"{code}\t{text}"
        case Form.BARE:
            said = f"{code}"
        case Form.LINES:
            said = f"{code}-{text}\r\n{code}-\r\n{code} {text}"
        case Form.LONG:
            said = f"{code} {text} " + "x" * _LONG
        case _:
            said = f"{code} {text}"
    return said.encode() + b"\r\n"


def yes(form: Form) -> bytes:
    """The answer to a message that was taken."""
    if form is Form.BROKEN:
        return b"250-2.0.0 ok\r\n\r\n250 2.0.0 queued\r\n"
    return line(250, "2.0.0 ok queued as M0001", form)


def hello(habits: Behaviour) -> bytes:
    """The answer to EHLO."""
    offers = ["model.test", "ENHANCEDSTATUSCODES"]
    offers += ["PIPELINING"] * habits.pipelining + ["CHUNKING"] * habits.chunking + ["8BITMIME"] * habits.eightbit
    offers += ["SIZE"] * (habits.size == 1) + [f"SIZE {habits.size}"] * (habits.size > 1)
    return b"".join(b"250-%b\r\n" % offer.encode() for offer in offers[:-1]) + b"250 %b\r\n" % offers[-1].encode()

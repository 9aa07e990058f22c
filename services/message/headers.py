"""Header fields as they stand on the wire: encoded-words, quoting, folding (RFC 5322, 2047).

Every function returns one field without its final CRLF. Text that could be read as an encoded-word
is itself encoded, so that nobody downstream decodes into it (CVE-2024-6923 and its kin).
"""

import binascii
import re
from collections.abc import Iterator, Sequence
from string import ascii_letters, digits
from typing import Final

from utils.addresses import CONTROLS

LINE: Final = 76  # RFC 2047 2 for lines with an encoded-word; RFC 5322 2.1.1 would allow 78
LONGEST_LINE: Final = 998  # RFC 5322 2.1.1
_LONGEST_WORD: Final = 75  # an encoded-word with its delimiters, RFC 2047 2
_FRAME: Final = len("=?utf-8?q??=")
_NARROWEST: Final = 36  # room for a first encoded-word even behind a long field name
_LONGEST_PIECE: Final = 900  # leaves room for the field name on the same line
_ROOM_IN_LIST: Final = LINE - len("Reply-To: ")

# A word with one space before it and all but one of those behind it. So a fold comes before the last space of a run:
# no line is white space alone, and whoever unfolds by dropping the CRLF, or by making one space of it, gets the text.
_PIECE: Final = re.compile(r"(?:^| )[^ ]+(?: +(?= ))?")
_ATOMS: Final = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?: [A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_ENCODED_WORD: Final = re.compile(r"=\?[^?\s]+\?[BbQq]\?[^?\s]*\?=")

_WORD_SAFE: Final = (ascii_letters + digits + "!*+-/").encode()  # RFC 2047 5 (3), the strictest place
_Q: Final = [chr(byte) if byte in _WORD_SAFE else f"={byte:02X}" for byte in range(256)]
_Q[ord(" ")] = "_"
_CONTINUATION: Final = "89AB"  # first hex digit of a UTF-8 continuation byte


def one_line(argument: str, text: str) -> str:
    """Let through text that may stand in a header; ValueError names the caller's argument."""
    if not isinstance(text, str):
        raise ValueError(f"{argument}: Pass text.")
    if CONTROLS.search(text):
        raise ValueError(f"{argument}: Remove line breaks and control characters.")
    return text


def unstructured(name: str, text: str) -> str:
    """Make a field of free text, such as Subject."""
    if _is_plain(text) and text.strip(" ") == text:
        if len(name) + len(text) + 2 <= LINE:
            return f"{name}: {text}"
        pieces = cut(text)
        if max(map(len, pieces)) <= _LONGEST_PIECE:
            return fold(name, pieces)
    return fold(name, _encoded_words(text, LINE - len(name) - 2))


def machine_read(name: str, text: str) -> str:
    """Make a field of ids or URLs (References, List-Unsubscribe): never encoded, folded at spaces.

    Raises ValueError if the text cannot stand there unencoded.
    """
    text = text.strip(" ")
    if not text.isascii() or _ENCODED_WORD.search(text):
        raise ValueError(f"The header {name} accepts plain ASCII only.")
    pieces = cut(text)
    if any(len(piece) > _LONGEST_PIECE for piece in pieces):
        raise ValueError(f"The header {name} has a part longer than {_LONGEST_PIECE} characters.")
    return fold(name, pieces)


def mailbox(name: str, display_name: str, address: str) -> str:
    """Make a field of one address with a display name, which may be empty."""
    pieces = _phrase(display_name.strip(" "), LINE - len(name) - 2)
    return fold(name, [*pieces, f" <{address}>"] if pieces else [address])


def named(display_name: str, address: str) -> str:
    """Make one of several mailboxes of a field, on one line, for ``address_list`` to fold."""
    phrase = "".join(_phrase(display_name.strip(" "), _ROOM_IN_LIST))
    return f"{phrase} <{address}>" if phrase else address


def address_list(name: str, mailboxes: Sequence[str]) -> str:
    """Make a field of mailboxes, each a bare address or what ``named`` gave."""
    if len(mailboxes) == 1 and len(name) + len(mailboxes[0]) + 2 <= LINE:
        return f"{name}: {mailboxes[0]}"
    return structured(name, ", ".join(mailboxes))


def structured(name: str, text: str) -> str:
    """Make a field of text that is as it should stand there, and may be folded at its spaces."""
    return fold(name, cut(text))


def cut(text: str) -> list[str]:
    """Text without outer spaces, cut where it may be folded."""
    return _PIECE.findall(text)


def _is_plain(text: str) -> bool:
    return text.isascii() and "=?" not in text


def _phrase(text: str, room: int) -> list[str]:
    if not _is_plain(text):
        return _encoded_words(text, room)
    if not _ATOMS.fullmatch(text):
        escaped = text.replace("\\", "\\\\").replace('"', '\\"')
        text = f'"{escaped}"' if text else ""
    return _PIECE.findall(text)


def fold(name: str, pieces: Sequence[str]) -> str:
    """Make a field of pieces, all but the first with a space before them, in lines as long as is usual."""
    lines = []
    line = f"{name}: {pieces[0].lstrip(' ')}" if pieces else f"{name}:"
    for piece in pieces[1:]:
        if len(line) + len(piece) > LINE:
            lines.append(line)
            line = piece
        else:
            line += piece
    return "\r\n".join([*lines, line])


def _encoded_words(text: str, room: int) -> list[str]:
    """Encode text, Q or B, whichever is shorter; ``room`` is what the first line has for its word."""
    data = text.encode("utf-8", "replace")
    quoted = "".join([_Q[byte] for byte in data])
    room = max(room, _NARROWEST)
    if len(quoted) <= (len(data) + 2) // 3 * 4:
        words = [f"=?utf-8?q?{part}?=" for part in _cut_quoted(quoted, room - _FRAME)]
    else:
        words = [f"=?utf-8?b?{_base64(part)}?=" for part in _cut_bytes(data, room - _FRAME)]
    return [word if number == 0 else f" {word}" for number, word in enumerate(words)]


def _base64(data: bytes) -> str:
    return binascii.b2a_base64(data, newline=False).decode("ascii")


def _cut_quoted(quoted: str, room: int) -> Iterator[str]:
    """Cut Q-encoded text between characters, never within an ``=XX`` or between two of one character."""
    start = 0
    while len(quoted) - start > room:
        end = start + room
        end -= 1 if quoted[end - 1] == "=" else 2 if quoted[end - 2] == "=" else 0
        while quoted[end] == "=" and quoted[end + 1] in _CONTINUATION:
            end -= 3
        yield quoted[start:end]
        start, room = end, _LONGEST_WORD - _FRAME
    yield quoted[start:]


def _cut_bytes(data: bytes, room: int) -> Iterator[bytes]:
    """Cut UTF-8 between characters so that the base64 of each part fits into ``room``."""
    start, size = 0, room // 4 * 3
    while len(data) - start > size:
        end = start + size
        while data[end] & 0xC0 == 0x80:  # noqa: PLR2004 - a UTF-8 continuation byte, RFC 3629 3
            end -= 1
        yield data[start:end]
        start, size = end, (_LONGEST_WORD - _FRAME) // 4 * 3
    yield data[start:]

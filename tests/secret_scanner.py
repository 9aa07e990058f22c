"""Finds secrets in bytes, in whatever encoding they got there.

What depends on neighbouring octets (base64) or keeps the secret in one piece is searched for as it is; the data
is also read through every decoding, twice over, so that a token in JSON in a URL in a gzip stream is found too.
"""

import base64
import binascii
import hmac
import html
import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_to_bytes

SHORTEST: Final = 8  # octets; shorter ones stand in any file by chance
_DEPTH: Final = 2
_MOST_UNPACKED: Final = 1 << 22  # octets of one compressed stream

_BASE64: Final = re.compile(rb"[A-Za-z0-9+/_-]{12,}")
_STREAM: Final = re.compile(rb"\x1f\x8b\x08|\x78[\x01\x5e\x9c\xda]")
_ESCAPE: Final = re.compile(
    rb"(?P<utf16>(?:\\u[0-9a-fA-F]{4})+)|\\U(?P<code>[0-9a-fA-F]{8})|\\x(?P<octet>[0-9a-fA-F]{2})"
    rb"|\\(?P<sign>[\\\"'/])"
)


@dataclass(frozen=True)
class Piece:
    """Something to search: ``place`` is the kind of place, ``detail`` where exactly."""

    place: str
    detail: str
    content: bytes


def found_in(data: bytes, secrets: Mapping[str, Iterable[str]]) -> set[str]:
    """The names of the secrets that stand in ``data``; each name may have several values."""
    return _Needles(secrets).found_in(data)


def search(pieces: Iterable[Piece], secrets: Mapping[str, Iterable[str]]) -> dict[tuple[str, str], list[str]]:
    """Where each secret was found: (name, place) with the details of the pieces."""
    needles = _Needles(secrets)
    result: dict[tuple[str, str], list[str]] = {}
    for piece in pieces:
        for name in needles.found_in(piece.content):
            result.setdefault((name, piece.place), []).append(piece.detail)
    return result


def forms(secret: str) -> set[bytes]:
    """The octets that give a secret away: raw, UTF-16, hex, base64 at each alignment in both alphabets.

    Raises ValueError for a secret that is too short to be told from chance.
    """
    raw = secret.encode()
    if len(raw) < SHORTEST:
        raise ValueError("This secret is too short to search for.")
    found = {raw, secret.encode("utf-16-le"), secret.encode("utf-16-be")}
    found |= {raw.hex().encode(), raw.hex().upper().encode()}
    for shift in range(3):
        # Six bits a character: those that neighbours share are left out.
        start, end = -(-shift * 8 // 6), (shift + len(raw)) * 8 // 6
        found |= {encode(bytes(shift) + raw)[start:end] for encode in (base64.b64encode, base64.urlsafe_b64encode)}
    return found


def cram_md5_answer(username: str, password: str, challenge: bytes) -> str:
    """What CRAM-MD5 (RFC 2195) says for a password: a secret too, since the password can be guessed from it."""
    return f"{username} {hmac.new(password.encode(), challenge, 'md5').hexdigest()}"


class _Needles:
    """What to search for. A line that holds none is not searched again: pages and databases are alike in most lines."""

    def __init__(self, secrets: Mapping[str, Iterable[str]]) -> None:
        self._forms = {name: [form for value in values for form in forms(value)] for name, values in secrets.items()}
        if any(b"\n" in form for known in self._forms.values() for form in known):
            raise ValueError("A secret of several lines cannot be searched for.")
        self._clean: set[bytes] = set()

    def found_in(self, data: bytes) -> set[str]:
        found: set[str] = set()
        for view in _views(data):
            lines = set(view.split(b"\n")) - self._clean
            here = self._names_in(b"\n".join(lines), self._forms)
            self._clean |= {line for line in lines if not self._names_in(line, here)} if here else lines
            found |= here
        return found

    def _names_in(self, text: bytes, names: Iterable[str]) -> set[str]:
        return {name for name in names if any(map(text.__contains__, self._forms[name]))}


def _views(data: bytes) -> Iterator[bytes]:
    """The data, and the data decoded in each way, and those once more; nothing twice."""
    level, seen = [data], {data}
    yield data
    for _ in range(_DEPTH):
        level = [view for before in level for decode in _DECODINGS for view in [decode(before)] if view not in seen]
        level = list(dict.fromkeys(level))
        seen.update(level)
        yield from level


def _unfolded(data: bytes) -> bytes:
    return re.sub(rb"\r?\n[ \t]*", b"", data)


def _form_decoded(data: bytes) -> bytes:
    return unquote_to_bytes(data.replace(b"+", b" ")) if b"%" in data or b"+" in data else data


def _html_unescaped(data: bytes) -> bytes:
    if b"&" not in data:
        return data
    return html.unescape(data.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")


def _as_characters(match: re.Match[bytes]) -> bytes:
    r"""``\u00fc`` of JSON, ``\xfc`` of a text's repr."""
    if match["utf16"]:
        return str(json.loads(b'"' + match["utf16"] + b'"')).encode("utf-8", "surrogatepass")
    if match["code"]:
        number = int(match["code"], 16)
        return chr(number).encode("utf-8", "surrogatepass") if number < 0x110000 else match[0]
    return chr(int(match["octet"], 16)).encode() if match["octet"] else match["sign"]


def _as_octets(match: re.Match[bytes]) -> bytes:
    r"""``\xc3\xbc`` of the repr of bytes."""
    return bytes.fromhex(match["octet"].decode()) if match["octet"] else match["sign"] or match[0]


def _base64_decoded(data: bytes) -> bytes:
    """Every run that could be base64, decoded; with what it holds compressed unpacked."""

    def decoded(match: re.Match[bytes]) -> bytes:
        run = match[0].translate(bytes.maketrans(b"-_", b"+/"))
        return base64.b64decode(run[: len(run) // 4 * 4] if len(run) % 4 == 1 else run + b"=" * (-len(run) % 4))

    return b"\n".join(map(decoded, _BASE64.finditer(data)))


def _unpacked(data: bytes) -> bytes:
    """What the zlib and gzip streams in the data hold, one after the other."""
    texts = []
    for match in _STREAM.finditer(data):
        try:
            texts.append(zlib.decompressobj(wbits=47).decompress(data[match.start() :], _MOST_UNPACKED))
        except zlib.error:
            continue
    return b"\n".join(texts)


_DECODINGS: Final[tuple[Callable[[bytes], bytes], ...]] = (
    _unfolded,
    unquote_to_bytes,
    _form_decoded,
    _html_unescaped,
    lambda data: _ESCAPE.sub(_as_characters, data),
    lambda data: _ESCAPE.sub(_as_octets, data),
    binascii.a2b_qp,
    lambda data: binascii.a2b_qp(data, header=True),
    _base64_decoded,
    _unpacked,
)

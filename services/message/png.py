"""A PNG file as it may go into mail: read whole, and written anew with nothing but its picture (ISO/IEC 15948).

There is no library for pictures here. Every chunk is checked, and the pixels are unpacked and packed again, so that no
text, no place where a photograph was taken, no second file and no animation comes along.
"""

import re
import struct
import zlib
from collections.abc import Iterator
from typing import Final, NamedTuple

LARGEST: Final = 90 * 1024  # octets of a file: each email carries it, and so does one call of the API in base64
LONGEST_SIDE: Final = 2000  # pixels
MOST_PIXELS: Final = 1_000_000
_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_TYPE: Final = re.compile(rb"[A-Za-z]{4}")
_SAMPLES: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of each pixel, by colour type
_DEPTHS: Final = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_PALETTE: Final = 3
_COLOURED: Final = (2, 3, 6)  # types that may have a palette
_ADAM7: Final = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
_ANIMATED: Final = (b"acTL", b"fcTL", b"fdAT")
_KEPT: Final = {b"tRNS": 256, b"gAMA": 4, b"sRGB": 1}  # beside the picture itself, each with its most octets
_LAST_FILTER: Final = 4
_CHUNK_FRAME: Final = 12  # octets of a chunk around its data

EMPTY: Final = "The file is empty."
TOO_LARGE: Final = f"The file is larger than {LARGEST // 1024} KB. Save the logo smaller."
NO_PNG: Final = "This is not a PNG file. Save the logo as PNG."
DAMAGED: Final = "This PNG file is damaged. Save the logo as PNG again."
TRAILING: Final = "Something comes after the picture in this file. Save the logo as PNG again."
ANIMATED: Final = "This PNG is animated. Use one picture."
TOO_MANY_PIXELS: Final = (
    f"The picture is too large. Use at most {LONGEST_SIDE} pixels each way, and {MOST_PIXELS:,} pixels in all."
)


class CleanPng(NamedTuple):
    """A file that holds one picture and nothing else."""

    octets: bytes
    width: int
    height: int


class _Header(NamedTuple):
    width: int
    height: int
    depth: int
    colour: int
    is_interlaced: bool

    @property
    def row_lengths(self) -> Iterator[int]:
        """The octets of each row of pixels as they are packed, with the one that says how it is filtered."""
        bits = self.depth * _SAMPLES[self.colour]
        passes = _ADAM7 if self.is_interlaced else ((0, 0, 1, 1),)
        for left, top, across, down in passes:
            columns = (self.width - left + across - 1) // across
            rows = (self.height - top + down - 1) // down
            if columns > 0:
                yield from (1 + (columns * bits + 7) // 8 for _ in range(max(rows, 0)))


def clean(file: bytes) -> CleanPng:
    """The picture of a file, written anew. Raises ValueError, with what is wrong and what to do."""
    if not file:
        raise ValueError(EMPTY)
    if len(file) > LARGEST:
        raise ValueError(TOO_LARGE)
    if not file.startswith(_SIGNATURE):
        raise ValueError(NO_PNG)
    chunks = list(_chunks(file))
    header = _header(chunks)
    pixels = _pixels(chunks, header)
    kept = [_written(kind, data) for kind, data in _beside(chunks, header)]
    octets = b"".join(
        (_SIGNATURE, _written(*chunks[0]), *kept, _written(b"IDAT", zlib.compress(pixels, 9)), _written(b"IEND", b""))
    )
    if len(octets) > LARGEST:  # it was packed by something better than zlib
        raise ValueError(TOO_LARGE)
    return CleanPng(octets, header.width, header.height)


def _chunks(file: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Each chunk with its data, up to the last one, which is the end of the file."""
    at = len(_SIGNATURE)
    while at + _CHUNK_FRAME <= len(file):
        (length,) = struct.unpack_from(">I", file, at)
        kind, data = file[at + 4 : at + 8], file[at + 8 : at + 8 + length]
        at += _CHUNK_FRAME + length
        if at > len(file) or not _TYPE.fullmatch(kind):
            raise ValueError(DAMAGED)
        if struct.unpack_from(">I", file, at - 4)[0] != zlib.crc32(kind + data):
            raise ValueError(DAMAGED)
        if kind in _ANIMATED:
            raise ValueError(ANIMATED)
        yield kind, data
        if kind == b"IEND":
            if at != len(file):
                raise ValueError(TRAILING)
            if data:
                raise ValueError(DAMAGED)
            return
    raise ValueError(DAMAGED)


def _header(chunks: list[tuple[bytes, bytes]]) -> _Header:
    kind, data = chunks[0]
    if kind != b"IHDR" or len(data) != struct.calcsize(">IIBBBBB"):
        raise ValueError(DAMAGED)
    width, height, depth, colour, packing, filtering, interlace = struct.unpack(">IIBBBBB", data)
    if not width or not height or depth not in _DEPTHS.get(colour, ()) or packing or filtering or interlace > 1:
        raise ValueError(DAMAGED)
    if max(width, height) > LONGEST_SIDE or width * height > MOST_PIXELS:
        raise ValueError(TOO_MANY_PIXELS)
    return _Header(width, height, depth, colour, bool(interlace))


def _pixels(chunks: list[tuple[bytes, bytes]], header: _Header) -> bytes:
    """What the picture unpacks to, exactly as much as its header says; no more is unpacked, whatever is packed."""
    places = [place for place, (kind, _) in enumerate(chunks) if kind == b"IDAT"]
    if not places or places != list(range(places[0], places[-1] + 1)):
        raise ValueError(DAMAGED)
    rows = list(header.row_lengths)
    unpacker = zlib.decompressobj()
    try:
        pixels = unpacker.decompress(b"".join(chunks[place][1] for place in places), sum(rows) + 1)
    except zlib.error:
        raise ValueError(DAMAGED) from None
    if unpacker.unused_data:
        raise ValueError(TRAILING)
    if not unpacker.eof or len(pixels) != sum(rows):
        raise ValueError(DAMAGED)
    at = 0
    for length in rows:
        if pixels[at] > _LAST_FILTER:
            raise ValueError(DAMAGED)
        at += length
    return pixels


def _beside(chunks: list[tuple[bytes, bytes]], header: _Header) -> Iterator[tuple[bytes, bytes]]:
    """What else the picture needs: its palette, what is transparent, how bright it is. The rest is left out."""
    seen: set[bytes] = set()
    for kind, data in chunks[1:]:
        if kind in (b"IDAT", b"IEND"):
            continue
        is_needed = not kind[0] & 0x20  # a reader that does not know it could not show the picture
        if (is_needed and kind != b"PLTE") or (kind in seen and kind in (b"PLTE", *_KEPT)):
            raise ValueError(DAMAGED)
        seen.add(kind)
        if kind == b"PLTE":
            if header.colour not in _COLOURED or not data or len(data) % 3 or len(data) > 3 * 256:
                raise ValueError(DAMAGED)
            if header.colour == _PALETTE and len(data) > 3 * 2**header.depth:
                raise ValueError(DAMAGED)
        elif len(data) > _KEPT.get(kind, 0):
            if kind in _KEPT:
                raise ValueError(DAMAGED)
            continue
        if kind in (b"PLTE", *_KEPT):
            yield kind, data
    if header.colour == _PALETTE and b"PLTE" not in seen:
        raise ValueError(DAMAGED)


def _written(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

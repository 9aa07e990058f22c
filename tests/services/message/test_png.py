"""A logo: one picture, by its octets and not by its name, and nothing else in the file."""

import io
import random
import struct
import zlib
from typing import Final

import pytest

from services.message import png
from services.message.png import ANIMATED, DAMAGED, EMPTY, NO_PNG, TOO_LARGE, TOO_MANY_PIXELS, TRAILING, clean

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"


def chunk(kind: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def header(width: int = 2, height: int = 3, depth: int = 8, colour: int = 2, interlace: int = 0) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace))


PIXELS: Final = b"".join(b"\0" + bytes(range(6)) for _ in range(3))
DATA: Final = chunk(b"IDAT", zlib.compress(PIXELS))
END: Final = chunk(b"IEND")
GOOD: Final = SIGNATURE + header() + DATA + END


def with_more(*more: bytes) -> bytes:
    return SIGNATURE + header() + b"".join(more) + DATA + END


REFUSED: Final = {
    "nothing": (b"", EMPTY),
    "5 MB": (GOOD + b"\0" * 5_000_000, TOO_LARGE),
    "an SVG with a script": (b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>', NO_PNG),
    "a GIF": (b"GIF89a" + bytes(40), NO_PNG),
    "a JPEG": (b"\xff\xd8\xff\xe0" + bytes(40), NO_PNG),
    "HTML before": (b"<html>" + GOOD, NO_PNG),
    "HTML behind": (GOOD + b"<script>alert(1)</script>", TRAILING),
    "an archive behind": (GOOD + b"PK\x05\x06" + bytes(18), TRAILING),
    "an octet behind": (GOOD + b"\0", TRAILING),
    "HTML behind the packed pixels": (
        SIGNATURE + header() + chunk(b"IDAT", zlib.compress(PIXELS) + b"<script>") + END,
        TRAILING,
    ),
    "HTML in the end": (SIGNATURE + header() + DATA + chunk(b"IEND", b"<script>"), DAMAGED),
    "an animation": (with_more(chunk(b"acTL", struct.pack(">II", 2, 0))), ANIMATED),
    "the signature alone": (SIGNATURE, DAMAGED),
    "no pixels": (SIGNATURE + header() + END, DAMAGED),
    "no end": (GOOD[: -len(END)], DAMAGED),
    "half": (GOOD[: len(GOOD) // 2], DAMAGED),
    "a wrong sum": (GOOD[:-1] + b"\0", DAMAGED),
    "a header that is not first": (SIGNATURE + chunk(b"tEXt") + header() + DATA + END, DAMAGED),
    "two headers": (with_more(header()), DAMAGED),
    "no width": (SIGNATURE + header(width=0) + DATA + END, DAMAGED),
    "an odd depth": (SIGNATURE + header(depth=3) + DATA + END, DAMAGED),
    "an odd colour type": (SIGNATURE + header(colour=5) + DATA + END, DAMAGED),
    "colours without a palette": (SIGNATURE + header(colour=3) + DATA + END, DAMAGED),
    "an odd palette": (with_more(chunk(b"PLTE", b"xx")), DAMAGED),
    "what no one knows and must": (with_more(chunk(b"ABCD")), DAMAGED),
    "an odd name of a chunk": (with_more(chunk(b"a<>d")), DAMAGED),
    "too few pixels": (SIGNATURE + header(height=4) + DATA + END, DAMAGED),
    "too many pixels in it": (SIGNATURE + header(height=2) + DATA + END, DAMAGED),
    "an odd filter": (SIGNATURE + header() + chunk(b"IDAT", zlib.compress(b"\5" + PIXELS[1:])) + END, DAMAGED),
    "pixels in two places": (SIGNATURE + header() + DATA + chunk(b"tEXt") + DATA + END, DAMAGED),
    "a wide bomb": (SIGNATURE + header(width=2**31 - 1, height=2**31 - 1) + DATA + END, TOO_MANY_PIXELS),
    "a large one": (SIGNATURE + header(width=2000, height=2000) + DATA + END, TOO_MANY_PIXELS),
    "a packed bomb": (SIGNATURE + header() + chunk(b"IDAT", zlib.compress(bytes(50_000_000), 9)) + END, DAMAGED),
    "a length out of the file": (SIGNATURE + struct.pack(">I", 2**32 - 1) + b"IHDR" + bytes(40), DAMAGED),
}  # fmt: skip


def test_whatever_is_no_single_picture_is_refused_in_words() -> None:
    found = {}
    for kind, (file, _) in REFUSED.items():
        with pytest.raises(ValueError) as refused:
            clean(file)
        found[kind] = str(refused.value)
    assert found == {kind: told for kind, (_, told) in REFUSED.items()}


def test_nothing_but_the_picture_stays() -> None:
    told = [chunk(kind, b"<script>secret</script>") for kind in (b"tEXt", b"iTXt", b"zTXt", b"eXIf", b"iCCP", b"prVt")]
    file = with_more(*told, chunk(b"gAMA", struct.pack(">I", 45455)), chunk(b"tIME", bytes(7)))
    picture = clean(file)
    assert (picture.width, picture.height) == (2, 3)
    assert b"script" not in picture.octets
    assert picture.octets.startswith(SIGNATURE + header() + chunk(b"gAMA", struct.pack(">I", 45455)) + b"\0\0\0")
    assert clean(picture.octets) == picture


def test_every_kind_of_picture_is_taken_as_it_was() -> None:
    kinds = [
        (depth, colour, interlace) for colour, all_of in png._DEPTHS.items() for depth in all_of for interlace in (0, 1)
    ]
    for depth, colour, interlace in kinds:
        for width, height in ((1, 1), (3, 5), (9, 8)):
            known = png._Header(width, height, depth, colour, bool(interlace))
            pixels = b"".join(b"\1" + random.randbytes(length - 1) for length in known.row_lengths)
            palette = chunk(b"PLTE", bytes(3 * 2**depth)) if colour == 3 else b""
            file = SIGNATURE + header(width, height, depth, colour, interlace) + palette
            packed = zlib.compress(pixels)
            file += chunk(b"IDAT", packed[:5]) + chunk(b"IDAT", packed[5:]) + END
            picture = clean(file)
            assert zlib.decompress(picture.octets.partition(b"IDAT")[2][:-16]) == pixels


def test_no_damage_of_one_octet_is_taken_or_crashes() -> None:
    for at in range(len(GOOD)):
        damaged = bytearray(GOOD)
        damaged[at] ^= 0x55
        with pytest.raises(ValueError):
            clean(bytes(io.BytesIO(damaged).read()))

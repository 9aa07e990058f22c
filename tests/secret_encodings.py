"""The encodings in which a secret gets into logs, pages and files: the positive control of the scanner."""

import base64
import gzip
import html
import json
import quopri
import zlib
from collections.abc import Callable
from email.charset import QP, Charset
from email.header import Header
from typing import Final
from urllib.parse import quote, quote_plus

from tests.secret_scanner import cram_md5_answer

USERNAME: Final = "mailer"
CHALLENGE: Final = b"<1896.697170952@scripted.test>"  # of tests.scripted_server
_TEXT_AROUND: Final = "Somebody typed {} and pressed Enter."


def _q_encoded(secret: str) -> bytes:
    charset = Charset("utf-8")
    charset.header_encoding = QP
    return Header(secret, charset, maxlinelen=10_000).encode().encode()


# Each of them gives one printable line.
SPEAKABLE: Final[dict[str, Callable[[str], bytes]]] = {
    "raw": str.encode,
    "base64, first alignment": lambda secret: base64.b64encode(secret.encode()),
    "base64, second alignment": lambda secret: base64.b64encode(b"1" + secret.encode() + b"!!"),
    "base64, third alignment": lambda secret: base64.b64encode(b"22" + secret.encode() + b"!"),
    "URL-safe base64, first alignment": lambda secret: base64.urlsafe_b64encode(secret.encode()),
    "URL-safe base64, second alignment": lambda secret: base64.urlsafe_b64encode(b"1" + secret.encode() + b"!!"),
    "URL-safe base64, third alignment": lambda secret: base64.urlsafe_b64encode(b"22" + secret.encode() + b"!"),
    "AUTH PLAIN": lambda secret: base64.b64encode(f"\0{USERNAME}\0{secret}".encode()),
    "hex": lambda secret: secret.encode().hex().encode(),
    "hex in capitals": lambda secret: secret.encode().hex().upper().encode(),
    "URL-quoted": lambda secret: quote(secret, safe="").encode(),
    "URL-quoted like a path": lambda secret: quote(secret).encode(),
    "form-encoded": lambda secret: quote_plus(secret).encode(),
    "JSON": lambda secret: json.dumps(secret).encode(),
    "HTML-escaped": lambda secret: html.escape(secret).encode(),
    "repr": lambda secret: repr(secret).encode(),
    "repr in ASCII": lambda secret: ascii(secret).encode(),
    "repr of bytes": lambda secret: repr(secret.encode()).encode(),
}
ENCODINGS: Final[dict[str, Callable[[str], bytes]]] = SPEAKABLE | {
    "HTML-escaped by number": lambda secret: "".join(f"&#{ord(character)};" for character in secret).encode(),
    "RFC 2047": _q_encoded,
    "UTF-16LE": lambda secret: secret.encode("utf-16-le"),
    "UTF-16BE": lambda secret: secret.encode("utf-16-be"),
    "base64 in lines": lambda secret: base64.encodebytes(_TEXT_AROUND.format(secret * 3).encode()),
    "quoted-printable": lambda secret: quopri.encodestring(_TEXT_AROUND.format(secret).encode() * 2),
    "CRAM-MD5": lambda secret: base64.b64encode(cram_md5_answer(USERNAME, secret, CHALLENGE).encode()),
    "JSON in JSON": lambda secret: json.dumps(json.dumps({"password": secret})).encode(),
    "JSON in HTML": lambda secret: html.escape(json.dumps({"password": secret})).encode(),
    "JSON in a URL": lambda secret: quote(json.dumps({"password": secret})).encode(),
    "zlib": lambda secret: zlib.compress(_TEXT_AROUND.format(secret).encode()),
    "gzip": lambda secret: gzip.compress(_TEXT_AROUND.format(secret).encode()),
    "zlib in base64": lambda secret: base64.urlsafe_b64encode(zlib.compress(secret.encode() * 2)).rstrip(b"="),
}

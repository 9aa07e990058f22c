"""What a part is for and what its file is called: Content-Disposition (RFC 2183) with names by RFC 2231."""

import re
import unicodedata
from string import ascii_letters, digits
from typing import Final

_LONGEST_PARAMETER: Final = 60
_LONGEST_ENDING: Final = 12  # of a file name, with its dot
_NAMELESS: Final = "file"
_PLAIN: Final = re.compile(r"[A-Za-z0-9 !#$&'()+,.;=@^_`{}~\[\]-]+")
_OTHERS: Final = re.compile(r"[^A-Za-z0-9 !#$&'()+,.=@^_`{}~-]+")
_ATTR_CHAR: Final = (ascii_letters + digits + "!#$&+-.^_`{|}~").encode()  # RFC 5987 3.2.1
_PERCENT: Final = [chr(byte) if byte in _ATTR_CHAR else f"%{byte:02X}" for byte in range(256)]


def attachment(filename: str) -> str:
    return _disposition("attachment", filename)


def inline(filename: str) -> str:
    return _disposition("inline", filename)


def _disposition(kind: str, filename: str) -> str:
    """The field, without its final CRLF.

    A name that needs RFC 2231 stands there twice, once in plain ASCII for readers that do not know it. Ours comes
    first: those that know both take it wherever it stands, those that take the first of a name (Python's) take it so.
    """
    field = f"Content-Disposition: {kind};"
    if len(filename) <= _LONGEST_PARAMETER and _PLAIN.fullmatch(filename):
        return f'{field}\r\n filename="{filename}"'
    return ";\r\n".join([field[:-1], *_extended(filename), f' filename="{plain_name(filename)}"'])


def _extended(filename: str) -> list[str]:
    units = [_PERCENT[byte] for byte in filename.encode("utf-8", "replace")]
    sections = [f"utf-8''{units[0]}"]
    for unit in units[1:]:
        if len(sections[-1]) + len(unit) > _LONGEST_PARAMETER:
            sections.append(unit)
        else:
            sections[-1] += unit
    if len(sections) == 1:
        return [f" filename*={sections[0]}"]
    return [f" filename*{number}*={section}" for number, section in enumerate(sections)]


def plain_name(filename: str) -> str:
    """A name in ASCII that is as near as can be, and ends in the same way: that says what opens the file."""
    stem, dot, ending = filename.rpartition(".")
    if not stem or len(ending) >= _LONGEST_ENDING or not ending.isalnum() or not ending.isascii():
        stem, dot, ending = filename, "", ""
    stem = _OTHERS.sub("_", _without_marks(stem)).strip(" ")
    if not any(map(str.isalnum, stem)):
        stem = _NAMELESS
    return f"{stem[: _LONGEST_PARAMETER - len(dot + ending)]}{dot}{ending}"


def _without_marks(text: str) -> str:
    """``März`` as ``Marz``."""
    parts = unicodedata.normalize("NFKD", text)
    return "".join(part for part in parts if not unicodedata.combining(part))

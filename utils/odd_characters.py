"""Characters that look right and are not: what comes along when a user name or password is copied or corrected.

Nothing is ever changed by itself, since all of them may be meant; and 0 and O are never taken for each other.
"""

from collections.abc import Iterator
from typing import Final

_SPACES: Final = {
    " ": "a space", "\t": "a tab", "\n": "a line break", "\r": "a line break", "\v": "a line break",
    "\f": "a line break", "\x85": "a line break", "\u2028": "a line break", "\u2029": "a line break",
    "\xa0": "a no-break space", "\u202f": "a no-break space", "\u3000": "a wide space",
    **dict.fromkeys("\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u205f", "a wide space"),
}  # fmt: skip
_UNSEEN: Final = (
    "\xad\u180e\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"
    "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)  # fmt: skip
_FULL_WIDTH: Final = {chr(code): chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}
_CURLY: Final = {**dict.fromkeys("\u2018\u2019\u201a\u201b", "'"), **dict.fromkeys("\u201c\u201d\u201e\u201f", '"')}
_DASHES: Final = dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212", "-")

EDGES: Final = "".join(_SPACES) + _UNSEEN  # not wanted at either end
PLAIN: Final = {  # what stands elsewhere, and what is usually meant by it
    **{odd: " " for odd in _SPACES if odd != " "},
    **dict.fromkeys(_UNSEEN, ""), **_FULL_WIDTH, **_CURLY, **_DASHES,
}  # fmt: skip
_UNSEEN_NAME: Final = "an invisible character"
_KINDS: Final = (
    (frozenset(_UNSEEN), _UNSEEN_NAME),
    (frozenset(_CURLY), "a curly quote"),
    (frozenset(_FULL_WIDTH), "a full-width letter"),
    (frozenset(_DASHES), "a long dash"),
)


def told_of(subject: str, text: str) -> str:
    """A sentence that says what is odd in a text, like "The password ends with a space."; "" if nothing is.

    ``subject`` begins it. Nothing of the text is repeated.
    """
    parts = list(_parts(text))
    return f"{subject} {', '.join(parts[:-1])}{' and ' if parts[1:] else ''}{parts[-1]}." if parts else ""


def way_out(text: str) -> str:
    """How a text that has something odd would be tried again, to stand behind its name: "without the space"."""
    core = text.strip(EDGES)
    inside = {_name(letter) for letter in core if PLAIN.get(letter)}
    gone = {_name(letter) for letter in (*text[: text.index(core)], *text[text.index(core) + len(core) :])}
    gone |= {_name(letter) for letter in core if PLAIN.get(letter) == ""}
    if len(gone) > 1 or (gone and inside):
        return "without these characters"
    if gone:
        return f"without the {gone.pop().partition(' ')[2]}"
    return "with plain characters instead"


def plain(text: str) -> str:
    """The text as it was probably meant."""
    return "".join(PLAIN.get(letter, letter) for letter in text.strip(EDGES))


def _parts(text: str) -> Iterator[str]:
    core = text.strip(EDGES)
    if not core:
        if text:
            yield f"is nothing but {_name(text[0])}"
        return
    start = text.index(core)
    if start:
        yield f"starts with {_name(text[0])}"
    if text[start + len(core) :]:
        yield f"ends with {_name(text[-1])}"
    inside = {_name(letter) for letter in core if letter in PLAIN}
    if inside:
        yield f"contains {' and '.join(sorted(inside))}"


def _name(letter: str) -> str:
    return _SPACES.get(letter) or next(name for letters, name in _KINDS if letter in letters)

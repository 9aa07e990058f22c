"""Values as the syntaxes of configuration files hold them: whatever is in one, it reads back the same.

Values have no control characters: names, addresses and tokens are checked for them where they are entered.
"""

import json
import re
import shlex
from collections.abc import Callable, Mapping
from typing import Final

_BARE: Final = re.compile(r"[\w@%+=:,./-]+", re.ASCII)


def _ini(text: str) -> str:
    """As go-ini reads it, where a bare value ends at # or ;."""
    return f'"""{text}"""' if "`" in text else f"`{text}`"


def _env(text: str) -> str:
    """As Compose, dotenv and systemd read a line. Bare where that is possible, since ``docker --env-file`` and some
    others take a quotation mark for a part of the value.
    """
    if _BARE.fullmatch(text):
        return text
    if "'" not in text and "\\" not in text:
        return f"'{text}'"
    return '"' + re.sub(r'([\\"$])', r"\\\1", text) + '"'


def _single(text: str) -> str:
    """In PHP and Ruby: between single quotes nothing but these two has a meaning."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _json(text: str) -> str:
    """A string of JSON is one of YAML, JavaScript and Python, too."""
    return json.dumps(text, ensure_ascii=False)


def _as_it_is(text: str) -> str:
    return text


SYNTAXES: Final[Mapping[str, Callable[[str], str]]] = {
    "ini": _ini,
    "env": _env,
    "shell": shlex.quote,
    "php": _single,
    "ruby": _single,
    "yaml": _json,
    "javascript": _json,
    "python": _json,
    "fields": _as_it_is,
    "conf": _as_it_is,  # of sealpost-sendmail: all behind the first equals sign
}

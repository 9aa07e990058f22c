"""An SMTP server that signs in by token, strictly, and refuses as Google does, or as Microsoft does."""

import base64
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from tests import certificates
from tests.sasl_answers import say
from tests.scripted_server import Answer, Connection, ScriptedServer

WELCOME: Final = "235 2.7.0 Accepted"
SYNTAX: Final = "501 5.5.2 Cannot decode"
REFUSED: Final = {
    "google": "535-5.7.8 Username and Password not accepted. For more information, go to\n"
    "535 5.7.8  https://support.google.com/mail/?p=BadCredentials 5b1f17b1804b1-4 - gsmtp",
    "microsoft": "535 5.7.3 Authentication unsuccessful [AM0PR05CA0074.eurprd05.prod.outlook.com]",
}
GOOGLE_SAYS: Final = {"status": "400", "schemes": "Bearer", "scope": "https://mail.google.com/"}
LONGEST_LINE: Final = 512  # octets with CRLF, of a command (RFC 4954 4)
_XOAUTH2: Final = re.compile("user=([^\1]*)\1auth=Bearer ([^\1]+)\1\1")
_OAUTHBEARER: Final = re.compile("n,a=([^,\1]*),\1host=([^\1]+)\1port=([0-9]+)\1auth=Bearer ([^\1]+)\1\1")


@dataclass
class BearerSide:
    """The server's side of AUTH. ``grants`` has the mailboxes for which each token is good; ``dialect`` is who refuses.

    ``said`` are the tokens that came, ``blobs`` what they came in, ``nothings`` what answered a refusal, as it came.
    """

    grants: Mapping[str, set[str]]
    dialect: str = "google"
    tokens: list[str] = field(default_factory=list)
    blobs: list[str] = field(default_factory=list)
    nothings: list[str] = field(default_factory=list)
    places: list[tuple[str, int]] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)  # how many each sign-in took until the token was there

    def __call__(self, connection: Connection) -> None:
        _, mechanism, *initial = connection.command.split(" ")
        if len(connection.command) + 2 > LONGEST_LINE:
            say(connection, "500 5.5.6 Line too long")
            return
        self.steps.append(1 if initial else 2)
        blob = initial[0] if initial else _asked(connection, "334 ")
        self.blobs.append(blob)
        found = self._read(mechanism, base64.b64decode(blob, validate=True).decode())
        if found is None:
            say(connection, SYNTAX)
            return
        user, token = found
        self.tokens.append(token)
        if user in self.grants.get(token, ()):
            say(connection, WELCOME)
        elif self.dialect == "microsoft":
            say(connection, REFUSED["microsoft"])
        else:
            self._refuse(connection, mechanism)

    def _read(self, mechanism: str, text: str) -> tuple[str, str] | None:
        if mechanism == "XOAUTH2":
            found = _XOAUTH2.fullmatch(text)
            return (found[1], found[2]) if found else None
        found = _OAUTHBEARER.fullmatch(text)
        if not found:
            return None
        self.places.append((found[2], int(found[3])))
        return found[1].replace("=2C", ",").replace("=3D", "="), found[4]

    def _refuse(self, connection: Connection, mechanism: str) -> None:
        told = base64.b64encode(json.dumps(GOOGLE_SAYS).encode()).decode()
        self.nothings.append(_asked(connection, f"334 {told}"))
        is_right = self.nothings[-1] == ("" if mechanism == "XOAUTH2" else "AQ==")
        for line in (REFUSED["google"] if is_right else SYNTAX).split("\n"):
            say(connection, line)


def _asked(connection: Connection, challenge: str) -> str:
    say(connection, challenge)
    line = connection.line().decode().rstrip("\r\n")
    connection.server.commands.append(line)
    return line


@contextmanager
def bearer_server(side: BearerSide, mechanisms: str = "LOGIN PLAIN XOAUTH2 OAUTHBEARER") -> Iterator[ScriptedServer]:
    """The server, with TLS from the start."""
    script: dict[str, Answer | list[Answer]] = {
        "EHLO": f"250-scripted.test\n250-8BITMIME\n250 AUTH {mechanisms}",
        "AUTH": side,
    }
    with ScriptedServer(script, tls=certificates.good_context(), implicit=True) as server:
        yield server

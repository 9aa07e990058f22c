"""Servers' sides of the login mechanisms, for the scripted server."""

import base64
import hashlib
import hmac
from collections.abc import Callable
from typing import Final

from tests.scripted_server import Action, Answer, Connection

SALT: Final = b"0123456789abcdef"
WELCOME: Final = "235 2.7.0 welcome"
WRONG: Final = "535 5.7.8 Error: authentication failed"


def asked(connection: Connection, challenge: bytes) -> bytes:
    """Say a challenge; what the client answers, decoded."""
    connection.send(b"334 " + base64.b64encode(challenge) + b"\r\n")
    line = connection.line().decode().rstrip("\r\n")
    connection.server.commands.append(line)
    return base64.b64decode(line)


def initial(connection: Connection) -> bytes:
    """What came with AUTH, decoded; empty if nothing did."""
    words = connection.command.split()
    return base64.b64decode(words[2]) if len(words) > 2 else b""


def say(connection: Connection, answer: str) -> None:
    connection.send(answer.encode() + b"\r\n")


def by_mechanism(**answers: Answer) -> Action:
    """Answer each AUTH as its mechanism is in ``answers`` (``CRAM_MD5`` for CRAM-MD5)."""

    def act(connection: Connection) -> None:
        answer = answers[connection.command.split()[1].upper().replace("-", "_")]
        for part in answer if isinstance(answer, tuple) else (answer,):
            if callable(part):
                part(connection)
            else:
                say(connection, str(part))

    return act


def scram(
    password: str,
    *,
    rounds: int = 4096,
    binding: bytes = b"",
    deaf: bool = False,
    first: Callable[[str], str] = str,
    final: Callable[[str], str] = str,
    proves_itself: bool = True,
) -> Action:
    """SCRAM as RFC 5802 has it. ``deaf``: what comes with AUTH is not listened to. ``first`` and ``final`` may change
    what is said; without a proof of its own, 235 follows at once.
    """

    def act(connection: Connection) -> None:
        hash_name = "sha256" if "256" in connection.command else "sha1"
        hello = (asked(connection, b"") if deaf or not initial(connection) else initial(connection)).decode()
        header = ",".join(hello.split(",", 2)[:2]) + ","
        bare = hello.removeprefix(header)
        nonce = bare.rpartition("r=")[2]
        said = first(f"r={nonce}SERVER,s={base64.b64encode(SALT).decode()},i={rounds}")
        answer = asked(connection, said.encode()).decode()
        without_proof, _, proof = answer.rpartition(",p=")
        text = f"{bare},{said},{without_proof}".encode()
        salted = hashlib.pbkdf2_hmac(hash_name, password.encode(), SALT, rounds)
        key = hmac.digest(salted, b"Client Key", hash_name)
        signature = hmac.digest(hashlib.new(hash_name, key).digest(), text, hash_name)
        right = base64.b64encode(bytes(a ^ b for a, b in zip(key, signature, strict=True))).decode()
        bound = base64.b64encode(header.encode() + binding).decode()
        if proof != right or without_proof != f"c={bound},r={nonce}SERVER":
            say(connection, WRONG)
            return
        if proves_itself:
            own = hmac.digest(hmac.digest(salted, b"Server Key", hash_name), text, hash_name)
            asked(connection, final("v=" + base64.b64encode(own).decode()).encode())
        say(connection, WELCOME)

    return act

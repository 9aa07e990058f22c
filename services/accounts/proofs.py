"""How somebody at a session has proven who they are."""

from collections.abc import Collection
from enum import StrEnum
from typing import Final


class Proof(StrEnum):
    """One way. A passkey is both factors in one, for its device verifies the person; a provider answers for its own."""

    PASSWORD = "password"  # noqa: S105 - the name of a way
    TOTP = "totp"
    RECOVERY_CODE = "recovery_code"
    PASSKEY = "passkey"
    OIDC = "oidc"
    PROXY = "proxy"
    LINK = "link"


WORDS: Final = {
    Proof.PASSWORD: "password",
    Proof.TOTP: "authenticator app",
    Proof.RECOVERY_CODE: "recovery code",
    Proof.PASSKEY: "passkey",
    Proof.OIDC: "single sign-on",
    Proof.PROXY: "reverse proxy",
    Proof.LINK: "link from the command line",
}
# What does not ask for a second factor of ours any more.
WHOLE: Final = frozenset({Proof.TOTP, Proof.RECOVERY_CODE, Proof.PASSKEY, Proof.OIDC, Proof.PROXY, Proof.LINK})

# What counts where passwords are turned off: what others answer for, and who has a shell of the machine.
GIVEN: Final = frozenset({Proof.OIDC, Proof.LINK})


def stored(proofs: Collection[Proof]) -> str:
    """The proofs as a session's row has them."""
    return " ".join(proof for proof in Proof if proof in proofs)


def read(text: str) -> tuple[Proof, ...]:
    """The proofs of a row; a word that is none of them, which another version may have written, is left out."""
    words = text.split()
    return tuple(proof for proof in Proof if proof in words)


def in_words(proofs: Collection[Proof]) -> str:
    """As people read it: “password and authenticator app”."""
    return " and ".join(WORDS[proof] for proof in Proof if proof in proofs)

"""The sealed content of a queued mail: readable only with our key, and only for its own row and recipients."""

import os
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, Protocol

import structlog
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from database.outbox_db import Recipient
from services.message.draft import Draft
from services.outbox.reasons import Reason
from utils.encryption_utils import key_id_of, known_keys, subkey
from utils.env_utils import get_fernet_key

security_log = structlog.get_logger("security")

_PURPOSE: Final = "outbox-v2"
_BEFORE_SENDER: Final = b"\0"  # behind the Reply-To, where there is a sender; no header holds one
_WHOLE: Final = b"\0whole"  # behind that, of a message that another program wrote
_NONCE: Final = 12  # octets; random ones are safe for 2**32 mails a key (NIST SP 800-38D 8.3)


class SealedMail(Protocol):
    """What is read of a row, or of a claim of it, to open its content."""

    @property
    def mail_id(self) -> str: ...
    @property
    def message_id(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def recipients(self) -> Sequence[Recipient]: ...
    @property
    def content(self) -> bytes | None: ...
    @property
    def key_id(self) -> str: ...


class CannotOpen(Exception):
    """The content stays sealed; ``why`` tells a lost key from a row that was changed behind our back."""

    def __init__(self, why: Reason) -> None:
        super().__init__(why)
        self.why = why


def seal(mail: Draft) -> tuple[bytes, str]:
    """The sealed content of a mail, and the id of the key that opens it."""
    key, nonce = get_fernet_key(), os.urandom(_NONCE)
    sender = _BEFORE_SENDER + mail.sender.encode() if mail.sender or mail.is_whole else b""
    content = b"%b%b%b\n%b" % (mail.reply_to.encode(), sender, _WHOLE if mail.is_whole else b"", mail.rest)
    sealed = _cipher(key).encrypt(nonce, content, _row(mail.mail_id, mail.recipients))
    del content  # a large one is not held while it is copied once more
    return nonce + sealed, key_id_of(key)


def unseal(claim: SealedMail) -> Draft:
    """The mail as it was queued. Raises CannotOpen without its key, or if it is not this row's content."""
    key, recipients = known_keys().get(claim.key_id), tuple(each["address"] for each in claim.recipients)
    if key is None:
        raise CannotOpen(Reason.NO_KEY)
    content = claim.content or b""
    try:
        opened = _cipher(key).decrypt(content[:_NONCE], content[_NONCE:], _row(claim.mail_id, recipients))
    # A row that was edited by hand may hold too few octets, or a text.
    except (InvalidTag, ValueError, TypeError):
        security_log.warning("outbox_row_altered", mail_id=claim.mail_id)
        raise CannotOpen(Reason.ALTERED) from None
    head, _, rest = opened.partition(b"\n")
    is_whole = head.endswith(_WHOLE)
    reply_to, _, sender = head.removesuffix(_WHOLE).partition(_BEFORE_SENDER)
    return Draft(
        mail_id=claim.mail_id,
        message_id=claim.message_id,
        recipients=recipients,
        kind=claim.kind,
        reply_to=reply_to.decode(),
        sender=sender.decode(),
        rest=rest,
        is_whole=is_whole,
    )


def _row(mail_id: str, recipients: Sequence[str]) -> bytes:
    """What the content belongs to: it is authenticated along with it."""
    return "\n".join([mail_id, " ".join(recipients)]).encode()


@lru_cache(maxsize=16)
def _cipher(fernet_key: bytes) -> AESGCM:
    """AES-256-GCM, a tenth of Fernet's work for each mail, and a third less to store."""
    return AESGCM(subkey(_PURPOSE, fernet_key))

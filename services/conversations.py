"""What was said in attempts at mails, as LOG_CONVERSATIONS wants it kept: sealed, since whole addresses are in it.

Neither passwords nor tokens nor messages are in it: whoever writes it down leaves them out. It is deleted with the
attempt, and when one of its addresses is to be forgotten. A rotation of keys seals it anew.
"""

import os
import zlib
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from secrets import token_hex
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy.orm import Session

from database import conversation_db
from database.conversation_db import ConversationRow, EmailConversation
from database.engine import reading, transaction
from services.smtp.transcript import SpokenLine, left_out
from utils.encryption_utils import current_key_id, key_id_of, known_keys, subkey
from utils.env_utils import ALL_CONVERSATIONS, FAILED_CONVERSATIONS, get_fernet_key, get_settings

MOST_OCTETS: Final = 16 * 1024  # of one conversation, before it is sealed
_PURPOSE: Final = "conversation-v1"
_NONCE: Final = 12  # octets
_BATCH: Final = 500  # rows in one transaction
_FAST: Final = 1  # of zlib's levels: it is done for every mail, and the lines are much alike


def are_recorded() -> bool:
    """Whether what is said is written down at all."""
    return get_settings().log_conversations in (FAILED_CONVERSATIONS, ALL_CONVERSATIONS)


def is_kept(*, has_failed: bool) -> bool:
    """Whether a conversation that was written down is kept, now that it is known how it ended."""
    wanted = get_settings().log_conversations
    return wanted == ALL_CONVERSATIONS or (has_failed and wanted == FAILED_CONVERSATIONS)


def sealed(lines: Sequence[tuple[int, str]], at: datetime) -> ConversationRow:
    """What is stored of a conversation; of a long one the middle is left out."""
    own_id, key = token_hex(16), get_fernet_key()
    text = "\n".join(f"{ms}\t{text}" for ms, text in shortened([SpokenLine(*line) for line in lines]))
    return ConversationRow(id=own_id, at=at, key_id=key_id_of(key), sealed=_sealed(text.encode(), own_id, key))


def opened(row: EmailConversation) -> list[SpokenLine] | None:
    """Its lines; None without its key, or where it is not what was sealed for this row."""
    text = _opened(row)
    return None if text is None else [_line(each) for each in text.decode("utf-8", "replace").split("\n")]


def shortened(lines: Sequence[SpokenLine]) -> Sequence[SpokenLine]:
    """As many lines of the start and of the end as there is room for."""
    sizes = [len(line.text.encode()) + len(str(line.ms)) + 2 for line in lines]
    if sum(sizes) <= MOST_OCTETS:
        return lines
    half = (MOST_OCTETS - 64) // 2
    start = _fitting(sizes, half)
    end = _fitting(sizes[::-1], half)
    return [*lines[:start], left_out(len(lines) - start - end, lines[start].ms), *lines[len(lines) - end :]]


def of_ids(session: Session, ids: Sequence[str]) -> dict[str, list[SpokenLine] | None]:
    """The lines of these conversations; None for one that cannot be opened. What was deleted is left out."""
    return {own_id: opened(row) for own_id, row in conversation_db.of_ids(session, ids).items()}


def seal_anew() -> int:
    """Seal with the current key what a previous one has sealed, a batch at a time; how many."""
    previous = [key_id for key_id in known_keys() if key_id != current_key_id()]
    done = 0
    while previous:
        with transaction() as session:
            rows = conversation_db.sealed_with(session, previous, _BATCH)
            for row in rows:
                _seal_anew(session, row)
        done += len(rows)
        if len(rows) < _BATCH:
            break
    return done


def keys_in_use() -> dict[str, int]:
    """The keys of ours that conversations are sealed with, and how many each seals."""
    with reading() as session:
        return conversation_db.keys_in_use(session)


def _seal_anew(session: Session, row: EmailConversation) -> None:
    text = _opened(row)
    if text is None:  # it was altered: nobody will ever read it
        conversation_db.delete_of(session, [row.id])
    else:
        conversation_db.reseal(session, row, current_key_id(), _sealed(text, row.id, get_fernet_key()))


def _sealed(text: bytes, own_id: str, key: bytes) -> bytes:
    nonce = os.urandom(_NONCE)
    return nonce + _cipher(key).encrypt(nonce, zlib.compress(text, _FAST), own_id.encode())


def _opened(row: EmailConversation) -> bytes | None:
    key = known_keys().get(row.key_id)
    try:
        return (
            zlib.decompress(_cipher(key).decrypt(row.sealed[:_NONCE], row.sealed[_NONCE:], row.id.encode()))
            if key
            else None
        )
    # A row that was edited by hand may hold too few octets, or a text.
    except (InvalidTag, ValueError, TypeError, zlib.error):
        return None


def _fitting(sizes: Sequence[int], room: int) -> int:
    """How many of the first fit."""
    for count, size in enumerate(sizes):
        room -= size
        if room < 0:
            return count
    return len(sizes)


def _line(text: str) -> SpokenLine:
    ms, _, said = text.partition("\t")
    return SpokenLine(int(ms), said)


@lru_cache(maxsize=16)
def _cipher(fernet_key: bytes) -> AESGCM:
    return AESGCM(subkey(_PURPOSE, fernet_key))

"""By what the log finds mail, queued and direct: columns that both tables have, and indexes of the same shape.

Each thing that mail can be filtered by has an index that begins with it and the state, is in the order of time, and
ends with the others: so two filters that hardly meet are told apart in the index alone. All are partial. Those of
settled mail cost nothing before that, and each only where a mail has the thing.
"""

import hashlib
from functools import lru_cache
from typing import Final

from sqlalchemy import BigInteger, Index, String, Text, TextClause, text
from sqlalchemy.orm import Mapped, mapped_column

from database.types import partial_index

LONGEST_TAG: Final = 64
LONGEST_SUBJECT: Final = 255
SEVERAL: Final = 0  # in the place of a key: there are several addresses, or domains, or none that is known
_KEY: Final = 8  # octets: so much of a digest tells a thousand million apart
_AT_THE_END: Final = ("server_key", "domain_key", "account_id", "tag", "reason")
_PRESENT: Final = {
    "server_key": "server_key IS NOT NULL",
    "domain_key": "domain_key IS NOT NULL",
    "recipient_key": "recipient_key IS NOT NULL",
    "account_id": "account_id IS NOT NULL",
    "tag": "tag IS NOT NULL",
    "reason": "reason <> ''",
}
# Of two that may both be of half of all mail without ever meeting.
PAIRS: Final = (
    ("tag", "server_key"),
    ("tag", "account_id"),
    ("tag", "domain_key"),
    ("account_id", "server_key"),
    ("account_id", "domain_key"),
    ("domain_key", "server_key"),
    ("reason", "tag"),
    ("reason", "account_id"),
    ("reason", "domain_key"),
    ("reason", "server_key"),
)


class MailFacets:
    """What a mail is found by, beyond what its table has anyway.

    ``recipient_key`` and ``domain_key`` are numbers of its only recipient and of the only domain under the key of
    addresses (SEVERAL: see the table of them); None: not indexed yet. ``server_key`` is that of the server that was
    tried last. ``subject`` is kept only if LOG_SUBJECTS says so.
    """

    server_key: Mapped[int | None] = mapped_column(BigInteger)
    recipient_key: Mapped[int | None] = mapped_column(BigInteger)
    domain_key: Mapped[int | None] = mapped_column(BigInteger)
    subject: Mapped[str | None] = mapped_column(Text)
    tag: Mapped[str | None] = mapped_column(String(LONGEST_TAG))


@lru_cache(maxsize=1024)  # there are few servers, and each mail names one
def key_of(label: str) -> int:
    """The number that stands for a name which is no secret: that of a server, or a Message-ID."""
    return number_of(hashlib.sha256(label.encode(errors="replace")).digest())


def number_of(digest: bytes) -> int:
    """The first octets of a digest as a number that a column can hold; never SEVERAL."""
    return int.from_bytes(digest[:_KEY], "big", signed=True) or 1


def facet_indexes(table: str, state: str, moment: str, among: str) -> list[Index]:
    """The indexes of those rows of a table that ``among`` is true of."""
    found = [_index(f"ix_{table}_by_{state}", (state, moment, "id"), among)]
    for name, present in _PRESENT.items():
        others = [each for each in _AT_THE_END if each != name]
        columns = (name, state, moment, "id", *others)
        found.append(_index(f"ix_{table}_by_{name}", columns, f"{among} AND {present}"))
    for first, second in PAIRS:
        condition = f"{among} AND {_PRESENT[first]} AND {_PRESENT[second]}"
        found.append(_index(f"ix_{table}_by_{first}_{second}", (first, second, state, moment, "id"), condition))
    return found


def _index(name: str, columns: tuple[str, ...], condition: str) -> Index:
    return partial_index(name, *columns, where=text(condition))


def unindexed(table: str, among: str = "") -> Index:
    """The index of the rows whose addresses are not indexed yet."""
    return partial_index(f"ix_{table}_unindexed", "id", where=is_unindexed(among))


def is_unindexed(among: str = "") -> TextClause:
    return text(f"{among} AND recipient_key IS NULL" if among else "recipient_key IS NULL")

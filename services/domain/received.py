"""Reading the headers of a received message: did SPF, DKIM and DMARC pass, which way did it come, how fast."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from email.errors import MessageError
from email.header import decode_header, make_header
from typing import Final

from services.domain import auth_results
from services.domain import path as received_path
from services.domain.auth_results import AuthResult, Statement
from services.domain.header_fields import LONGEST_TEXT, are_aligned, domain_of, fields, split_comments
from services.domain.path import Path
from services.domain.verdicts import Ruling, verdicts
from utils.errors import InvalidInput
from utils.log_utils import printable

_OURS: Final = re.compile(r"<[0-9a-f]{32}@([^>]+)>")
_SCL: Final = "SCL is the spam level: -1 bypassed the filter, 0 and 1 are not spam, 5 and above are."
_SPAM_FIELDS: Final = {
    "x-spam-status": "",
    "x-spam-score": "",
    "x-spam-flag": "",
    "x-spamd-result": "The first number is the score, the second the one at which this server refuses.",
    "x-rspamd-score": "",
    "x-forefront-antispam-report": _SCL,
    "x-ms-exchange-organization-scl": _SCL,
    "x-microsoft-antispam": "",
    "x-ses-spam-verdict": "",
    "x-ses-virus-verdict": "",
    "x-proofpoint-spam-details": "",
    "x-barracuda-spam-score": "",
}
_LONGEST_SHOWN: Final = 300
_LONGEST_DECODED: Final = 1000
_FEWEST_TELLING: Final = ("received", "from", "authentication-results", "message-id", "return-path", "date")


@dataclass(frozen=True)
class SpamScore:
    """What a filter wrote; ``meaning`` explains it where that is known and needed."""

    name: str
    value: str
    meaning: str


@dataclass(frozen=True, kw_only=True)
class HeaderReport:
    """What the headers say. ``is_ours``: the Message-ID is one that this application makes."""

    subject: str
    sender: str
    from_domain: str
    return_path: str
    message_id: str
    is_ours: bool
    sent_at: datetime | None
    judge: str
    verdicts: list[Ruling]
    statements: list[Statement]
    path: Path
    spam: list[SpamScore]

    @property
    def is_return_path_aligned(self) -> bool:
        """Whether bounces go to the organisation that From names."""
        return are_aligned(domain_of(self.return_path), self.from_domain)


def read(text: str, own_domains: Collection[str] = ()) -> HeaderReport:
    """Read pasted headers; ``own_domains`` are those that stand on the right of our Message-IDs.

    Raises InvalidInput on ``headers`` if there are none in it, or more than LONGEST_TEXT characters.
    """
    if len(text) > LONGEST_TEXT:
        raise InvalidInput({"headers": [f"Paste at most {LONGEST_TEXT // 1024} KiB: only the headers, not the text."]})
    found = fields(text)
    first: dict[str, str] = {}
    for name, value in found:
        first.setdefault(name, value)
    if not first.keys() & set(_FEWEST_TELLING):
        raise InvalidInput({"headers": ["These are not email headers. Open the message source and copy from the top."]})
    said = auth_results.statements(found)
    judge, results = _judged(said, auth_results.received_spf(found))
    from_domain = domain_of(split_comments(first.get("from", ""))[0])
    message_id = first.get("message-id", "")
    made = _OURS.fullmatch(message_id)
    return HeaderReport(
        subject=_decoded(first.get("subject", "")),
        sender=_decoded(first.get("from", "")),
        from_domain=from_domain,
        return_path=first.get("return-path", ""),
        message_id=message_id,
        is_ours=made is not None and made[1].lower() in own_domains,
        sent_at=received_path.moment(first.get("date", "")),
        judge=judge,
        verdicts=verdicts(results, from_domain, is_signed="dkim-signature" in first),
        statements=said,
        path=received_path.path(found),
        spam=[
            SpamScore(name, printable(value, _LONGEST_SHOWN), _SPAM_FIELDS[name])
            for name, value in found
            if name in _SPAM_FIELDS
        ],
    )


def _judged(said: list[Statement], spf: AuthResult | None) -> tuple[str, list[AuthResult]]:
    """Who judged, and what: the last receiver, whose fields stand on top. Those below could be anybody's."""
    own = [statement for statement in said if not statement.is_arc]
    judge = (own or said)[0] if said else None
    results = list(judge.results) if judge else []
    if spf and not any(result.method == "spf" for result in results):
        results.append(spf)
    return judge.by if judge else "", results


def _decoded(value: str) -> str:
    """A field of text with its encoded-words (RFC 2047) read."""
    try:
        return printable(str(make_header(decode_header(value[:_LONGEST_DECODED]))), _LONGEST_SHOWN)
    except (ValueError, LookupError, MessageError):
        return printable(value, _LONGEST_SHOWN)

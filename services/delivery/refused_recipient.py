"""Whether a refused recipient says anything of mail to others: what a connection test may pass over.

The table of verdicts gives a mail the benefit of a doubt, since it is tried again; a test must not.
"""

import re
from typing import Final

from services.delivery import reply_words, retry_policy
from services.outbox.reasons import Reason
from utils.errors import DeliveryError, Fault, Phase

_NO_MAIL_AT_ALL: Final = 521  # RFC 7504: whatever else it says, it is about the server
_REASONS: Final = (
    Reason.NO_RECIPIENT, Reason.RECIPIENT_REFUSED, Reason.RECIPIENT_LATER, Reason.MAILBOX_FULL, Reason.FLOODED,
)  # fmt: skip
_STATUS: Final = r"[45]\.(?:1\.(?:1|6|10)|2\.\d{1,3})"  # RFC 3463: the mailbox, and what state it is in
_STATUSES: Final = re.compile(rf"{_STATUS}$")
_WORDS: Final = re.compile(
    rf"{reply_words.NOBODY}|\(#{_STATUS}\)"  # as qmail says it
    r"|\b(?:mailbox|recipient|user)\b.*(?:\bfull\b|over ?quota|quota exceeded|disabled|inactive)"
    # In RFC 5321 4.2.3 it stands for everything; with another word behind it, it is a policy.
    r"|^(?:\d\.\d{1,3}\.\d{1,3} )?(?:requested (?:mail )?action (?:was )?(?:not taken|aborted)\W+)?"
    r"mailbox (?:is )?unavailable\W*$"
)
_ABOUT_US: Final = re.compile(
    r"\bsender\b|\b(?:helo|ehlo)\b|\byour?\b.{0,20}\b(?:quota|limit|ip|host|server|domain)\b|\bclient host\b"
)
_ABOUT_MORE: Final = re.compile(  # where only words tell, and some of them tell something else
    r"\brelay|rcpthosts|auth|polic(?:y|ies)|\bspam|\bblock|black|reputation"
    r"|verif(?:y|ication) failed|\bhost\b|\bnetwork\b"
)
_UNROUTEABLE: Final = "unrouteable"  # Exim, of a mailbox of its own that it does not have, and of any domain not found


def is_about_mailbox(error: DeliveryError, *, is_local: bool) -> bool:
    """Whether it was refused for what it is, so that other mail may go all the same.

    ``is_local``: the server has the mailboxes of that domain itself, so that it need not find a way to it.
    """
    if error.phase is not Phase.RECIPIENT:
        return False
    if error.fault is Fault.NO_SMTPUTF8:  # its name could not even be said
        return True
    words = retry_policy.words_of(error.text)
    if error.fault is not Fault.REPLY or error.code == _NO_MAIL_AT_ALL or _ABOUT_US.search(words):
        return False
    if retry_policy.of_error(error).reason not in _REASONS:
        return False
    if _STATUSES.match(error.enhanced or ""):
        return True
    is_doubtful = _ABOUT_MORE.search(words) or (_UNROUTEABLE in words and not is_local)
    return _WORDS.search(words) is not None and not is_doubtful


def is_greylisting(error: DeliveryError) -> bool:
    """Whether the server says in as many words that it only puts off whom it does not know yet."""
    is_put_off = error.phase is Phase.RECIPIENT and retry_policy.of_error(error).reason is Reason.GREYLISTED
    return is_put_off and re.search(reply_words.GREY, retry_policy.words_of(error.text)) is not None

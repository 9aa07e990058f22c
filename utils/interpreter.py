"""Known faults of this Python that concern mail: told at start, since only another Python mends them."""

import sys
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from functools import cache
from typing import Final

_HIDDEN_LINE: Final = Address("=?UTF-8?Q?=0ABcc:_v@example.com?=", "a", "example.com")


@cache
def faults() -> tuple[str, ...]:
    """A sentence for each fault that this interpreter shows when it is tried, with what mends it."""
    if not _makes_headers_of_names():
        return ()
    return (
        f"Python {'.'.join(map(str, sys.version_info[:3]))} has CVE-2024-6923: its email package makes header lines of "
        "names. Sealpost writes its headers itself; other code in this process may not. Install a newer Python.",
    )


def _makes_headers_of_names() -> bool:
    """Whether a recipient's display name turns into a Bcc line."""
    message = EmailMessage(policy=SMTP)
    try:
        message["To"] = _HIDDEN_LINE
        return b"\nBcc:" in message.as_bytes()
    except (ValueError, MessageError):
        return False

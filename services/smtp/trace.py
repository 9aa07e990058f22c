"""What is noted of one mail on its way, beside the server's answer."""

from dataclasses import dataclass
from typing import Final

from services.smtp.transcript import SpokenLine, TracePage

UNENCRYPTED: Final = "none"


@dataclass(kw_only=True)
class Trace:
    """``tls`` is the version on the connection that was used last, UNENCRYPTED without one; None if there was none.

    Whatever the version, the certificate was verified. What was said is on the ``page``, where it is recorded.
    """

    tls: str | None = None
    page: TracePage | None = None

    @property
    def spoken(self) -> list[SpokenLine]:
        return self.page.spoken() if self.page else []

"""A way into a mail server: one of the pairs of port and encryption at which the same host may answer."""

from dataclasses import dataclass

from services.smtp.settings import Security


@dataclass(frozen=True, kw_only=True)
class OpenWay:
    """A pair that answered a probe as a mail server does; ``greeting`` is the first line that it said."""

    port: int
    security: Security
    greeting: str = ""

"""What can be said about a failure, as it stands in the files of ``data``."""

from dataclasses import dataclass
from typing import Any, Final

from services.smtp.settings import SmtpSettings

Try = str | dict[str, str]  # a named way to mend it (services/diagnosis/mending.py), or form fields and their values

FIELDS: Final = {
    "smtp_server", "smtp_port", "security", "smtp_username", "smtp_password", "from_email", "helo_hostname",
    "timeout_seconds", "to", "client_certificate",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Advice:
    """One failure in plain words. ``{host}`` and ``{port}`` in them stand for the server that was used.

    ``field`` is the form field concerned, one of FIELDS. ``retryable`` None: as the server's code says.
    ``retry_after`` is in seconds.
    """

    title: str
    meaning: str
    cause: str
    remedy: str
    field: str | None
    retryable: bool | None = None
    retry_after: int | None = None
    tries: tuple[Try, ...] = ()
    docs_url: str = ""


def frozen(entry: dict[str, Any]) -> dict[str, Any]:
    """An entry of a data file with its lists, the only ones that JSON knows, as tuples."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()}


def filled(text: str, settings: SmtpSettings) -> str:
    """The text with the server of these settings in it."""
    return text.replace("{host}", settings.host).replace("{port}", str(settings.port))

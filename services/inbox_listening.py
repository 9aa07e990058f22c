"""The SMTP server of the local inbox, on aiosmtpd: imported where there is such an inbox, so never in production."""

from collections.abc import Callable

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session


class Listening(Controller):
    """aiosmtpd's controller with an SMTP server that announces itself neutrally, and by ``mark``.

    ``keep`` gets each mail: sender, recipients, content.
    """

    def __init__(
        self, keep: Callable[[str, list[str], bytes], None], mark: str, *, host: str, port: int, largest: int
    ) -> None:
        super().__init__(_Handler(keep), hostname=host, port=port)
        self._mark = mark
        self._largest = largest

    def factory(self) -> SMTP:
        return SMTP(
            self.handler,
            data_size_limit=self._largest,
            enable_SMTPUTF8=True,
            hostname="local-inbox",
            ident=f"Sealpost local inbox {self._mark}",
            loop=self.loop,
        )


class _Handler:
    def __init__(self, keep: Callable[[str, list[str], bytes], None]) -> None:
        self._keep = keep

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:
        self._keep(envelope.mail_from or "", list(envelope.rcpt_tos), envelope.original_content or b"")
        return "250 2.0.0 Ok: kept in the local inbox"

"""Applications that send through Sealpost, each by a token of its own, and how far each has come."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sqlalchemy.orm import Session

from database import api_token_db, gateway_sender_db
from database.engine import reading
from services.accounts import api_tokens
from services.accounts.api_tokens import Scope, TokenInfo
from services.gateway import uses
from services.gateway.uses import Use, UseState
from services.outbox import log
from services.outbox.facts import MailFacts
from utils.errors import NotFound
from utils.numbers import LARGEST

NO_SUCH: Final = "No such application, or its token was revoked."


class Progress(StrEnum):
    """How far an application has come, over SMTP or HTTP."""

    WAITING = "waiting"  # for its first email
    WRONG_SIGN_IN = "wrong_sign_in"  # so far someone has only signed in wrongly in its account's name
    CONNECTED = "connected"  # it signed in, and sent nothing yet
    REFUSED = "refused"
    CAME = "came"
    OVER_HTTP = "over_http"  # its token was used at the API, and not at the gateway
    ENDED = "ended"  # its token has ended


@dataclass(frozen=True, kw_only=True)
class AppConnection:
    """An application: its token, what that did at the gateway, and its last email as it stands, while the log has it.

    ``wrong_sign_in`` is a sign-in in its account's name, after the token was made, that was refused as wrong.
    """

    token: TokenInfo
    use: Use
    last_mail: MailFacts | None
    wrong_sign_in: Use | None

    @property
    def progress(self) -> Progress:
        if not self.token.is_good:
            return Progress.ENDED
        if self.use.state is UseState.WAITING:
            if self.token.last_used_at:
                return Progress.OVER_HTTP
            return Progress.WRONG_SIGN_IN if self.wrong_sign_in else Progress.WAITING
        return Progress(self.use.state.value)


def page(before: int | None = None, limit: int | None = None) -> list[AppConnection]:
    """The newest first; or so many of them that are older than ``before``."""
    with reading() as session:
        return _connections(
            session,
            api_tokens.infos(gateway_sender_db.page(session, Scope.SEND, before=before, limit=limit)),
        )


def get(token_id: int) -> AppConnection:
    """One of them. Raises NotFound, also once its token was revoked."""
    with reading() as session:
        found = api_token_db.find(session, token_id) if token_id <= LARGEST else None
        if found is None or found[0].revoked_at or not api_tokens.infos([found])[0].allows(Scope.SEND):
            raise NotFound(NO_SUCH)
        return _connections(session, api_tokens.infos([found]))[0]


def _connections(session: Session, tokens: Sequence[TokenInfo]) -> list[AppConnection]:
    used = uses.by_token([token.id for token in tokens], session)
    mails = log.as_they_stand(session, [use.last_mail_id for use in used.values() if use.last_mail_id])
    wrong = _wrong_sign_ins(session, [token for token in tokens if used[token.id].state is UseState.WAITING])
    return [
        AppConnection(
            token=token,
            use=used[token.id],
            last_mail=mails.get(used[token.id].last_mail_id or ""),
            wrong_sign_in=wrong.get(token.id),
        )
        for token in tokens
    ]


def _wrong_sign_ins(session: Session, tokens: Sequence[TokenInfo]) -> Mapping[int, Use]:
    """Those that were refused since each of these tokens was made, by their ids."""
    by_account = {owner: uses.refused_sign_ins(owner, session) for owner in {token.owner_id for token in tokens}}
    found = ((token, by_account[token.owner_id]) for token in tokens)
    return {token.id: use for token, use in found if use.refused_at and use.refused_at >= token.created_at}

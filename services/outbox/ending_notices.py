"""What people are told of something about a server that ends: 30, 7 and 1 days before, and once it has; each once."""

from dataclasses import dataclass
from typing import Final

import structlog
from sqlalchemy.orm import Session

from database import end_notice_db, oauth_db, smtp_db, user_db
from database.end_notice_db import EndNotice
from database.engine import reading, transaction
from services.connecting.calendar import EndAction, Ending, EndOf
from services.outbox import template_mail
from services.settings import configs, endings, health, personal_route, route
from services.settings.personal_route import UnusableAccount
from utils.env_utils import get_base_url
from utils.log_utils import logged

log = structlog.get_logger(__name__)

TEMPLATE: Final = "server_ends"
# Before the end, and after it.
_HEADLINES: Final = {
    EndOf.REFRESH_TOKEN: ("sign-in ends on {}", "sign-in has ended"),
    EndOf.CLIENT_SECRET: ("client secret expires on {}", "client secret has expired"),
    EndOf.OAUTH_CERTIFICATE: ("certificate at the provider expires on {}", "certificate at the provider has expired"),
    EndOf.CLIENT_CERTIFICATE: ("client certificate expires on {}", "client certificate has expired"),
    EndOf.SERVER_CERTIFICATE: ("the server’s certificate expires on {}", "the server’s certificate has expired"),
    EndOf.PASSWORD: ("passwords are off by default after {}", "passwords are off by default"),
}


@dataclass(frozen=True, kw_only=True)
class _Server:
    """A server that mail goes through, and what will end of it. ``account_id`` is whose own it is."""

    owner: str  # as in ``RouteStep``
    config_id: int | None = None
    account_id: int | None = None
    name: str
    host: str
    endings: tuple[Ending, ...]


def tell_due() -> None:
    """Tell of each end that a notice is due of, and not told yet, whichever process looks at the same time.

    Where none looked on the day of a notice, the next that fits is told, and no other. What goes wrong with one holds
    up no other.
    """
    for server in _in_use():
        for ending in server.endings:
            ids = {"server": server.owner, "what": ending.what.value}
            with logged(log.error, "end_not_told", Exception, **ids):
                _tell(server, ending)


def _in_use() -> list[_Server]:
    """Those that mail may go through, and that of `.env` with what is not told of the same server already."""
    with reading() as session:
        found = [configs.as_used(session, row) for row in smtp_db.every(session) if row.is_active]
        sign_ins = oauth_db.of(session, [each.id for each in found])
    servers = [
        _Server(
            owner=health.owner_of(stored.id),
            config_id=stored.id,
            account_id=stored.row.account_id,
            name=stored.name,
            host=stored.host,
            endings=endings.of_stored(stored, sign_ins.get(stored.id)),
        )
        for stored in found
    ]
    env = route.without_database()
    if env.settings and not env.is_local_inbox:
        is_same = [each for each in servers if each.account_id is None and each.host == env.settings.host]
        told = {(ending.what, ending.ends_on) for each in is_same for ending in each.endings}
        rest = tuple(each for each in endings.of_step(env) if (each.what, each.ends_on) not in told)
        servers.append(_Server(owner=env.owner, name=env.name, host=env.settings.host, endings=rest))
    return servers


def _tell(server: _Server, ending: Ending) -> None:
    days = ending.notice
    if days is None:
        return
    what, day = ending.what.value, ending.ends_on
    with reading() as session:
        if end_notice_db.was_told(session, server.owner, what, day, days):
            return
    with transaction() as session:
        addresses = _concerned(session, server)
        notice = EndNotice(server=server.owner, what=what, ends_on=day, days=days, config_id=server.config_id)
        # Claimed along with the mails: if these cannot be queued, another may tell.
        if addresses and end_notice_db.claim(session, notice):
            for address in addresses:
                template_mail.queue(session, address, TEMPLATE, ending.notice_until, **_values(server, ending))
            log.info("end_told", server=server.owner, what=what, ends_on=f"{day}", days=days)


def _concerned(session: Session, server: _Server) -> list[str]:
    """The administrators; of an account's own server that is in use, the account."""
    if server.account_id is None:
        return user_db.administrator_emails(session)
    try:
        is_used = personal_route.find(server.account_id, session).is_used
    except UnusableAccount:
        return []
    account = user_db.find(session, server.account_id)
    return [account.email] if account and is_used else []


def _values(server: _Server, ending: Ending) -> dict[str, object]:
    is_own = server.account_id is not None
    page = "/account/smtp" if is_own else "/settings/smtp" + (f"/{server.config_id}" if server.config_id else "")
    if ending.action is EndAction.CONNECT and server.config_id:
        page += "/connect"
    return {
        "headline": _HEADLINES[ending.what][ending.is_over].format(ending.ends_on),
        "ends_on": "" if ending.is_over else ending.ends_on,
        "words": ending.words,
        "remedy": ending.remedy,
        "server_name": "" if is_own else server.name,
        "host": server.host,
        "page_url": f"{get_base_url()}{page}",
    }

"""What was handed over becomes queued email: mails that arrive at once share one transaction, and its one fsync.

One thread writes. While it commits, others arrive, and it takes them together next; each is answered once its
transaction is committed, and not before.
"""

import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import structlog
from flask import Flask
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.orm import Session

from database.engine import reading, transaction
from database.outbox_db import NewMail
from services import audit
from services.audit import Actor
from services.gateway import drafting, from_rules, uses
from services.gateway.replies import GatewayReply, Rejection, enough_of, queued
from services.gateway.sign_in import ClientSignedIn
from services.gateway.uses import Refused, Visit
from services.message.draft import Draft
from services.message.raw import RawMessage, UnfitMessage
from services.outbox import promise
from services.outbox.promise import Terms
from services.personal import sending, waiting
from services.personal.sending import SendingFor
from services.settings import route
from services.settings.personal_route import UnusableAccount
from utils.errors import Forbidden, InvalidInput, TooMany

log = structlog.get_logger(__name__)

MOST_TOGETHER: Final = 100  # mails of a transaction
MOST_OCTETS: Final = 8 * 1024 * 1024  # of a transaction, or one mail of any size
GATHER_SECONDS: Final = 0.004
VISITS_SECONDS: Final = 1.0  # between two writings of what is not written along with a mail
MOST_VISITS: Final = 1000


@dataclass(frozen=True, kw_only=True)
class Client:
    """Who hands over: from where, as whom, by which protocol (RFC 3848)."""

    signed_in: ClientSignedIn
    address: str
    ehlo: str
    protocol: str


@dataclass(kw_only=True)
class Handed:
    """A message as it came, until it is answered; ``tag`` is for whoever waits.

    Its content goes as soon as there is a ``row`` of it, sealed: then ``size`` is what it had in octets.
    """

    client: Client
    recipients: tuple[str, ...]
    content: bytes = field(repr=False)
    tag: object = None
    reply: GatewayReply | None = None
    row: NewMail | None = None
    size: int = 0

    @property
    def mail_id(self) -> str:
        """The mail's, once there is a row."""
        return self.row["mail_id"] if self.row else ""

    @property
    def account_id(self) -> int | None:
        return self.client.signed_in.account_id


class Answering(Protocol):
    """Takes the answers of a transaction together."""

    def __call__(self, answered: Sequence[Handed]) -> None: ...


class Accepting:
    """The thread that writes. ``answer`` is called in it."""

    def __init__(self, app: Flask, answer: Answering, begun: Callable[[], int]) -> None:
        """``begun`` tells how many more are on their way."""
        self._app = app
        self._answer = answer
        self._begun = begun
        self._waiting: deque[Handed] = deque()
        self._visits: deque[Visit] = deque(maxlen=MOST_VISITS)
        self._changed = threading.Condition()
        self._is_stopping = False
        self._wrote_visits = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="gateway-accepting", daemon=True)

    def start(self) -> "Accepting":
        self._thread.start()
        return self

    def stop(self, seconds: float) -> None:
        """Write what has been handed over, and end; but wait no longer than this."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify()
        self._thread.join(seconds)

    def take(self, handed: Handed) -> None:
        """Have a message written and answered."""
        with self._changed:
            self._waiting.append(handed)
            self._changed.notify()

    def note(self, visit: Visit) -> None:
        """Have a visit written down within a second or so; under a flood only the latest are."""
        with self._changed:
            self._visits.append(visit)
            self._changed.notify()

    def _run(self) -> None:
        with self._app.app_context():
            while self._work_off(*self._next()):  # which holds no message while it waits
                pass

    def _work_off(self, group: Sequence[Handed], visits: Sequence[Visit]) -> bool:
        """False at the end."""
        if group:
            self._answer_all(group, visits)
        elif visits:
            self._write_visits(visits)
        else:
            return not self._is_stopping
        return True

    def _next(self) -> tuple[list[Handed], list[Visit]]:
        """What to write next; nothing at the end."""
        with self._changed:
            while not self._waiting and not self._is_stopping:
                left = self._wrote_visits + VISITS_SECONDS - time.monotonic() if self._visits else None
                if left is not None and left <= 0:
                    break
                self._changed.wait(left)
            self._gather()
            group: list[Handed] = []
            octets = 0
            while self._waiting and len(group) < MOST_TOGETHER:
                octets += len(self._waiting[0].content)
                if group and octets > MOST_OCTETS:
                    break
                group.append(self._waiting.popleft())
            visits = list(self._visits)
            self._visits.clear()
            if visits:
                self._wrote_visits = time.monotonic()
        return group, visits

    def _gather(self) -> None:
        """Wait a moment for those that are on their way: what a transaction costs, they then share."""
        until = time.monotonic() + GATHER_SECONDS
        while self._waiting and len(self._waiting) < MOST_TOGETHER and self._begun() and not self._is_stopping:
            left = until - time.monotonic()
            if left <= 0:
                return
            self._changed.wait(left)

    def _answer_all(self, group: Sequence[Handed], visits: Sequence[Visit]) -> None:
        try:
            write(group, visits)
        except (OperationalError, InterfaceError) as error:  # for all of them alike
            log.error("gateway_cannot_store", kind=type(error).__name__, mails=len(group))
            _refuse_rest(group, Rejection.NO_DATABASE)
        except Exception as error:
            if len(group) > 1:  # whichever it was, the others are none the worse for it
                self._answer_one_by_one(group)
                return
            log.exception("gateway_mail_not_stored", kind=type(error).__name__)
            is_database = isinstance(error, SQLAlchemyError)
            _refuse_rest(group, Rejection.NO_DATABASE if is_database else Rejection.FAULT)
        self._answer(group)
        for each in group:
            if each.row is None and each.reply:
                self._visits.append(_refusal(each, each.reply))

    def _answer_one_by_one(self, group: Sequence[Handed]) -> None:
        for each in group:
            if each.row:
                each.reply = None
            self._answer_all([each], ())

    def _write_visits(self, visits: Sequence[Visit]) -> None:
        try:
            with transaction(durable=False, is_spare=True) as session:
                uses.note(session, visits)
        except Exception as error:  # whatever it is, this thread goes on to answer
            log.warning("gateway_use_not_noted", kind=type(error).__name__)


def write(group: Sequence[Handed], visits: Sequence[Visit] = ()) -> None:
    """Give each message its reply; those that are taken are committed when this returns.

    Raises SQLAlchemyError, and then none of them is taken.
    """
    _seal_all(group)
    ready = [each for each in group if each.row]
    if not ready and not visits:
        return
    with transaction() as session:
        for account_id in sorted({each.account_id for each in ready}, key=lambda each: each or 0):
            _promise(session, [each for each in ready if each.account_id == account_id])
        uses.note(session, [*visits, *_came(ready)])
    for each in ready:
        if each.row:
            each.reply = queued(each.mail_id)


def _seal_all(group: Sequence[Handed]) -> None:
    """Read each message, and ask what of it may be kept: before the transaction, which holds up everybody."""
    known: dict[tuple[int | None, str], str | Rejection] = {}
    domains: dict[int | None, str] = {}
    with reading() as session:
        for each in group:
            if each.row or each.reply:  # by an attempt before
                continue
            try:
                message = drafting.read(each.content)
                wanted = each.account_id, message.from_address
                if wanted not in known:
                    known[wanted] = from_rules.usable(session, *wanted)
                sender = known[wanted]
                if each.account_id not in domains:
                    domains[each.account_id] = route.message_id_domain(each.account_id, session)
            except UnfitMessage as unfit:
                each.reply = Rejection.UNFIT.reply._replace(words=str(unfit))
                continue
            except drafting.Looping:
                each.reply = Rejection.LOOP.reply
                continue
            except UnusableAccount:
                each.reply = Rejection.GONE.reply
                continue
            if isinstance(sender, Rejection):
                each.reply = sender.reply
                continue
            draft = _draft(each, message, sender, domains[each.account_id])
            each.content = b""
            del message  # so that one copy of a large message is not held while another is made
            _seal(each, draft)
            del draft


def _seal(handed: Handed, draft: Draft) -> None:
    handed.size = len(draft.rest)
    with audit.acting(_actor(handed.client)):
        handed.row = promise.sealed(draft, Terms(account_id=handed.account_id))


def _draft(handed: Handed, message: RawMessage, sender: str, domain: str) -> Draft:
    client = handed.client
    mail_id = secrets.token_hex(16)
    line = drafting.received(client.ehlo, client.address, client.protocol, mail_id)
    return drafting.draft(message, mail_id, handed.recipients, domain=domain, received=line, sender=sender)


def _promise(session: Session, theirs: Sequence[Handed]) -> None:
    """Queue the mails of one account, as many as may wait, within the caller's transaction."""
    may_send: dict[int | None, bool] = {}
    for each in theirs:
        signed_in = each.client.signed_in
        if signed_in.token_id not in may_send:
            may_send[signed_in.token_id] = _may_send(session, signed_in)
        if not may_send[signed_in.token_id]:
            each.reply, each.row = Rejection.GONE.reply, None
    _refuse_over_limit(session, [each for each in theirs if each.row])
    for each in theirs:
        if each.row:
            promise.add(each.row, Terms(account_id=each.account_id), session)


def _refuse_over_limit(session: Session, theirs: Sequence[Handed]) -> None:
    """Most often all may wait, which one look tells; else each is added to those before it."""
    if not theirs or (account_id := theirs[0].account_id) is None:
        return
    if _over_limit(session, account_id, [each.size for each in theirs]) is None:
        return
    taken: list[int] = []
    for each in theirs:
        if limit := _over_limit(session, account_id, [*taken, each.size]):
            each.reply, each.row = limit, None
        else:
            taken.append(each.size)


def _may_send(session: Session, signed_in: ClientSignedIn) -> bool:
    try:
        sending.check_caller(session, SendingFor(account_id=signed_in.account_id, token_id=signed_in.token_id))
    except Forbidden:
        return False
    return True


def _over_limit(session: Session, account_id: int, sizes: Sequence[int]) -> GatewayReply | None:
    """Why so many may not be added to what waits; None if they may."""
    try:
        waiting.check(session, account_id, sizes)
    except TooMany as error:
        return Rejection.OVER_LIMIT.reply._replace(words=f"{error.message} {enough_of(error.retry_after)}")
    except InvalidInput as never:
        told = " ".join(text for texts in never.errors.values() for text in texts)
        return Rejection.NEVER_FITS.reply._replace(words=told)
    return None


def _actor(client: Client) -> Actor:
    signed_in = client.signed_in
    origin = f"{audit.OF_TOKEN}{signed_in.token_id}" if signed_in.token_id is not None else ""
    return Actor(signed_in.name, client.address, origin)


def _came(ready: Sequence[Handed]) -> list[Visit]:
    """One visit for each sender, with all of its mails."""
    found: dict[str, list[Handed]] = {}
    for each in ready:
        if each.row:
            found.setdefault(each.client.signed_in.who.key, []).append(each)
    return [_visit(theirs[-1].client, [each.mail_id for each in theirs]) for theirs in found.values()]


def _visit(client: Client, mail_ids: Sequence[str] = (), refused: Refused | None = None) -> Visit:
    return Visit(who=client.signed_in.who, address=client.address, ehlo=client.ehlo, mail_ids=mail_ids, refused=refused)


def _refusal(handed: Handed, reply: GatewayReply) -> Visit:
    return _visit(handed.client, refused=Refused(code=reply.code, words=reply.words))


def _refuse_rest(group: Sequence[Handed], refusal: Rejection) -> None:
    """Nothing of the transaction is there: also not what had been promised within it."""
    for each in group:
        if each.reply is None or each.row is not None:
            each.reply, each.row = refusal.reply, None

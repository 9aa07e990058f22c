"""The SMTP conversation (RFC 5321) as others see it: a client; it knows no Flask and no database."""

from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

from services.smtp import our_faults
from services.smtp.dialogue import Dialogue, Observer, Step, unknown
from services.smtp.exchange import Exchange, Result
from services.smtp.habits import Habit, habits_of
from services.smtp.opening import Opening, Policy
from services.smtp.settings import SmtpSettings
from services.smtp.standing import Standing
from services.smtp.transaction import Envelope, Parcel, Receipt, Transaction
from services.smtp.transcript import Transcript
from services.smtp.wire import Deadline, Reply, WireError
from utils import incidents
from utils.errors import DeliveryError, Fault, Phase, Temporary

__all__ = ["Envelope", "Observer", "Parcel", "Policy", "Receipt", "Result", "SmtpClient", "Step"]

IN_FLIGHT: Final = 8
_FAREWELL: Final = 2.0  # seconds for QUIT


def _nothing(_error: DeliveryError) -> bool:
    return False


class SmtpClient:
    """One connection to one server; it carries any number of messages, in one thread.

    ``open``, ``send`` and ``check_envelope`` raise a DeliveryError for everything that a server or network
    can do, and ValueError for an address, EHLO name, login or content that should never have come here.
    Whoever wants more than observe, like end it from another thread, gives the dialogue.
    """

    def __init__(
        self, settings: SmtpSettings, policy: Policy, observer: Observer | None = None, talk: Dialogue | None = None
    ) -> None:
        self._settings = settings
        self._policy = policy
        self._talk = talk or Dialogue(settings, observer)
        if policy.records and not self._talk.transcript:
            self._talk.transcript = Transcript(hides_challenges=True)  # it is kept, and nobody needs them
        self._talk.allow(policy.patience, policy.span)
        self._habits = habits_of(settings.host, settings.port)
        standing = Standing({}, self._habits)
        self._exchange = Exchange(self._talk, standing, policy.total_seconds, policy.total_seconds)

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def is_open(self) -> bool:
        """Whether another message can be tried on this connection."""
        return self._talk.ready

    @property
    def is_quiet(self) -> bool:
        """Whether a connection that nobody uses is still there and has nothing to say; it costs no waiting."""
        try:
            if not self.is_open:
                return False
            is_quiet = not self._talk.live().pending()
        except WireError:
            return False
        if not is_quiet:
            self._exchange.standing.distrust()  # what has come between two mails was not asked for
        return is_quiet

    @property
    def most_mails(self) -> int | None:
        """How many mails the server is known to take on one connection; None if that is not known."""
        return self._habits.most(Habit.MOST_MAILS)

    def allow(self, seconds: float, policy: Policy) -> None:
        """Give the next message, and the opening before it, ``seconds``, and each after it all that ``policy`` allows.

        Whoever uses a kept connection is as patient as that, however patient the one before was.
        """
        self._exchange.seconds_left, self._exchange.total_seconds = seconds, policy.total_seconds
        self._talk.allow(policy.patience, policy.span)

    def open(self) -> None:
        """Connect, greet, encrypt and sign in as the settings demand; never less than they demand."""
        self.close()
        before = self._exchange  # only its time goes on: what was learnt of a session holds for that one
        opening = Opening(self._talk, self._settings, self._policy)
        try:
            with self._talk.covered(), self._talk.within(before.seconds_left):
                features = opening.run()
                self._talk.is_open = True
        except DeliveryError as error:
            self._note_failed_opening(error)
            raise
        standing = Standing(features, self._habits, opening.face)
        self._exchange = Exchange(self._talk, standing, self._talk.deadline.remaining(), before.total_seconds)

    def _note_failed_opening(self, error: DeliveryError) -> None:
        talk = self._talk
        error.tls = talk.seen.tls or None
        if talk.transcript and not talk.observer:
            error.spoken = talk.transcript.spoken()

    def send(self, envelope: Envelope, content: bytes) -> Receipt:
        """Hand over one finished message (CRLF line ends). The receipt may name refused recipients."""
        ((_, result),) = self.send_all([Parcel(envelope=envelope, content=content)], in_flight=1)
        return receipt_of(result)

    def send_all(self, parcels: Sequence[Parcel], *, in_flight: int = IN_FLIGHT) -> Generator[tuple[Parcel, Result]]:
        """Hand over many messages, at most ``in_flight`` of them unanswered; give what became of each.

        The outcomes come as soon as they are known, nearly always in order: a receipt; the error of this mail,
        which does not stop the others; or None where the connection ended before anything of it was taken, so
        that it can be tried on another. A connection that dies leaves all that was said to the end unknown.
        ValueError, for any of the parcels, comes before anything is said.
        """
        mails = [self._exchange.transaction(parcel) for parcel in parcels]
        return self._carried(mails, max(1, in_flight))

    def _carried(self, mails: Sequence[Transaction], in_flight: int) -> Generator[tuple[Parcel, Result]]:
        """The outcomes, also where an exception ends the exchange that nobody foresaw: what is out stays unknown."""
        left, wire = list(mails), self._talk.wire
        with self._talk.covered():
            try:
                for mail, outcome in self._exchange.carry(mails, in_flight):
                    left.remove(mail)
                    yield mail.parcel, outcome
            except incidents.STOPS:
                raise
            except BaseException as error:
                if self._talk.observer:  # a test has a last resort of its own
                    raise
                self.abandon()
                ours = our_faults.told("smtp_exchange_failed", error, host=self._settings.host)
                for mail in left:
                    is_out = wire is not None and mail.end <= wire.sent
                    yield mail.parcel, unknown(ours.fault, ours.text) if is_out else ours

    def find_out(self, sender: str) -> None:
        """Find out what is found out before many mails. The connection may end over it. Never raises."""
        with self._talk.covered():
            self._exchange.find_out(self._exchange.inquiry(sender, sender))

    def ask_for_nothing(self) -> None:
        """See that the server goes on listening once it has let us in (NOOP, RFC 5321 4.1.1.9). Raises DeliveryError.

        What it says is the same to us, unless it leaves.
        """
        with self._talk.covered(), self._talk.within(self._exchange.seconds_left):
            self._talk.begin(Phase.SENDER)
            self._talk.answered(self._talk.ask(b"NOOP"))

    def check_envelope(
        self, sender: str, recipient: str, *, excuses: Callable[[DeliveryError], bool] = _nothing, is_told: bool = True
    ) -> Reply:
        """Ask whether the server would take mail from ``sender`` to ``recipient``, as mails are said to it.

        Nothing is sent. Gives the answer to the recipient; a refusal of it that is excused is a warning to the
        observer, not an error. Unless ``is_told``, the observer hears of trouble only.
        """
        mail = self._exchange.inquiry(sender, recipient)
        with self._talk.covered():
            return self._exchange.inquire(mail, excuses, is_told=is_told)

    def close(self, *, patiently: bool = True) -> None:
        """Say goodbye if the connection is fit for it, ``patiently`` hear the answer, and close it. Never raises."""
        wire = self._talk.wire
        if wire and self._talk.ready:
            with suppress(WireError):  # whatever becomes of QUIT, the mails before have their answers
                deadline = Deadline(_FAREWELL)
                wire.send(b"QUIT\r\n", deadline)
                if patiently:
                    wire.read_reply(deadline)
        self.abandon()

    def abandon(self) -> None:
        """Close the connection without a word."""
        self._talk.drop()


def receipt_of(result: Result) -> Receipt:
    """The receipt. Raises the error that there is instead of it."""
    if isinstance(result, Receipt):
        return result
    raise result or closed()


def closed() -> DeliveryError:
    """The error of a mail of which nothing was said: its connection was gone."""
    return Temporary(Phase.SENDER, Fault.CLOSED, "The connection is closed.")

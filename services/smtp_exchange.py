"""Mails on one open session, each message after its go-ahead: 354, or 250 to a first chunk (RFC 3030).

To a server with PIPELINING (RFC 2920) the commands of a mail are one flight, behind the message before it.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import Final, TypeVar

from services import smtp_grammar
from services.smtp_dialogue import GOING_AWAY, Dialogue, refusal
from services.smtp_transaction import RSET, Receipt, Transaction
from services.smtp_wire import CHUNK, Deadline, Reply, WireError
from utils.errors import DeliveryError, Fault, Phase, Temporary

Result = Receipt | DeliveryError | None
Found = TypeVar("Found")

PHASES: Final = {b"RSET": Phase.SENDER, b"MAIL": Phase.SENDER, b"RCPT": Phase.RECIPIENT}
_STRETCH: Final = 256 * 1024  # octets of a message between two looks at whether the server has had enough
_FRESH: Final = 10.0  # seconds; a connection that was silent for longer may be dead without a sign


class Exchange:
    """What one session knows between two mails. ``seconds_left`` is for the next, ``total_seconds`` for each other."""

    def __init__(self, talk: Dialogue, features: Mapping[str, str], seconds_left: float, total_seconds: float) -> None:
        self.features = features
        self.seconds_left = seconds_left
        self.total_seconds = total_seconds
        self._talk = talk
        self._clean = True  # the server holds no half-done transaction that the next could add to
        self._pipelining = "PIPELINING" in features
        self._chunking = self._pipelining and "CHUNKING" in features
        self._blind_until = 0.0
        self._in_hand: deque[Transaction] = deque()  # something of them was said, their outcome is not known

    def start_clean(self) -> None:
        """Make sure that nothing of an earlier transaction is left; from here on there is a new one."""
        if not self._clean:
            self.reset()
        self._clean = False

    def reset(self) -> None:
        """Raises Temporary, and ends the connection, if the server does not forget its transaction."""
        self._check_reset(self._talk.ask(RSET))
        self._clean = True

    def _step_by_step(self, waiting: deque[Transaction]) -> Iterator[tuple[Transaction, Result]]:
        due: Transaction | None = None  # has its go-ahead
        while self._talk.ready:
            new = self._take(waiting, behind=due)
            if due:
                receipt = self._attempt(partial(self._hand_over, due, new))
                yield self._in_hand.popleft(), receipt
            elif not new:
                return
            introduced, due = due is not None, None
            if new and self._talk.ready:
                error = self._attempt(partial(self._introduce, new, said=introduced))
                if error:
                    yield self._in_hand.popleft(), error
                else:
                    due = new

    def _take(self, waiting: deque[Transaction], behind: Transaction | None) -> Transaction | None:
        """The next mail to begin, if it can be begun now."""
        if not waiting or self.may_go_blind(waiting[0]):
            return None
        follows = self._pipelining and waiting[0].is_compact and not (self._chunking and waiting[0].is_light)
        if behind and not follows:
            return None
        self._in_hand.append(waiting.popleft())
        return self._in_hand[-1]

    def _introduce(self, mail: Transaction, *, said: bool) -> None:
        """Bring a mail up to its go-ahead; ``said`` if its commands went out behind the message before it."""
        self._talk.deadline = self._next_deadline()
        self._talk.begin(Phase.SENDER)
        if mail.trouble:
            raise mail.trouble
        chunking = self._chunking
        replies = self._converse(mail, said=said)
        if mail.goes_by_chunks and lost_step(mail, replies):
            self._chunking = False  # announced, but not understood
            self._find_step()
            replies = self._converse(mail)
        if self._pipelining and lost_step(mail, replies):
            self._pipelining = self._chunking = False
            replies = self._converse(mail)
            if lost_step(mail, replies):  # singly as well, so it is about the mail
                self._pipelining, self._chunking = True, chunking
        last = replies.pop() if len(replies) == _answers(mail) else None
        self._judge(mail, replies, last)
        self._talk.begin(Phase.DATA)
        if last and (last.temporary or last.permanent):
            raise refusal(Phase.DATA, last)
        if last is None or not _is_go_ahead(mail, last):
            raise WireError(Fault.NOT_SMTP, "The server's answer to DATA makes no sense.")

    def _groups(self, mail: Transaction) -> list[list[bytes]]:
        """The commands of a new transaction, in the groups in which they may be said."""
        commands = mail.begin(clean=self._clean, by_chunks=self._chunking)
        self._clean = False
        if not self._pipelining:
            return [[command] for command in commands]
        return [commands] if mail.is_compact else list(smtp_grammar.groups(commands))

    def _converse(self, mail: Transaction, *, said: bool = False) -> list[Reply]:
        """Say the commands as far as it makes sense; give the answers to MAIL, RCPT and the last."""
        groups = [mail.script] if said else self._groups(mail)
        replies: list[Reply] = []
        for group in groups:
            in_vain = group == mail.script[-1:] and not any(reply.ok for reply in replies[1:])
            if replies and (in_vain or not replies[0].ok):
                break
            if not said:
                self._talk.say(smtp_grammar.together(group))
            for command in group:
                self._talk.phase = PHASES.get(command[:4], Phase.DATA)
                try:
                    reply = self._talk.hear()
                except (WireError, DeliveryError):
                    if not replies or replies[0].ok:
                        raise
                    self._talk.drop()  # it refused the sender and left without a word about the rest
                    return replies
                if command == RSET:
                    self._check_reset(reply)
                else:
                    replies.append(reply)
        return replies

    def _hand_over(self, mail: Transaction, following: Transaction | None) -> Receipt:
        """Send the message to its last octet, and the commands of the next behind it; wait for the answer."""
        talk = self._talk
        talk.begin(Phase.MESSAGE)
        wire, body = talk.live(), mail.body
        behind = smtp_grammar.together(self._groups(following)[0]) if following else b""
        mail.end = wire.sent + len(body)
        tail = max(len(body) - CHUNK, 0)  # the dot goes in one piece with what is before it, or not at all
        try:
            for start in range(0, tail, _STRETCH):
                talk.refuse_unasked()
                wire.send(memoryview(body)[start : min(start + _STRETCH, tail)], talk.for_block())
            talk.refuse_unasked()
            wire.send(body[tail:] + behind, talk.for_block())
        except WireError:
            if wire.sent < mail.end:
                with suppress(WireError):  # the server may have said why it stopped listening
                    talk.refuse_unasked()
                raise
        return self._judge_message(mail, wire.read_reply(talk.for_receipt()))

    def may_go_blind(self, mail: Transaction) -> bool:
        """Whether all of a mail may be written at once, since the server has lately taken a chunk."""
        return self._chunking and mail.is_light and monotonic() < self._blind_until

    def trust(self) -> None:
        """The server has just taken a chunk."""
        self._blind_until = monotonic() + _FRESH

    # What the answers mean.

    def _attempt(self, act: Callable[[], Found]) -> Found | DeliveryError:
        """Do something for the first mail in hand; trouble is its error, and the connection's if it must."""
        wire = self._talk.wire
        self._talk.dot_sent = False
        try:
            return act()
        except (WireError, DeliveryError) as error:
            self._talk.dot_sent = wire is not None and self._in_hand[0].end <= wire.sent
            return self._talk.failure(error)

    def _judge(self, mail: Transaction, replies: list[Reply], last: Reply | None) -> None:
        """Raises the error of a mail that has no sender or no recipient left; further refusals join the mail's."""
        talk = self._talk
        talk.phase = Phase.SENDER
        sender, *answers = replies
        waits = last is not None and last.code == smtp_grammar.GO_AHEAD
        if not sender.ok:
            if waits:
                talk.drop()  # for a message that has no sender
            raise refusal(Phase.SENDER, sender)
        talk.answered(sender)
        talk.begin(Phase.RECIPIENT)
        mail.refused |= {to: reply for to, reply in zip(mail.asked, answers, strict=False) if not reply.ok}
        accepted = sum(reply.ok for reply in answers)
        if not accepted:
            if waits:
                self._end_empty_message()
            raise mail.all_refused()
        fact = f"{accepted} of {accepted + len(mail.refused)} accepted"
        talk.done(fact, "warning" if mail.refused else "ok")

    def _judge_message(self, mail: Transaction, reply: Reply) -> Receipt:
        talk = self._talk
        talk.phase = Phase.MESSAGE
        if not (reply.ok or reply.temporary or reply.permanent):
            raise WireError(Fault.NOT_SMTP, "The server's answer to the message makes no sense.")
        if not reply.ok:
            if reply.code == GOING_AWAY:
                talk.drop()
            raise refusal(Phase.MESSAGE, reply)
        self._clean = len(self._in_hand) == 1
        if mail.goes_by_chunks:
            self.trust()
        talk.answered(reply)
        return mail.receipt(reply)

    def _end_empty_message(self) -> None:
        """RFC 2920 3.1: a server that wants a message for nobody gets an empty one; its answer says nothing."""
        try:
            self._talk.ask(b".")
        except (WireError, DeliveryError):
            self._talk.drop()

    def _find_step(self) -> None:
        """Start anew after a first chunk that was not taken: it may have been read as a command, and answered."""
        self._talk.live().send(RSET + b"\r\n", self._talk.soon())
        reply = self._talk.hear()
        self._check_reset(reply if reply.ok else self._talk.hear())
        self._clean = True

    def _check_reset(self, reply: Reply) -> None:
        if not reply.ok:
            self._talk.drop()
            error = refusal(self._talk.phase, reply)
            raise Temporary(error.phase, error.fault, error.text, code=reply.code, enhanced=reply.enhanced)

    def _next_deadline(self) -> Deadline:
        seconds, self.seconds_left = self.seconds_left, self.total_seconds
        return Deadline(seconds)


def lost_step(mail: Transaction, replies: list[Reply]) -> bool:
    """Whether the commands of a mail were not understood, so that saying them another way may help."""
    return smtp_grammar.are_out_of_step(replies, _answers(mail))


def _answers(mail: Transaction) -> int:
    return len(mail.asked) + 2


def _is_go_ahead(mail: Transaction, reply: Reply) -> bool:
    return reply.ok if mail.goes_by_chunks else reply.code == smtp_grammar.GO_AHEAD

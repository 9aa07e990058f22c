"""Mails on one open session with several in flight: whole transactions are said before their answers are read.

Only to a server that has PIPELINING and CHUNKING (RFC 3030) and has lately taken a chunk, so that no message can
be mistaken for commands; and only small messages. All others go step by step.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

from services.smtp_dialogue import GOING_AWAY, refusal
from services.smtp_exchange import PHASES, Exchange, Result, lost_step
from services.smtp_transaction import RSET, Receipt, Transaction
from services.smtp_wire import Deadline, WireError
from utils.errors import DeliveryError, Fault, OutcomeUnknown, Phase

# What is under way at most: its answers, and the commands, fit into the buffers between the two sides, so that
# neither waits for the other to read.
_MOST_COMMANDS: Final = 200
_MOST_OCTETS: Final = 128 * 1024
_PARTING: Final = 1.0  # seconds for a server that says 421 to hang up


class InFlight(Exchange):
    """An exchange that hides the way to and from the server behind several mails."""

    _has_hung_up = False  # it said goodbye and left, so what it has not answered it has not taken

    def carry(self, mails: Sequence[Transaction], most: int) -> Iterator[tuple[Transaction, Result]]:
        """Send the mails, at most ``most`` in flight; give the outcome of each, in order, when it is known.

        None is for a mail of which nothing was taken when the connection ended. One that was refused because
        the server lost its step is tried again, singly, behind those in flight.
        """
        waiting, wire = deque(mails), self._talk.wire
        try:
            while waiting and self._talk.ready:
                blindly = self.may_go_blind(waiting[0])
                yield from self._blindly(waiting, most) if blindly else self._step_by_step(waiting)
            while self._in_hand:
                mail = self._in_hand.popleft()
                unknown = wire is not None and mail.end <= wire.sent and not self._has_hung_up
                yield mail, _lost() if unknown else None
            for mail in waiting:
                yield mail, None
        except BaseException:
            if self._in_hand:  # whoever listened has gone
                self._talk.drop()
            raise

    def _blindly(self, waiting: deque[Transaction], most: int) -> Iterator[tuple[Transaction, Result]]:
        while self._talk.ready and (self._in_hand or (waiting and self.may_go_blind(waiting[0]))):
            self._talk.deadline = self._next_deadline()
            outcome = self._attempt(partial(self._answered, waiting, most))
            mail = self._in_hand.popleft()
            self._talk.content_is_out = bool(self._in_hand)
            if outcome:
                yield mail, outcome
            else:
                waiting.appendleft(mail)

    def _answered(self, waiting: deque[Transaction], most: int) -> Receipt | None:
        """The receipt of the first mail in flight, with more behind it; None if it is to be tried step by step."""
        wire = self._talk.live()
        if len(self._in_hand) <= most // 4 and not wire.has_more:
            self._launch(waiting, most)
        mail = self._in_hand[0]
        replies = []
        for command in mail.script:
            self._talk.phase = PHASES.get(command[:4], Phase.MESSAGE)
            reply = wire.read_reply(self._talk.for_receipt())
            if reply.code == GOING_AWAY:
                self._has_hung_up = len(self._in_hand) == 1 or self._nothing_follows()
                self._talk.drop()
                raise refusal(self._talk.phase, reply)
            if command != RSET:
                replies.append(reply)
            elif not reply.ok:
                raise WireError(Fault.NOT_SMTP, "The server did not forget the mail before, and then got this one.")
        if lost_step(mail, replies):
            self._chunking = False
            return None
        last = replies.pop()
        self._judge(mail, replies, last)
        receipt = self._judge_message(mail, last)
        self.trust()
        return receipt

    def _launch(self, waiting: deque[Transaction], most: int) -> None:
        """Write whole transactions at once, as many as may be in flight."""
        talk, wire = self._talk, self._talk.live()
        is_first = not self._in_hand
        commands = sum(len(mail.script) for mail in self._in_hand)
        octets = sum(len(mail.content) for mail in self._in_hand)
        flight: list[bytes] = []
        end = wire.sent
        while waiting and len(self._in_hand) < most:
            mail = waiting[0]
            commands += len(mail.asked) + 3
            octets += len(mail.content)
            is_too_much = commands > _MOST_COMMANDS or octets > _MOST_OCTETS
            if self._in_hand and (is_too_much or not self.may_go_blind(mail)):
                break
            text = mail.whole(clean=self._clean)
            self._clean = False
            end += len(text)
            mail.end = end
            flight.append(text)
            self._in_hand.append(waiting.popleft())
        talk.content_is_out = True
        if is_first:
            talk.begin(Phase.SENDER)
            talk.refuse_unasked()
        with suppress(WireError):  # the answers that have come are still worth hearing
            wire.send(b"".join(flight), talk.deadline)

    def _nothing_follows(self) -> bool:
        """Whether a server that said 421 has hung up, with no answer to anything else."""
        try:
            self._talk.live().read_reply(Deadline(_PARTING))
        except WireError as error:
            return error.fault is Fault.CLOSED
        return False


def _lost() -> DeliveryError:
    text = "The connection ended before the answer."
    return OutcomeUnknown(Phase.MESSAGE, Fault.CLOSED, text, may_have_been_sent=True)

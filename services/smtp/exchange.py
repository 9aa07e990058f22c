"""Mails on one open session: octets of a message go out only where the server has shown that they may.

That is behind an accepted recipient and a go-ahead (354), or, on a server that has been seen to swallow a refused chunk
(RFC 3030), together with the commands: then several whole mails are under way at a time. To a server with PIPELINING
(RFC 2920) the commands of a mail are one flight, behind the message before it.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Final, TypeVar

from services.smtp import grammar
from services.smtp.dialogue import Dialogue, refusal, unknown
from services.smtp.habits import Habit
from services.smtp.prologue import PHASES, AnotherWay, Prologue, answers_to, lacks_parameters, lost_step
from services.smtp.standing import Standing
from services.smtp.trace import Trace
from services.smtp.transaction import RSET, Envelope, Parcel, Receipt, Transaction
from services.smtp.wire import CHUNK, Deadline, Reply, WireError
from utils.errors import DeliveryError, Fault, Phase

Result = Receipt | DeliveryError | None
Found = TypeVar("Found")

_STRETCH: Final = 256 * 1024  # octets of a message between two looks at whether the server has had enough
_PARTING: Final = 1.0  # seconds for a server that says 421 to hang up
# What is under way at most: its answers, and the commands, fit into the buffers between the two sides, so that
# neither waits for the other to read.
_MOST_COMMANDS: Final = 200
_MOST_OCTETS: Final = 128 * 1024
_UNEXPECTED: Final = {500, 502, 503, 504}  # to one RCPT too many, from servers without a word for it


class Exchange:
    """Carries mails over a session. ``seconds_left`` is for the next, ``total_seconds`` for each other."""

    def __init__(self, talk: Dialogue, standing: Standing, seconds_left: float, total_seconds: float) -> None:
        self.seconds_left = seconds_left
        self.total_seconds = total_seconds
        self._talk = talk
        self.standing = standing
        self._prologue = Prologue(talk, standing)
        self._in_hand: deque[Transaction] = deque()  # something of them was said, their outcome is not known
        self._has_hung_up = False  # it said goodbye and left, so what it has not answered it has not taken

    def transaction(self, parcel: Parcel) -> Transaction:
        """The parcel as this server is to get it."""
        if parcel.trace:
            parcel.trace.tls = self._talk.tls
        return Transaction(parcel, self.standing.features, self.standing.habits.most(Habit.MOST_RECIPIENTS))

    def carry(self, mails: Sequence[Transaction], most: int) -> Iterator[tuple[Transaction, Result]]:
        """Send the mails, at most ``most`` in flight; give the outcome of each, in order, when it is known.

        None is for a mail of which nothing was taken when the connection ended. One that was refused because
        the server lost its step is tried again, singly, behind those in flight.
        """
        waiting, wire = deque(mails), self._talk.wire
        try:
            if most > 1 and len(waiting) > 1:
                self.find_out(waiting[0])
            while waiting and self._talk.ready:
                blindly = self.standing.may_go_blind(waiting[0])
                yield from self._blindly(waiting, most) if blindly else self._step_by_step(waiting)
            while self._in_hand:
                mail = self._in_hand.popleft()
                is_out = wire is not None and mail.end <= wire.sent and not self._has_hung_up
                yield mail, unknown(Fault.CLOSED, "The connection ended before the reply.") if is_out else None
            yield from ((mail, None) for mail in waiting)
        except BaseException:
            if self._in_hand:  # whoever listened has gone
                self._talk.drop()
            raise
        finally:
            self._talk.turn_to(None)

    def find_out(self, mail: Transaction) -> None:
        """Before many mails: whether they may be said whole, if that is to be asked now. It may end the connection."""
        if not mail.trouble and self.standing.asks_about_chunks():
            self._talk.deadline = Deadline(self.seconds_left)
            self._prologue.ask_about_chunks(mail)

    def inquiry(self, sender: str, recipient: str) -> Transaction:
        """All of a mail but its content, to be said as this server gets its mails."""
        parcel = Parcel(envelope=Envelope(sender=sender, recipients=(recipient,)), content=b"")
        return Transaction(parcel, self.standing.features, is_inquiry=True)

    def inquire(self, mail: Transaction, excuses: Callable[[DeliveryError], bool], *, is_told: bool) -> Reply:
        """Say it, and give the answer to its recipient: good, or a refusal that is excused. Else raises the error.

        Unless ``is_told``, only trouble becomes a step.
        """
        self._talk.deadline = Deadline(self.seconds_left)
        try:
            found = self._attempt(partial(self._inquired, mail, excuses, is_told=is_told))
        except BaseException:  # whoever listened has gone
            self._talk.drop()
            raise
        finally:
            self.seconds_left = self._talk.deadline.remaining()
        if isinstance(found, DeliveryError):
            raise found
        return found

    def _inquired(self, mail: Transaction, excuses: Callable[[DeliveryError], bool], *, is_told: bool) -> Reply:
        talk, envelope = self._talk, mail.parcel.envelope
        talk.begin(Phase.SENDER)
        if mail.trouble and mail.trouble.phase is Phase.SENDER:
            raise mail.trouble
        self.standing.carried += 1
        sender, *replies = self._prologue.introduce(mail, said=False)
        talk.phase = Phase.SENDER
        if not sender.ok:
            raise refusal(Phase.SENDER, sender)
        if mail.is_bare and not self.standing.is_bare:
            self.standing.lose_parameters()
        # Behind a RSET that came with more, no MAIL comes before another: of that Dovecot's submission service dies.
        has_forgotten = len(replies) > len(mail.asked) and replies[-1].ok
        self.standing.clean = has_forgotten and not self.standing.pipelining
        if is_told:
            talk.done(f"{envelope.sender}: {sender.code} {sender.text}")
        talk.begin(Phase.RECIPIENT)
        (address,) = envelope.recipients
        reply = mail.refused.get(address) or replies[0]
        error = None if reply.ok else mail.trouble or refusal(Phase.RECIPIENT, reply)
        if error and not excuses(error):
            raise error
        if is_told:
            talk.done(f"{address}: {reply.code} {reply.text}", "warning" if error else "ok")
        return reply

    # Whole mails at once.

    def _blindly(self, waiting: deque[Transaction], most: int) -> Iterator[tuple[Transaction, Result]]:
        standing = self.standing
        while self._talk.ready and (self._in_hand or (waiting and standing.may_go_blind(waiting[0]))):
            self._talk.deadline = self._next_deadline()
            outcome = self._attempt(partial(self._answered, waiting, most))
            mail = self._in_hand.popleft() if self._in_hand else waiting.popleft()
            self._talk.content_is_out = bool(self._in_hand)
            if outcome:
                yield mail, outcome
            else:
                waiting.appendleft(mail)

    def _answered(self, waiting: deque[Transaction], most: int) -> Receipt | None:
        """The receipt of the first mail in flight, with more behind it; None if it is to be tried step by step."""
        talk, wire, standing = self._talk, self._talk.live(), self.standing
        if not self._in_hand:
            self._prologue.see_it_is_in_step()
        if not standing.is_shaken and len(self._in_hand) <= most // 4 and not wire.has_more:
            self._launch(waiting, most)
        mail = self._in_hand[0]
        talk.turn_to(mail.parcel.trace)
        standing.carried += 1
        replies: list[Reply] = []
        try:
            for command in mail.script:
                reply = self._answer_to(command)
                if command != RSET:
                    replies.append(reply)
        except DeliveryError as error:
            if lacks_parameters(mail, replies):  # and it has counted too many errors by now
                standing.lose_parameters()
                raise AnotherWay(error) from None
            raise
        sender, *_, last = replies
        standing.is_shaken = not last.ok
        if last.ok and not sender.ok:
            raise WireError(Fault.BROKEN_REPLY, "The server refused the sender but accepted the message.")
        if lost_step(mail, replies):
            standing.lose_chunking()
            return None
        if lacks_parameters(mail, replies):
            mail.bare()
            return None
        replies.pop()
        try:
            self._judge(mail, replies, last)
        except DeliveryError:
            if self._talk.ready and sender.ok and mail.go_on():
                return None
            raise
        return self._judge_message(mail, last)

    def _answer_to(self, command: bytes) -> Reply:
        """The answer to a command of a mail in flight."""
        self._talk.phase = PHASES.get(command[:4], Phase.MESSAGE)
        reply = self._talk.live().read_reply(self._talk.for_receipt())
        if reply.code == grammar.GOING_AWAY:
            self._has_hung_up = len(self._in_hand) == 1 or self._nothing_follows()
            self._talk.drop()
            error = refusal(self._talk.phase, reply)
            self.standing.note_end(error)
            raise error
        if command == RSET:
            if not reply.ok:
                self.standing.learn_to_swallow(False)
                raise WireError(
                    Fault.BROKEN_REPLY, "The server did not discard the previous email before it got this one."
                )
            self.standing.is_shaken = False
        return reply

    def _launch(self, waiting: deque[Transaction], most: int) -> None:
        """Write whole transactions at once, as many as may be in flight."""
        talk, wire, standing = self._talk, self._talk.live(), self.standing
        commands = sum(len(mail.script) for mail in self._in_hand)
        octets = sum(len(mail.content) for mail in self._in_hand)
        flight: list[bytes] = []
        parts: list[tuple[Trace | None, int, bool]] = []
        end = wire.sent
        while waiting and len(self._in_hand) < most:
            mail = waiting[0]
            commands += len(mail.asked) + 3
            octets += len(mail.content)
            is_too_much = commands > _MOST_COMMANDS or octets > _MOST_OCTETS
            if self._in_hand and (is_too_much or not standing.may_go_blind(mail)):
                break
            if standing.is_bare:
                mail.bare()
            text = mail.whole(clean=standing.clean)
            standing.clean = False
            end += len(text)
            mail.end = end
            flight.append(text)
            parts.append((mail.parcel.trace, len(text), False))
            self._in_hand.append(waiting.popleft())
        talk.content_is_out = True
        talk.expect(parts)
        with suppress(WireError):  # the answers that have come are still worth hearing
            wire.send(b"".join(flight), talk.for_block())

    def _nothing_follows(self) -> bool:
        """Whether a server that said 421 has hung up, with no answer to anything else."""
        try:
            self._talk.live().read_reply(Deadline(_PARTING))
        except WireError as error:
            return error.fault is Fault.CLOSED
        return False

    # One message after the other.

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
        if not waiting:
            return None
        mail, standing = waiting[0], self.standing
        follows = standing.pipelining and standing.behind_dot and mail.is_compact
        goes_blind = standing.swallows and mail.is_light if behind else standing.may_go_blind(mail)
        if goes_blind or (behind and not follows):
            return None
        if standing.is_bare:
            mail.bare()
        self._in_hand.append(waiting.popleft())
        return mail

    def _introduce(self, mail: Transaction, *, said: bool) -> None:
        """Bring a mail up to its go-ahead; ``said`` if its commands went out behind the message before it."""
        self._talk.deadline = self._next_deadline()
        self._talk.turn_to(mail.parcel.trace)
        self._talk.begin(Phase.SENDER)
        self.standing.carried += 1
        if mail.trouble:
            raise mail.trouble
        last = self._introduced(mail, said=said)
        self._talk.begin(Phase.DATA)
        if last and (last.temporary or last.permanent):
            raise refusal(Phase.DATA, last)
        if last is None or last.code != grammar.GO_AHEAD:
            raise WireError(Fault.BROKEN_REPLY, "The server's reply to DATA makes no sense.")

    def _introduced(self, mail: Transaction, *, said: bool) -> Reply | None:
        """The answer to the last command, once a recipient is accepted: the first, or one of those behind them."""
        refused: DeliveryError | None = None
        while True:
            try:
                replies = self._prologue.introduce(mail, said=said)
            except (WireError, DeliveryError, AnotherWay):
                if refused is None:
                    raise
                self._talk.drop()
                raise refused from None  # that much is known, and those who are left can be asked another time
            last = replies.pop() if len(replies) == answers_to(mail) else None
            try:
                self._judge(mail, replies, last)
            except DeliveryError as error:
                if not (self._talk.ready and replies[0].ok and mail.go_on()):
                    raise
                refused, said = error, False
            else:
                return last

    def _hand_over(self, mail: Transaction, following: Transaction | None) -> Receipt:
        """Send the message to its last octet, and the commands of the next behind it; wait for the answer."""
        talk, habits = self._talk, self.standing.habits
        talk.turn_to(mail.parcel.trace)
        talk.begin(Phase.MESSAGE)
        wire, body = talk.live(), mail.body
        behind = grammar.together(self._prologue.first_group(following)) if following else b""
        mail.end = wire.sent + len(body)
        tail = max(len(body) - CHUNK, 0)  # the dot goes in one piece with what is before it, or not at all
        try:
            for start in range(0, tail, _STRETCH):
                talk.refuse_unasked()
                wire.send(memoryview(body)[start : min(start + _STRETCH, tail)], talk.for_block())
            talk.refuse_unasked()
            if following:
                trace = following.parcel.trace
                talk.expect([(mail.parcel.trace, len(body) - tail, True), (trace, len(behind), False)])
            wire.send(body[tail:] + behind, talk.for_block())
        except WireError:
            if wire.sent < mail.end:
                with suppress(WireError):  # the server may have said why it stopped listening
                    talk.refuse_unasked()
                raise
        try:
            reply = wire.read_reply(talk.for_receipt())
        except WireError:
            if behind and not habits.shows(Habit.BEHIND_DOT):  # perhaps it waits for a dot with nothing behind it
                habits.learn(Habit.BEHIND_DOT, False)
            raise
        return self._judge_message(mail, reply)

    # What the answers mean.

    def _attempt(self, act: Callable[[], Found]) -> Found | DeliveryError:
        """Do something for the first mail in hand; trouble is its error, and the connection's if it must."""
        wire = self._talk.wire
        self._talk.dot_sent = False
        try:
            return act()
        except AnotherWay as way:
            error = self._talk.failure(way.error)
            self._talk.drop()
            error.not_taken = True
            return error
        except (WireError, DeliveryError) as trouble:
            is_out = bool(self._in_hand) and wire is not None and self._in_hand[0].end <= wire.sent
            self._talk.dot_sent = is_out
            return self._talk.failure(trouble)

    def _judge(self, mail: Transaction, replies: list[Reply], last: Reply | None) -> None:
        """Raises the error of a mail that has no sender or no recipient left; further refusals join the mail's."""
        talk = self._talk
        talk.phase = Phase.SENDER
        sender, *answers = replies
        waits = last is not None and last.code == grammar.GO_AHEAD
        if not sender.ok:
            if waits:
                talk.drop()  # for a message that has no sender
            raise refusal(Phase.SENDER, sender)
        if mail.is_bare and not self.standing.is_bare:
            self.standing.lose_parameters()
        talk.answered(sender)
        talk.begin(Phase.RECIPIENT)
        answers = self._with_too_many(answers)
        mail.refused |= {to: reply for to, reply in zip(mail.asked, answers, strict=False) if not reply.ok}
        accepted = sum(reply.ok for reply in answers)
        if not accepted:
            if waits:
                self._end_empty_message()
            raise mail.all_refused()
        fact = f"{accepted} of {accepted + len(mail.refused)} accepted"
        talk.done(fact, "warning" if mail.refused else "ok")

    def _with_too_many(self, answers: list[Reply]) -> list[Reply]:
        """The answers to RCPT; where the server knew the command, and then did no longer, it had too many."""
        too_many = [reply.code in _UNEXPECTED for reply in answers]
        if True not in too_many or too_many[0]:
            return answers
        self.standing.habits.learn(Habit.MOST_RECIPIENTS, too_many.index(True))
        return [grammar.too_many(reply) if reply.code in _UNEXPECTED else reply for reply in answers]

    def _judge_message(self, mail: Transaction, reply: Reply) -> Receipt:
        talk = self._talk
        talk.phase = Phase.MESSAGE
        if not (reply.ok or reply.temporary or reply.permanent):
            raise WireError(Fault.BROKEN_REPLY, "The server's reply to the message makes no sense.")
        if not reply.ok:
            if reply.code == grammar.GOING_AWAY:
                talk.drop()
            raise refusal(Phase.MESSAGE, reply)
        self.standing.taken += 1
        self.standing.clean = len(self._in_hand) == 1
        self.standing.trust()
        talk.answered(reply)
        return mail.receipt(reply)

    def _end_empty_message(self) -> None:
        """RFC 2920 3.1: a server that wants a message for nobody gets an empty one; its answer says nothing."""
        try:
            self._talk.ask(b".")
        except (WireError, DeliveryError):
            self._talk.drop()

    def _next_deadline(self) -> Deadline:
        seconds, self.seconds_left = self.seconds_left, self.total_seconds
        return Deadline(seconds)

"""The commands of a mail, from MAIL to the go-ahead: together where the server understands that, else one by one."""

from time import monotonic
from typing import Final

from services.smtp import grammar
from services.smtp.dialogue import Dialogue, refusal
from services.smtp.habits import Habit
from services.smtp.standing import Standing
from services.smtp.transaction import RSET, Transaction
from services.smtp.wire import Deadline, Reply, WireError
from utils.errors import DeliveryError, Fault, Phase

PHASES: Final = {b"RSET": Phase.SENDER, b"MAIL": Phase.SENDER, b"RCPT": Phase.RECIPIENT}
_DOUBT: Final = 10.0  # seconds at most for an answer that the server may never give, because of how we asked
# A chunk without a recipient, which must be refused. It is harmless where it is taken for commands, whose answers are
# too many; two of them, lest the answer to one passes for that to BDAT where BDAT itself has none.
_REFUSED_CHUNK: Final = b"BDAT 12\r\nHELP\r\nHELP"
_LEAST_QUIET, _MOST_QUIET = 0.1, 2.0  # seconds, once a day, in which nothing more may come
_OTHER_SPELLING: Final = {501, 553}  # RFC 5321 4.2.3: what is said of a mailbox's syntax
_UNKNOWN_PARAMETERS: Final = {501, 504, 555}  # RFC 5321 4.1.1.11, and what servers say instead of 555


class AnotherWay(Exception):
    """Nothing of the mail was taken, and it is to be tried again on a new connection, perhaps in another way."""

    def __init__(self, error: WireError | DeliveryError) -> None:
        super().__init__(str(error))
        self.error = error


class Prologue:
    """Says commands and hears their answers. What the server does not keep of what it announces is remembered.

    Raises WireError and DeliveryError, which are the mail's, and AnotherWay, which is not.
    """

    def __init__(self, talk: Dialogue, standing: Standing) -> None:
        self._talk = talk
        self._standing = standing
        self._habits = standing.habits

    def ask_about_chunks(self, mail: Transaction) -> None:
        """Find out whether the server swallows a chunk that it must refuse; unless it is seen to, the connection ends.

        It is asked once a day, since servers count that as an error.
        """
        talk, standing = self._talk, self._standing
        talk.begin(Phase.SENDER)
        talk.note("Is a chunk refused that belongs to no email?")
        commands = [mail.sender, _REFUSED_CHUNK, RSET] if standing.clean else [RSET, mail.sender, _REFUSED_CHUNK, RSET]
        try:
            asked_at = monotonic()
            talk.say(grammar.together(commands))
            *_, chunk, last = [talk.hear(self._doubtful()) for _ in commands]
            is_an_answer = chunk.code == grammar.DONE or chunk.temporary or chunk.permanent
            # Answers too many come with those that were heard, or not much later than these took to come.
            quiet = min(max(monotonic() - asked_at, _LEAST_QUIET), _MOST_QUIET)
            if last.code == grammar.DONE and is_an_answer and not talk.live().pending(quiet):
                standing.learn_to_swallow(True)
                # All is forgotten, but Dovecot 2.3.19's submission service dies of a MAIL right after a RSET that came
                # in one piece with the MAIL before it. Another RSET, which costs nothing, keeps it alive.
                standing.clean = False
                standing.trust()
                return
            standing.learn_to_swallow(False)
        except WireError as error:
            if error.fault is Fault.TIMEOUT:
                standing.lose_chunking()
        except DeliveryError:  # it leaves, for reasons of its own
            pass
        talk.drop()

    def see_it_is_in_step(self) -> None:
        """Between two mails: nothing unasked has come and, after a refused chunk, RSET has its own answer."""
        self._talk.begin(Phase.SENDER)
        try:
            self._talk.refuse_unasked()
            if self._standing.is_shaken:
                self._require_reset(self._talk.ask(RSET))
                self._standing.clean = True
        except (WireError, DeliveryError) as error:
            self._standing.distrust()
            if self._standing.carried:
                raise AnotherWay(error) from None
            raise

    def introduce(self, mail: Transaction, *, said: bool) -> list[Reply]:
        """The answers to a mail's commands, said as often as it takes; ``said``: once already, behind a message."""
        replies = self._answers(mail, said=said)
        if not lacks_parameters(mail, replies):
            return self._in_step(mail, replies, said=said)
        mail.bare()
        if not self._talk.ready or replies[-1].code == grammar.GO_AHEAD:
            # It left, or waits for the message all the same: there is no second try on this connection.
            self._standing.lose_parameters()
            raise AnotherWay(refusal(Phase.SENDER, replies[0]))
        # After a refused MAIL there is nothing to forget, and servers count errors.
        self._standing.clean = not any(reply.ok for reply in replies[1:])
        try:
            return self._in_step(mail, self._answers(mail, said=False), said=False)
        except (WireError, DeliveryError) as error:  # one MAIL too many for this connection
            self._standing.lose_parameters()
            raise AnotherWay(error) from None

    def first_group(self, mail: Transaction) -> list[bytes]:
        """What can be said at once of a new transaction."""
        return self._groups(mail)[0]

    def _in_step(self, mail: Transaction, replies: list[Reply], *, said: bool) -> list[Reply]:
        """The answers, said another way on the same connection where they show that the server was out of step."""
        standing, talk = self._standing, self._talk
        if said and talk.ready:
            standing.behind_dot = not lost_step(mail, replies)
            self._habits.learn(Habit.BEHIND_DOT, standing.behind_dot)
            if not standing.behind_dot:
                replies = self._answers(mail, said=False)
        if not standing.pipelining or mail.is_delicate or not talk.ready:
            return replies
        if not lost_step(mail, replies):
            if not mail.is_inquiry:  # which shows nothing of DATA
                self._habits.learn(Habit.PIPELINING, True)
            return replies
        standing.pipelining = False
        replies = self._answers(mail, said=False)
        if lost_step(mail, replies):  # singly as well, so it is about the mail
            standing.pipelining = True
        else:
            standing.chunking = standing.swallows = False
            self._habits.learn(Habit.PIPELINING, False)
        return replies

    def _answers(self, mail: Transaction, *, said: bool) -> list[Reply]:
        """Say the commands as far as it makes sense; give the answers to MAIL, RCPT and the last."""
        groups = [mail.script] if said else self._groups(mail)
        way = None if len(groups[0]) == 1 else Habit.BEHIND_DOT if said else Habit.PIPELINING
        by = self._doubtful if way and not self._habits.shows(way) else self._talk.soon
        replies: list[Reply] = []
        has_forgotten = True
        try:
            for group in groups:
                in_vain = group == mail.script[-1:] and not any(reply.ok for reply in replies[1:])
                if replies and (in_vain or not replies[0].ok):
                    break
                if not said:
                    self._say(group, is_first=not replies)
                for command in group:
                    is_last = len(replies) == answers_to(mail) - 1
                    if not (is_last and mail.is_inquiry):
                        self._talk.phase = PHASES.get(command[:4], Phase.DATA)
                    reply = self._talk.hear(by())
                    if command != RSET or is_last:
                        replies.append(self._respelled(mail, len(replies), reply))
                    elif said and not reply.ok:  # it may only be deaf to all that comes behind a message
                        has_forgotten = False
                    else:
                        self._require_reset(reply)
        except (WireError, DeliveryError) as error:
            return self._broken_off(mail, replies, error, way)
        if not has_forgotten and not lost_step(mail, replies):
            raise AnotherWay(_unforgotten())
        return replies

    def _respelled(self, mail: Transaction, place: int, reply: Reply) -> Reply:
        """The answer to a recipient in the other spelling, where there is one and the first was not understood."""
        is_asked = mail.is_delicate and 1 <= place <= len(mail.asked)
        other = grammar.quoted_path(mail.asked[place - 1]) if is_asked and reply.code in _OTHER_SPELLING else None
        return self._talk.ask(b"RCPT TO:" + other) if other else reply

    def _broken_off(
        self, mail: Transaction, replies: list[Reply], error: WireError | DeliveryError, way: Habit | None
    ) -> list[Reply]:
        """What the answers come to that came before the trouble; else it is raised, or another way is asked for.

        ``way`` is how the commands were said, unless singly: silence may come from that.
        """
        is_over = mail.is_inquiry and len(replies) == answers_to(mail) - 1  # all is known that was asked
        if is_over and not (way and isinstance(error, WireError)):
            self._talk.drop()
            return replies
        is_refused = bool(replies) and not replies[0].ok
        if is_refused and (lacks_parameters(mail, replies) or not (way and lost_step(mail, replies))):
            self._talk.drop()  # it refused the sender and left without a word about the rest
            return replies
        if isinstance(error, DeliveryError):  # 421, or something unasked
            self._standing.note_end(error)
            raise error
        accepted = sum(reply.ok for reply in replies[1:])
        stalls = error.fault is Fault.TIMEOUT and 0 < accepted < len(mail.asked)
        if stalls:
            self._habits.learn(Habit.MOST_RECIPIENTS, accepted)
        if way and not self._habits.shows(way):
            self._habits.learn(way, False)
            raise AnotherWay(error) from None
        if error.fault is Fault.TIMEOUT or not way:
            # Shown once and not now, or said singly and no better: from now on, it has to be shown anew.
            self._habits.forget(way or Habit.PIPELINING)
        if stalls:
            raise AnotherWay(error) from None
        raise error

    def _say(self, group: list[bytes], *, is_first: bool) -> None:
        """Write commands; nothing is said for a mail where something unasked has come after an earlier one."""
        try:
            self._talk.say(grammar.together(group))
        except DeliveryError as error:
            if is_first and self._standing.carried > 1:
                self._standing.distrust()
                self._standing.note_end(error)
                raise AnotherWay(error) from None
            raise

    def _require_reset(self, reply: Reply) -> None:
        """A server that does not forget the transaction before gets no other on this connection."""
        if reply.ok:
            self._standing.is_shaken = False
            return
        self._standing.distrust()
        raise AnotherWay(_unforgotten())

    def _groups(self, mail: Transaction) -> list[list[bytes]]:
        """The commands of a new transaction, in the groups in which they may be said."""
        commands = mail.begin(clean=self._standing.clean)
        self._standing.clean = False
        if not self._standing.pipelining or mail.is_delicate:
            return [[command] for command in commands]
        return [commands] if mail.is_compact else list(grammar.groups(commands))

    def _doubtful(self) -> Deadline:
        """Half of the time that an answer has, so that the other half is left for asking another way."""
        return Deadline(min(_DOUBT, self._talk.soon().remaining() / 2))


def lost_step(mail: Transaction, replies: list[Reply]) -> bool:
    """Whether the commands of a mail were not understood, so that saying them another way may help."""
    if mail.is_inquiry:  # to RSET any server says yes
        replies = replies[: answers_to(mail) - 1]
    return grammar.are_out_of_step(replies, answers_to(mail))


def lacks_parameters(mail: Transaction, replies: list[Reply]) -> bool:
    """Whether the sender may only have been refused for what MAIL said beside it."""
    return mail.has_size and bool(replies) and replies[0].code in _UNKNOWN_PARAMETERS


def answers_to(mail: Transaction) -> int:
    """How many there are to the commands of a mail, RSET apart."""
    return len(mail.asked) + 2


def _unforgotten() -> WireError:
    return WireError(Fault.BROKEN_REPLY, "The server does not discard the previous email.")

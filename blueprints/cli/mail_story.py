"""The story of one email as `flask mail show` prints it: line by line, in the order of time."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from services.outbox.facts import AttemptData, AttemptFacts, ConversationLine, MailFacts, MessageData, State
from services.outbox.log import Story
from services.outbox.opens import OpensData
from services.outbox.timeline import MailEventData
from utils import clock
from utils.json_shapes import json_of


def story_dict(story: Story) -> dict[str, Any]:
    """The same as JSON, as the API has it."""
    return {
        **json_of(MessageData, story.mail),
        "attempt_log": [json_of(AttemptData, each) | {"conversation": _lines(each)} for each in story.attempts],
        "history": [json_of(MailEventData, each) for each in story.history],
        "opens": json_of(OpensData, story.opens) if story.opens else None,
    }


def story_in_words(story: Story) -> Iterator[str]:
    """How it stands, its recipients, and what happened."""
    mail = story.mail
    yield f"{mail.look.word}{f': {mail.reason}' if mail.reason else ''}"
    yield from _next(mail, story.worker)
    yield ""
    for recipient in mail.recipients:
        codes = " ".join(str(each) for each in (recipient.code, recipient.enhanced) if each)
        told = f"{recipient.address}  {recipient.look.word}{f' ({codes})' if codes else ''}"
        yield f"{told}  {recipient.meaning}".rstrip()
    yield ""
    for entry in story.timeline:
        if entry.attempt:
            yield from _attempt(entry.attempt)
        elif entry.event:
            by = f" ({entry.event.by})" if entry.event.by else ""
            yield f"{clock.in_lists(entry.at)}  {entry.event.look.word}{by}"
    yield ""
    yield f"Message-ID {mail.message_id}"


def _next(mail: MailFacts, worker: str | None) -> Iterator[str]:
    if mail.state in (State.LEASED, State.TRANSMITTING):
        yield f"Worker {worker} has it." if worker else "A worker has it."
    elif mail.waits:
        yield "Next attempt as soon as a worker is free." if mail.is_due else f"Next attempt {_at(mail.due_at)}."
        yield f"Sealpost stops trying {_at(mail.expires_at)}."
    elif mail.is_held:
        yield f"Expires {_at(mail.expires_at)}."


def _attempt(attempt: AttemptFacts) -> Iterator[str]:
    encryption = "unencrypted" if attempt.is_unencrypted else attempt.tls_version
    queue_id = f"queue id {attempt.queue_id}" if attempt.queue_id else ""
    facts = (attempt.server or "no mail server", attempt.took, encryption, queue_id)
    yield f"{clock.in_lists(attempt.at)}  {attempt.look.word}: {', '.join(filter(None, facts))}"
    if attempt.reply:
        yield f"    The server said: {f'{attempt.code} ' if attempt.code else ''}{attempt.reply}"
    if attempt.diagnosis:
        yield f"    {attempt.diagnosis.title}. {attempt.diagnosis.remedy}"
    for refused in attempt.refused:
        codes = " ".join(str(each) for each in (refused.get("code"), refused.get("enhanced")) if each)
        yield f"    {'Suppressed' if refused.get('suppressed') else 'Refused'}: {refused['recipient']} {codes}".rstrip()
    for line in attempt.conversation or ():
        yield f"    {line.ms:>7} ms  {line.text}"


def _lines(attempt: AttemptFacts) -> list[dict[str, Any]] | None:
    return None if attempt.conversation is None else [json_of(ConversationLine, each) for each in attempt.conversation]


def _at(moment: datetime) -> str:
    return f"at {clock.in_lists(moment)} UTC"

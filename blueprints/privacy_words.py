"""What is held about an address, and what became of it, in words: for the page and the command."""

from services.privacy.export import HeldAbout
from services.privacy.forgetting import Forgotten
from utils.numbers import counted


def held_in_words(found: HeldAbout) -> list[str]:
    """What there is, each with its number."""
    return [
        *_some(found.emails, "email"),
        *_some(found.direct_emails, "email", "sent directly"),
        *_some(found.replies, "server reply" if found.replies == 1 else "server replie"),
        *_some(found.conversations, "SMTP conversation"),
        *_some(found.events, "event", "in the audit trail"),
        *(["1 entry on the suppression list"] * bool(found.suppressions)),
        *_some(found.accounts, "account"),
        *_some(found.senders, "sender"),
        *_some(found.servers, "mail server"),
    ]


def told_in_words(told: Forgotten) -> str:
    emails = counted(told.emails + told.direct_emails, "email")
    return f"{emails} and {counted(told.events, 'event')} now name {told.pseudonym}."


def left_in_words(told: Forgotten) -> list[str]:
    """What was cancelled, what still uses the address, and what to do about each."""
    lines = (
        (told.cancelled, "email", "that waited for this address alone: cancelled."),
        (told.left, "email", "still to be sent to others too: repeat this once sent."),
        (told.accounts, "account", "with this address: delete the account, or change its address."),
        (told.senders, "sender", "with this address: the account can remove it."),
        (told.servers, "mail server", "with this address: change its From address or user name."),
    )
    return [f"{counted(number, noun)} {rest}" for number, noun, rest in lines if number]


def _some(number: int, noun: str, where: str = "") -> list[str]:
    return [f"{counted(number, noun)} {where}".rstrip()] if number else []

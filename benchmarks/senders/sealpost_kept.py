"""Ours without its database: each mail composed anew, over connections that are kept, with a thread for each."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from benchmarks.message import HTML, SENDER, SENDER_NAME, SUBJECT, TEXT, TO, Target
from services.message.draft import Sender, draft, serialise
from services.smtp.client import Envelope, Parcel, Policy, Receipt, SmtpClient
from services.smtp.settings import Security, SmtpSettings
from utils.secret import Secret

FROM: Final = Sender(email=SENDER, name=SENDER_NAME)
AT_ONCE: Final = 100  # mails that are composed before they are sent


def composed() -> Parcel:
    mail = draft(TO, SUBJECT, TEXT, HTML, message_id_domain="example.com")
    return Parcel(envelope=Envelope(sender=SENDER, recipients=mail.recipients), content=serialise(mail, FROM))


@contextmanager
def connected(target: Target) -> Iterator[SmtpClient]:
    settings = SmtpSettings(
        host=target.host,
        port=target.port,
        security=Security.STARTTLS if target.starttls else Security.NONE,
        username=target.username,
        password=Secret(target.password),
        from_email=SENDER,
        from_name=SENDER_NAME,
    )
    ca_file = Path(target.ca_file) if target.ca_file else None
    with SmtpClient(settings, Policy(ehlo_name="shop.example.com", ca_file=ca_file)) as client:
        yield client


@contextmanager
def sender(target: Target, connections: int = 1) -> Iterator[Callable[[int], None]]:
    with ExitStack() as held:
        clients = [held.enter_context(connected(target)) for _ in range(connections)]
        threads = held.enter_context(ThreadPoolExecutor(connections))

        def send(count: int) -> None:
            shares = [len(range(place, count, connections)) for place in range(connections)]
            list(threads.map(send_over, clients, shares))

        yield send


def send_over(client: SmtpClient, count: int) -> None:
    for done in range(0, count, AT_ONCE):
        parcels = [composed() for _ in range(min(AT_ONCE, count - done))]
        for _, outcome in client.send_all(parcels):
            if not isinstance(outcome, Receipt):
                raise outcome or RuntimeError("The connection ended.")

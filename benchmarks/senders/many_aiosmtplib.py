"""aiosmtplib: as many connections as wanted, kept, each sending one mail after the other."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import EmailMessage

from aiosmtplib import SMTP

from benchmarks.message import HTML, SENDER, SENDER_NAME, SUBJECT, TEXT, TO, Target


def message() -> EmailMessage:
    made = EmailMessage()
    made["From"] = f"{SENDER_NAME} <{SENDER}>"
    made["To"] = TO
    made["Subject"] = SUBJECT
    made.set_content(TEXT)
    made.add_alternative(HTML, subtype="html")
    return made


@contextmanager
def sender(target: Target, connections: int) -> Iterator[Callable[[int], None]]:
    with asyncio.Runner() as runner:
        clients = [runner.run(connected(target)) for _ in range(connections)]
        yield lambda count: runner.run(send(clients, count))
        for client in clients:
            runner.run(client.quit())


async def connected(target: Target) -> SMTP:
    client = SMTP(
        hostname=target.host,
        port=target.port,
        start_tls=target.starttls,
        username=target.username or None,
        password=target.password or None,
        cert_bundle=target.ca_file or None,
    )
    await client.connect()
    return client


async def send(clients: list[SMTP], count: int) -> None:
    left = iter(range(count))

    async def work(client: SMTP) -> None:
        for _ in left:
            await client.send_message(message())

    await asyncio.gather(*map(work, clients))

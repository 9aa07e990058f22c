"""Postfix's load generator, in C: with one connection the limit of what waits for each answer.

It has neither TLS nor login and composes nothing; it is started, and connects, once for each series of mails.
"""

import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from benchmarks.message import SENDER, TO, Target
from benchmarks.senders.sealpost_kept import composed

PROGRAM: Final = "/usr/sbin/smtp-source"


@contextmanager
def sender(target: Target, connections: int = 1) -> Iterator[Callable[[int], None]]:
    with tempfile.NamedTemporaryFile() as file:
        file.write(composed().content.replace(b"\r\n", b"\n"))
        file.flush()
        line = (PROGRAM, "-d", "-s", str(connections), "-F", file.name, "-f", SENDER, "-t", TO)

        def send(count: int) -> None:
            subprocess.run([*line, "-m", str(count), f"{target.host}:{target.port}"], check=True, stdout=2)

        yield send

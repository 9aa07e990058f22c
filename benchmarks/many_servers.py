"""Servers of many accounts in one process: some take every mail, the others take connections and never say a word."""

import asyncio
import socket
from contextlib import ExitStack

from benchmarks.child import answer, questions, settings_line
from benchmarks.sink import Counts, Manners, Sink


async def serve(healthy: list[str], dead: list[str], port: int) -> None:
    loop, counts = asyncio.get_running_loop(), Counts()
    with ExitStack() as held:
        for host in dead:
            held.enter_context(socket.create_server((host, port), backlog=512))
        servers = [await loop.create_server(lambda: Sink(Manners(), None, counts), host, port) for host in healthy]
        answer(ready=True)
        await asyncio.to_thread(_answer_all, counts)
        for server in servers:
            server.close()


def _answer_all(counts: Counts) -> None:
    for _ in questions():
        answer(mails=counts.mails)


def main() -> None:
    settings = settings_line()
    asyncio.run(serve(settings["healthy"], settings["dead"], settings["port"]))


if __name__ == "__main__":
    main()

"""A fast SMTP server that takes every mail and forgets it; run as a process of its own, it prints its port."""

import asyncio
import sys

ANSWERS = {
    b"EHLO": b"250-sink\r\n250-PIPELINING\r\n250 8BITMIME\r\n",
    b"DATA": b"354 go ahead\r\n",
    b"QUIT": b"221 bye\r\n",
}
OK = b"250 ok\r\n"


class Sink(asyncio.Protocol):
    """One client. Commands are answered as they come, a message is read to its final dot."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._buffer = bytearray()
        self._in_message = False
        self._transport.write(b"220 sink\r\n")

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        answers = b""
        while True:
            end = self._buffer.find(b"\r\n.\r\n" if self._in_message else b"\r\n")
            if end < 0:
                break
            if self._in_message:
                del self._buffer[: end + 5]
                self._in_message = False
                answers += OK
                continue
            verb = bytes(self._buffer[:4]).upper()
            del self._buffer[: end + 2]
            self._in_message = verb == b"DATA"
            answers += ANSWERS.get(verb, OK)
        if answers:
            self._transport.write(answers)


async def serve() -> None:
    server = await asyncio.get_running_loop().create_server(Sink, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)  # until whoever started us has gone


if __name__ == "__main__":
    asyncio.run(serve())

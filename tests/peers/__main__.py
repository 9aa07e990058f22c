"""Try every peer once and print the table of docs/servers.md: ``python -m tests.peers [MAILS]``."""

import logging
import sys
from typing import Final

from tests.peers.installed_peers import EximPeer, PostfixPeer
from tests.peers.node_peers import HarakaServer, NodemailerServer
from tests.peers.peer import Unavailable
from tests.peers.trial import Reached, tried
from tests.peers.unpacked_peers import DovecotServer, OpenSmtpdServer, SendmailServer

PEERS: Final[tuple[type[Reached], ...]] = (
    PostfixPeer, EximPeer, OpenSmtpdServer, SendmailServer, DovecotServer, HarakaServer, NodemailerServer,
)  # fmt: skip
_MAILS: Final = 500


def main() -> None:
    mails = int(sys.argv[1]) if len(sys.argv) > 1 else _MAILS
    logging.disable()
    print("| server | way chosen, and how it was found out | connections | sent | charged | arrived once | byte-true |")
    print("|---|---|---|---|---|---|---|")
    for kind in PEERS:
        try:
            with kind() as peer:
                done = tried(peer, mails)
        except Unavailable as reason:
            print(f"| {kind.name} | not run: {reason} | | | | | |", flush=True)
            continue
        sent, once, true = (f"{number} of {done.mails}" for number in (done.sent, done.once, done.true))
        print(
            f"| {peer.name} | {done.way} | {done.connections} | {sent} | {done.charged} | {once} | {true} |", flush=True
        )


if __name__ == "__main__":
    main()

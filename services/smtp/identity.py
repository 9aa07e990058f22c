"""Who we are to a server that asks when encryption begins: a client certificate with its key."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from services.smtp.wire import WireError
from utils.errors import Fault
from utils.secret import Secret

_REASONS: Final = {"KEY_VALUES_MISMATCH": "its key does not belong to it"}  # in other words than OpenSSL's


@dataclass(frozen=True)
class Identity:
    """A client certificate (PEM, one's own first, then those above it) and its key (PEM)."""

    certificate: str
    key: Secret


class Context(Protocol):
    """An ssl.SSLContext."""

    def load_cert_chain(self, certfile: str, /) -> None: ...


def show(context: Context, identity: Identity) -> None:
    """From now on show ``identity`` to every server that asks for one. Raises WireError if it cannot be used."""
    try:
        with _as_file(f"{identity.key.reveal()}{identity.certificate}") as path:
            context.load_cert_chain(path)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        reason = str(getattr(error, "reason", None) or "unknown reason")
        text = f"The client certificate cannot be used: {_REASONS.get(reason, reason.replace('_', ' ').lower())}."
        raise WireError(Fault.TLS_CERTIFICATE, text) from None


@contextmanager
def _as_file(text: str) -> Iterator[str]:
    """A path under which OpenSSL can read a text, since it takes a key from a file only. It lies in memory where the
    system can do that, and else for a moment in a file that nobody but us may read.
    """
    in_memory = hasattr(os, "memfd_create") and Path("/proc/self/fd").exists()
    # The mode of a temporary file is 0600.
    with os.fdopen(os.memfd_create("identity"), "w") if in_memory else tempfile.NamedTemporaryFile("w") as file:
        file.write(text)
        file.flush()
        yield f"/proc/self/fd/{file.fileno()}" if in_memory else file.name

"""The first `.env`, with fresh secrets, as the first `make run` writes it."""

import os
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from utils import own_addresses
from utils.env_reader import ConfigurationError
from utils.env_urls import http_url, is_wildcard
from utils.numbers import whole_number

_PATH: Final = Path(__file__).resolve().parent.parent / ".env"


def write_first_env(path: Path = _PATH, environment: Mapping[str, str] = os.environ) -> bool:
    """Write a ``.env`` with fresh secrets unless there is one. True if it was written.

    A ``PORT`` of the environment stays in it, so that commands in another terminal write the same links.
    Where ``HOST`` opens every address of the machine, the first that others can open is its ``BASE_URL``.
    Raises ConfigurationError where the folder cannot be written to.
    """
    if path.exists():
        return False
    text = (
        "# Written by the first `make run`. Every variable is explained in .env.example.\n"
        f"APP_KEY={secrets.token_urlsafe(48)}\n"
        f"ADMIN_TOKEN={secrets.token_urlsafe(48)}\n"
        "APP_ENV=development\n"
        f"{_place(environment)}"
        "# Mail goes to the local inbox until a server is active at /settings/smtp, or EMAIL_HOST names one.\n"
        "DEFAULT_FROM_EMAIL=noreply@sealpost.example\n"
    )
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be written: {error.strerror}. Make your user the owner of its folder."
        ) from None
    return True


def _place(environment: Mapping[str, str]) -> str:
    """Where to listen and where that is reached, as far as the first start was told; else nothing."""
    host, given = environment.get("HOST", "").strip(), environment.get("PORT", "").strip()
    port = whole_number(given or "5000", 1, 65535)
    if port is None:
        return ""
    if not is_wildcard(host):
        return f"PORT={port}\n" if given else ""
    return f"HOST={host}\nPORT={port}\nBASE_URL={http_url(own_addresses.reachable(host)[0], port)}\n"


if __name__ == "__main__":
    try:
        write_first_env()
    except ConfigurationError as refused:
        sys.exit(str(refused))

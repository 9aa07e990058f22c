"""The first `.env`, with fresh secrets: as the first `make run` writes it, and as a container does in its volume."""

import os
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from utils import own_addresses, private_files
from utils.env_reader import ConfigurationError
from utils.env_urls import http_url, is_wildcard
from utils.folder_lock import alone_in
from utils.home import home
from utils.numbers import whole_number

_WHERE: Final = (
    "# The address at which people open Sealpost, like https://mail.example.com. Links in emails begin with it.\n"
)


def write_first_env(path: Path | None = None, environment: Mapping[str, str] = os.environ) -> bool:
    """Write a ``.env`` with fresh secrets, where it is looked for, unless there is one. True if it was written.

    A ``PORT`` of the environment stays in it, so that commands in another terminal write the same links.
    Where ``HOST`` opens every address of the machine, the first that others can open is its ``BASE_URL``.
    Raises ConfigurationError where the folder cannot be written to.
    """
    return _written_once(
        path or home() / ".env",
        "# Written by the first start. Every variable is explained in .env.example.\n"
        f"{_keys()}"
        "APP_ENV=development\n"
        f"{_place(environment)}"
        "# Mail goes to the local inbox until a server is active at /settings/smtp, or EMAIL_HOST names one.\n"
        "DEFAULT_FROM_EMAIL=noreply@sealpost.example\n",
    )


def write_first_production_env(
    base_url: str, path: Path | None = None, environment: Mapping[str, str] = os.environ
) -> bool:
    """Write a ``.env`` with fresh secrets for production, unless there is one or the environment brings a key.

    ``base_url`` stands in it where the environment names none. True if it was written. Of several processes that
    start at once one writes, and the others find its keys. Raises ConfigurationError, as above.
    """
    if any(environment.get(name, "").strip() for name in ("APP_KEY", "APP_KEY_FILE")):
        return False
    place = "" if environment.get("BASE_URL", "").strip() else f"{_WHERE}BASE_URL={base_url}\n"
    return _written_once(
        path or home() / ".env", f"# Written by the first start. Keep it with every back-up.\n{_keys()}{place}"
    )


def _keys() -> str:
    return f"APP_KEY={secrets.token_urlsafe(48)}\nADMIN_TOKEN={secrets.token_urlsafe(48)}\n"


def _written_once(path: Path, text: str) -> bool:
    """Have the whole text in a file for us alone, or nothing; also at the end of a link that leads nowhere yet."""
    path = path.resolve()
    if path.exists():
        return False
    try:
        with alone_in(path.parent):
            if path.exists():
                return False
            new = path.with_name(f"{path.name}.new")  # whoever was killed may have left it half-written
            new.unlink(missing_ok=True)
            with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, private_files.FILE), "w") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            new.rename(path)
            private_files.sync(path.parent)
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

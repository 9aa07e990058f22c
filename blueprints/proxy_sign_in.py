"""Whom the reverse proxy in front has signed in, by a header that counts only if the proxy itself has sent it.

That is shown by a secret in another header, or by the unix socket that nobody else may open. What a stranger sends
under that name is not read, and leaves a trace.
"""

from hmac import compare_digest
from typing import Final

from flask import request

from blueprints import refusals
from blueprints.clients import client_network
from services import audit
from services.accounts import tries
from services.audit import Action
from utils.encryption_utils import digest
from utils.env_utils import get_settings
from utils.proxy_env import SECRET_HEADER, ProxySettings

_LONGEST: Final = 254
_BEFORE_PROXY_FIX: Final = "werkzeug.proxy_fix.orig"  # what Werkzeug keeps of the request as it came


def vouched_name() -> str:
    """The user name or address of whom the proxy has signed in; "" if it says nobody, or it is not the proxy."""
    ours = get_settings().proxy_user
    if ours is None or ours.header not in request.headers:
        return ""
    if not _is_the_proxy(ours):
        _note_stranger(ours)
        return ""
    name = request.headers[ours.header].strip()
    # Two headers come as one, with a comma: which of them the proxy has sent cannot be known.
    is_one = len(request.headers.getlist(ours.header)) == 1 and "," not in name
    return name if is_one and len(name) <= _LONGEST and name.isprintable() else ""


def _is_the_proxy(ours: ProxySettings) -> bool:
    if ours.secret is not None:
        return compare_digest(digest(request.headers.get(SECRET_HEADER, "")), digest(ours.secret.reveal()))
    return ours.by_socket and _is_by_socket()


def _is_by_socket() -> bool:
    """gunicorn names no address of a peer on a unix socket, and of every other one."""
    came = request.environ.get(_BEFORE_PROXY_FIX, request.environ)
    server = str(request.environ.get("SERVER_SOFTWARE", ""))
    return came.get("REMOTE_ADDR") == "" and server.startswith("gunicorn")


def _note_stranger(ours: ProxySettings) -> None:
    """Each in the log, and the first of a window in the audit trail."""
    refusals.tell(reason=f"{ours.header} not sent by the proxy")
    if tries.happens_first(f"header of a stranger {client_network()}"):
        audit.note(Action.REFUSED, "sign-in by the proxy’s header", [ours.header])

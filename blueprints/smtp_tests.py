"""How the steps and the result of a connection test are told: as lines of a stream, as JSON, to a page."""

import json
import select
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict
from typing import Any, Final

from flask import Response, request, stream_with_context, url_for
from werkzeug.exceptions import ClientDisconnected

from blueprints.access import actor_name, caller, caller_key, limiter
from services import audit
from services.checks import connection_test, noting
from services.checks.connection_test import TestPlan, TestResult, Waiting
from services.diagnosis import diagnosis as smtp_diagnosis
from services.diagnosis.diagnosis import AdviceData
from services.diagnosis.mending import Mend, MendPage
from services.settings import route
from services.settings.reach import Reach
from services.settings.sealing import StoredConfig
from services.settings.table import NUMBERS
from services.smtp.client import Step
from services.smtp.settings import Security
from services.smtp.tls import ShownCertificate
from utils import incidents
from utils.errors import AppError, Fault, InvalidInput, Phase, Stopping, Temporary, TooMany
from utils.json_shapes import json_of
from utils.version import VERSION

NDJSON = "application/x-ndjson"
_PARTS: Final = {MendPage.CONNECT: "", MendPage.CLIENT_SECRET: "#client_secret", MendPage.REGISTRATION: "#connect-form"}
AT_ONCE: Final = 2  # tests of one person, in this process
OF_ADMINISTRATORS: Final = "20 per minute"
OF_ACCOUNTS: Final = "5 per minute;20 per hour"
SAVES_OF_ADMINISTRATORS: Final = "60 per minute"
SAVES_OF_ACCOUNTS: Final = "10 per minute;30 per hour"
RETRY_SECONDS: Final = 60  # in which most tests have ended
# One count for page and API: a test makes this machine connect to where the caller says.
limited = limiter.shared_limit(OF_ADMINISTRATORS, scope="connection-test")


def _of_account() -> str:
    """A test of an account's own server tries a password at a server of its choice."""
    return OF_ADMINISTRATORS if caller().is_admin else OF_ACCOUNTS


def _saves_of_account() -> str:
    """To save a password and send a mail tries it as well."""
    return SAVES_OF_ADMINISTRATORS if caller().is_admin else SAVES_OF_ACCOUNTS


# Counted by account, wherever it asks from; behind a guard that knows it.
own_saves_limited = limiter.shared_limit(_saves_of_account, scope="own-server-saves", key_func=caller_key)
own_limited = limiter.shared_limit(_of_account, scope="own-connection-test", key_func=caller_key)

_under_way: Counter[str] = Counter()
_lock = threading.Lock()


def wants_stream() -> bool:
    return NDJSON in request.headers.get("Accept", "")


def check_delivery(field: str, how: str, *, is_confirmed: bool) -> None:
    """A test email goes out although MAIL_SUPPRESS_SEND is on only for whoever asks for that. Raises InvalidInput."""
    if route.is_suppressed() and not is_confirmed:
        raise InvalidInput({field: [f"{route.NOTHING_IS_SENT} This test email would be. {how}"]})


def step_labels() -> list[tuple[str, str]]:
    """Name and label of each step of a test, in order."""
    return [(str(phase), smtp_diagnosis.PHASE_LABELS[phase]) for phase in connection_test.STEPS]


def step_dict(step: Step, *, is_discreet: bool = False) -> dict[str, Any]:
    """A step as it is shown; discreetly, without what the server said, and where its name leads."""
    label, fact = smtp_diagnosis.STEP_LABELS[step.name], "" if is_discreet else step.fact
    return {"name": step.key, "label": label, "status": step.status, "ms": step.ms, "fact": fact}


def run_and_note(prepared: TestPlan, config_id: int | None) -> TestResult:
    """Run a test to its end and note the result where it was the saved values that were tested.

    Raises TooMany while the same person has AT_ONCE others under way, ClientDisconnected once nobody waits any more.
    """
    with _place(actor_name()), closing(connection_test.listen(prepared)) as items:
        for item in items:
            if isinstance(item, TestResult):
                noting.note_test(prepared.settings, item, config_id)
                return item
            if not isinstance(item, Step) and _reader_has_left():
                break
    raise ClientDisconnected


def streamed(
    prepared: TestPlan,
    config_id: int | None,
    told: Callable[[TestResult], dict[str, Any]],
    *,
    is_discreet: bool = False,
) -> Response:
    """A line for each step as it happens, and a last one with the result as ``told`` puts it.

    In silence there are lines that tell what is waited for, and empty ones: on one of them the server notices that the
    reader has gone, which ends the test.
    Raises TooMany, before there is an answer, while the same person has AT_ONCE others under way.
    """
    actor = audit.actor()

    def finished(result: TestResult) -> dict[str, Any]:
        with audit.acting(actor):  # the request is over for Flask, so nobody acts any more
            noting.note_test(prepared.settings, result, config_id)
            return {"type": "result", **told(result)}

    def lines() -> Iterator[str]:
        try:
            with closing(connection_test.listen(prepared)) as items:
                for item in items:
                    if isinstance(item, TestResult):
                        yield _line(finished(item))
                    elif isinstance(item, Waiting):
                        label = smtp_diagnosis.STEP_LABELS[item.name]
                        yield _line({"type": "waiting", **asdict(item), "label": label})
                    else:
                        yield _line({"type": "step", **step_dict(item, is_discreet=is_discreet)}) if item else "\n"
        except Stopping as stopping:
            yield _line(_ended("The test was not finished", stopping.message))
        except AppError as refused:  # of what was to follow: the server was changed or deleted meanwhile
            yield _line(_ended("Nothing came of the test", _words(refused)))
        except Exception as error:  # the answer has begun: what breaks now can only be told in it
            reference = incidents.report("test_not_told", error)
            untold = smtp_diagnosis.of_incident(Temporary(Phase.SETTINGS, Fault.OURS), reference)
            yield _line(_ended(untold.title, untold.meaning, untold.remedy))

    with ExitStack() as held:
        held.enter_context(_place(actor_name()))
        # X-Accel-Buffering: nginx would otherwise hold the steps back until the end.
        headers = {"X-Accel-Buffering": "no"}
        response = Response(stream_with_context(lines()), mimetype=NDJSON, headers=headers)
        # Servers close an answer that was sent, and one whose reader has gone even before its first line.
        response.call_on_close(held.pop_all().close)
    return response


def _words(refused: AppError) -> str:
    errors = refused.errors if isinstance(refused, InvalidInput) else {}
    return " ".join(text for texts in errors.values() for text in texts) or refused.message


def _ended(title: str, message: str, remedy: str = "") -> dict[str, Any]:
    """The end of a stream whose test was not finished, or cannot be told, as page and API read it."""
    told = {"title": title, "message": message, "remedy": remedy}
    return {"type": "result", "ok": False, "status": "error", "level": "failed", **told}


def connect_url(stored: StoredConfig | None) -> str:
    """The page that connects a server, or ""; one that is not stored has none."""
    if stored is None:
        return ""
    if stored.row.account_id is not None:
        return f"{url_for('own_server.show')}/connect"
    return url_for("connect.show", config_id=stored.row.id)


def page_of(action: Mend, connect: str) -> str:
    """Where an action leads to on the page that connects the server; "" if it leads nowhere."""
    return f"{connect}{_PARTS[action.leads_to]}" if action.leads_to else ""


def offered(actions: Iterable[Mend], connect: str) -> list[Mend]:
    """The actions that can be taken here: a server that has no page to be connected on cannot be connected."""
    return [action for action in actions if connect or not action.leads_to]


def failure(result: TestResult, connect: str = "") -> dict[str, Any]:
    """What went wrong and how to mend it; empty for a success. It is for administrators only."""
    error, diagnosis = result.error, result.diagnosis
    if not error or not diagnosis:
        return {}
    return {
        **json_of(AdviceData, diagnosis),
        "actions": [
            {"label": action.label, "changes": as_posted(action.changes)}
            | ({"page": page} if (page := page_of(action, connect)) else {})
            for action in offered(diagnosis.actions, connect)
            if not action.retype  # only who has typed the secret can
        ],
        "phase": str(error.phase),
        "phase_label": smtp_diagnosis.PHASE_LABELS[error.phase],
        "fault": str(error.fault),
        "reason": result.message,
        "server_line": result.server_line,
        "transcript": result.transcript,
        "open_ways": [
            {"port": way.port, "security": way.security, "greeting": way.greeting} for way in result.open_ways
        ],
        "certificate": _certificate_dict(result.certificate) if result.certificate else None,
    }


def course(result: TestResult) -> dict[str, Any]:
    """How a test went, whatever it came to. ``address`` and ``port`` are what was really connected to, if anything."""
    address, port = result.peer or (None, None)
    return {
        "steps": [step_dict(step) for step in result.steps],
        "ms": result.ms,
        "address": str(address) if address else None,
        "port": port,
        "transcript": result.transcript,
        "habits": result.habits,
        "version": VERSION,
        "caveat": result.caveat,
        "own_domain_only": result.reach is Reach.OWN_DOMAIN,
    }


def as_posted(changes: Mapping[str, str]) -> dict[str, str | int | bool]:
    """Changes of the form's fields as the API takes them."""
    body: dict[str, str | int | bool] = {name: int(text) if name in NUMBERS else text for name, text in changes.items()}
    if mode := body.pop("security", None):
        body |= {"use_tls": mode == Security.STARTTLS, "use_ssl": mode == Security.TLS}
    return body


def _certificate_dict(shown: ShownCertificate) -> dict[str, Any]:
    return {
        "names": list(shown.names),
        "issuer": shown.issuer,
        "not_before": shown.starts.isoformat(),
        "not_after": shown.ends.isoformat(),
        "sha256": shown.sha256,
    }


def _reader_has_left() -> bool:
    """Whether the browser has closed the connection of this request; a server that hides its socket cannot tell."""
    held = request.environ.get("gunicorn.socket") or request.environ.get("werkzeug.socket")
    if held is None:
        return False
    ended = select.poll()
    ended.register(held, getattr(select, "POLLRDHUP", 0))  # besides the end in both directions, which always counts
    return bool(ended.poll(0))


@contextmanager
def _place(actor: str) -> Iterator[None]:
    """One of the places that an actor has for tests under way. Raises TooMany if all are taken."""
    with _lock:
        if _under_way[actor] >= AT_ONCE:
            raise TooMany("Two of your tests are still running. Wait for one to finish.", RETRY_SECONDS)
        _under_way[actor] += 1
    try:
        yield
    finally:
        with _lock:
            _under_way[actor] -= 1
            if not _under_way[actor]:
                del _under_way[actor]


def _line(item: dict[str, Any]) -> str:
    return json.dumps(item, ensure_ascii=False) + "\n"

"""Test Connection: the steps of a real conversation, as they happen, and what they come to."""

import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from services import email_templates, smtp_diagnosis
from services.composing import draft, new_message_id, serialise
from services.delivery import policy_for, sender_of
from services.smtp_client import Envelope, Policy, SmtpClient, Step
from services.smtp_settings import Security, SmtpSettings, mail_host
from utils import clock
from utils.addresses import is_loopback
from utils.errors import DeliveryError, Phase
from utils.log_utils import Redactor, printable

TOTAL_SECONDS: Final = 25.0  # below the time-out of the usual proxies
STEPS: Final = (
    Phase.SETTINGS,
    Phase.DNS,
    Phase.CONNECT,
    Phase.GREETING,
    Phase.EHLO,
    Phase.ENCRYPTION,
    Phase.SIGN_IN,
    Phase.SENDER,
    Phase.RECIPIENT,
)
_USUAL_MODES: Final = {
    465: (Security.TLS,),
    587: (Security.STARTTLS,),
    2465: (Security.TLS,),
    2587: (Security.STARTTLS,),
}


@dataclass(frozen=True, kw_only=True)
class TestPlan:
    """What to test. ``to`` delivers a message; otherwise ``rcpt`` is only named and then forgotten."""

    __test__ = False

    settings: SmtpSettings
    policy: Policy
    rcpt: str
    content: bytes | None = None
    message_id: str = ""


@dataclass(frozen=True, kw_only=True)
class TestResult:
    """What a test came to. ``message`` is from a closed set; ``server_line`` is for administrators only."""

    __test__ = False

    ok: bool
    message: str
    steps: list[Step]
    error: DeliveryError | None = None
    remedy: str = ""
    server_line: str = ""
    queue_id: str = ""
    message_id: str = ""


def plan(settings: SmtpSettings, *, to: str = "", rcpt: str = "", config_name: str = "") -> TestPlan:
    """Prepare a test: everything that needs the application is looked up here.

    ``to`` delivers a test message there. Without it RCPT names ``rcpt``, or else the From address.
    """
    policy = policy_for(settings, TOTAL_SECONDS)
    if not to:
        return TestPlan(settings=settings, policy=policy, rcpt=rcpt or settings.from_email)
    domain = mail_host(settings.from_email)
    message_id = new_message_id(domain)
    mail = email_templates.render(
        "test_message",
        config_name=config_name,
        server=settings.host,
        port=settings.port,
        sent_at=clock.now().strftime("%Y-%m-%d %H:%M:%S UTC"),
        message_id=message_id,
    )
    message = draft(
        to,
        mail.subject,
        mail.text,
        mail.html,
        headers={"Auto-Submitted": "auto-generated"},
        kind="test_message",
        message_id_domain=domain,
        message_id=message_id,
    )
    content = serialise(message, sender_of(settings))
    return TestPlan(settings=settings, policy=policy, rcpt=to, content=content, message_id=message_id)


def run(settings: SmtpSettings, *, to: str = "", rcpt: str = "") -> TestResult:
    """Run a whole test now; at most TOTAL_SECONDS."""
    return _perform(plan(settings, to=to, rcpt=rcpt), lambda _step: None)


def stream(prepared: TestPlan) -> Iterator[Step | TestResult]:
    """Run a test and yield each step as it ends, and last the result.

    The conversation runs on a thread of its own; when the listener goes away, it ends with its current step.
    """
    heard: queue.SimpleQueue[Step | TestResult | Exception] = queue.SimpleQueue()
    gone = threading.Event()

    def hear(step: Step) -> None:
        if gone.is_set():
            raise _ListenerGone
        heard.put(step)

    def converse() -> None:
        try:
            heard.put(_perform(prepared, hear))
        except _ListenerGone:
            pass
        except Exception as error:
            heard.put(error)

    threading.Thread(target=converse, name="connection-test", daemon=True).start()
    try:
        while True:
            item = heard.get()
            if isinstance(item, Exception):
                raise item
            yield item
            if isinstance(item, TestResult):
                return
    finally:
        gone.set()


class _ListenerGone(Exception):
    """Nobody reads the steps any more."""


def _perform(prepared: TestPlan, hear: Callable[[Step], None]) -> TestResult:
    steps: list[Step] = []

    def note(step: Step) -> None:
        steps.append(step)
        hear(step)

    note(_settings_step(prepared.settings))
    client = SmtpClient(prepared.settings, prepared.policy, note)
    try:
        client.open()
        if prepared.content is None:
            client.check_envelope(prepared.settings.from_email, prepared.rcpt, recipient_is_ours=True)
            return TestResult(ok=True, message=smtp_diagnosis.SUCCESS, steps=steps)
        envelope = Envelope(sender=prepared.settings.from_email, recipients=(prepared.rcpt,))
        receipt = client.send(envelope, prepared.content)
    except DeliveryError as error:
        return _failed(error, steps, prepared.settings)
    finally:
        client.close()
    return TestResult(
        ok=True,
        message=smtp_diagnosis.ACCEPTED,
        steps=steps,
        queue_id=receipt.queue_id or "",
        message_id=prepared.message_id,
    )


def _settings_step(settings: SmtpSettings) -> Step:
    """The first step: what was entered, and a warning where port and encryption do not go together."""
    fact = f"{settings.host}, port {settings.port}, {settings.mode_name}"
    expected = _USUAL_MODES.get(settings.port)
    if expected and settings.security not in expected:
        return Step(name=Phase.SETTINGS, status="warning", ms=0, fact=f"{fact}: an unusual pair.")
    if settings.security is Security.NONE and not is_loopback(settings.host):
        return Step(name=Phase.SETTINGS, status="warning", ms=0, fact=f"{fact}: anybody on the way can read the mail.")
    return Step(name=Phase.SETTINGS, status="ok", ms=0, fact=fact)


def _failed(error: DeliveryError, steps: list[Step], settings: SmtpSettings) -> TestResult:
    redact = Redactor([settings.password.reveal()])
    line = " ".join(str(part) for part in (error.code, error.text) if part)
    return TestResult(
        ok=False,
        message=smtp_diagnosis.message(error),
        steps=steps,
        error=error,
        remedy=smtp_diagnosis.remedy(error),
        server_line=printable(redact(line)),
    )

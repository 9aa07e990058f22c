"""Test Connection: the steps of a real conversation, as they happen, and what they come to."""

import queue
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Final

from services.checks import own_words
from services.delivery import attempt, limits, retry_policy
from services.diagnosis import diagnosis as smtp_diagnosis
from services.diagnosis.diagnosis import Diagnosis
from services.diagnosis.picture import Picture
from services.message import templates
from services.message.draft import draft, new_message_id, serialise
from services.outbox import reasons
from services.outbox.reasons import Reason
from services.settings import server_habits
from services.settings.route import RouteStep
from services.settings.rules import message_id_domain
from services.smtp import probe
from services.smtp.client import Envelope, Policy, SmtpClient, Step
from services.smtp.dial import Peer
from services.smtp.dialogue import Dialogue, SideLook
from services.smtp.habits import habits_of
from services.smtp.settings import MODE_NAMES, OpenWay, Security, SmtpSettings
from services.smtp.tls import ShownCertificate
from services.smtp.wire import Deadline
from utils import clock, ending, incidents
from utils.addresses import is_loopback
from utils.errors import OPENING, AppError, DeliveryError, Fault, Phase, Stopping, Temporary
from utils.log_utils import Redactor, printable

TOTAL_SECONDS: Final = 120.0  # whatever the server does; a step as long as its settings say
BEAT: Final = 1.0
WAITING: Final = 5  # seconds of a step after which, and every so many, it is told that it waits
_LOOK_SECONDS: Final = 6.0  # for looking around after a failure; what the conversation leaves may be less
_FAREWELL: Final = 2.0
_SLACK: Final = 0.5
_MOST_WAYS: Final = 2  # in which the message is said before the last
STEPS: Final = (Phase.SETTINGS, *OPENING, Phase.SENDER, Phase.RECIPIENT)
_USUAL_MODES: Final = {465: Security.TLS, 587: Security.STARTTLS, 2465: Security.TLS, 2587: Security.STARTTLS}
_MOST_MAIL_SERVERS: Final = 3  # that are named
_LONGEST_NAMES, _LONGEST_ISSUER = 60, 30  # characters, so that the fingerprint is still seen


@dataclass(frozen=True, kw_only=True)
class TestPlan:
    """What to test. ``content`` is delivered; otherwise ``rcpt`` is only named and then forgotten.

    ``flaw`` is what went wrong in the preparation: the test then fails before it begins.
    """

    __test__ = False

    settings: SmtpSettings
    policy: Policy
    rcpt: str
    content: bytes | None = None
    message_id: str = ""
    flaw: Exception | None = None


@dataclass(frozen=True)
class Waiting:
    """A step is under way, and has been for so many whole seconds."""

    name: Phase
    seconds: int


@dataclass(frozen=True, kw_only=True)
class TestResult:
    """What a test came to. ``message`` is from a closed set.

    ``server_line`` and ``transcript`` hold the server's own words and are for administrators only; where the settings
    are personal, nothing of the result holds any. ``ms`` is the whole test's, ``peer`` what was really connected to.
    After a failure, ``open_ways`` are those into the same host that answered, ``certificate`` the one that was refused.
    """

    __test__ = False

    ok: bool
    message: str
    steps: list[Step]
    error: DeliveryError | None = None
    diagnosis: Diagnosis | None = None
    server_line: str = ""
    queue_id: str = ""
    message_id: str = ""
    peer: Peer | None = None
    ms: int = 0
    transcript: list[str] = field(default_factory=list)
    habits: list[str] = field(default_factory=list)
    open_ways: list[OpenWay] = field(default_factory=list)
    certificate: ShownCertificate | None = None

    @property
    def remedy(self) -> str:
        """What to do; "" after a success."""
        return self.diagnosis.remedy if self.diagnosis else ""


def plan(
    settings: SmtpSettings, *, to: str = "", rcpt: str = "", config_name: str = "", server: RouteStep | None = None
) -> TestPlan:
    """Prepare a test: everything that needs the application is looked up here.

    ``to`` delivers a test message there. Without it RCPT names ``rcpt``, or else the From address. The test counts as
    a mail through ``server``, if these settings are of the same host, and no limit holds it up. Raises AppError for
    what the caller can mend; anything else becomes the result of the test.
    """
    try:
        prepared = _plan(settings, to, rcpt, config_name)
        if server:
            _charge(server, prepared)
        return prepared
    except AppError:
        raise
    except Exception as error:
        return TestPlan(settings=settings, policy=Policy(ehlo_name="localhost"), rcpt=rcpt, flaw=error)


def _plan(settings: SmtpSettings, to: str, rcpt: str, config_name: str) -> TestPlan:
    conversation = TOTAL_SECONDS - _LOOK_SECONDS - _FAREWELL - _SLACK
    policy = replace(attempt.policy_for(settings, conversation), every_address=True)
    server_habits.recall(settings.host, settings.port)
    if not to:
        return TestPlan(settings=settings, policy=policy, rcpt=rcpt or settings.from_email)
    domain = message_id_domain(settings)
    message_id = new_message_id(domain)
    mail = templates.render(
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
    content = serialise(message, attempt.sender_of(settings))
    return TestPlan(settings=settings, policy=policy, rcpt=to, content=content, message_id=message_id)


def _charge(server: RouteStep, prepared: TestPlan) -> None:
    """Count the test as a mail: the server does, be it only asked whether it would take one."""
    if server.settings and server.settings.host != prepared.settings.host:
        return
    domains = limits.domains_of([prepared.rcpt]) if prepared.content else set[str]()
    limits.charge(server.owner, limits.limits_of(server.emails_per_minute, server.emails_per_day), domains)


def run(settings: SmtpSettings, *, to: str = "", rcpt: str = "", server: RouteStep | None = None) -> TestResult:
    """Run a whole test now; at most TOTAL_SECONDS. What nobody foresaw is its result too."""
    return _Test(plan(settings, to=to, rcpt=rcpt, server=server), lambda _step: None).run()


def stream(prepared: TestPlan) -> Iterator[Step | TestResult]:
    """Run a test and yield each step as it ends, and last the result."""
    with closing(listen(prepared)) as items:
        yield from (item for item in items if isinstance(item, Step | TestResult))


def listen(prepared: TestPlan) -> Generator[Step | TestResult | Waiting | None]:
    """Like ``stream``, with a None for every BEAT seconds of silence, in which the listener may find itself alone.

    Every WAITING seconds of a step the beat tells what is waited for.

    The conversation runs on a thread of its own; when the listener closes the generator, it is ended at once. So it is
    when the process is to end: Stopping is raised then.
    """
    heard: queue.SimpleQueue[Step | TestResult | BaseException] = queue.SimpleQueue()
    gone = threading.Event()

    def hear(step: Step) -> None:
        if gone.is_set():
            raise _ListenerGone
        heard.put(step)

    def converse() -> None:
        try:
            heard.put(test.run())
        except _ListenerGone:
            pass
        except BaseException as error:  # or nobody would hear of it
            heard.put(error)

    test = _Test(prepared, hear)
    told = 0
    try:
        threading.Thread(target=incidents.watched(converse), name="connection-test", daemon=True).start()
    except RuntimeError as error:  # no more threads
        result = test.broken(error)
        yield from result.steps
        yield result
        return
    try:
        while True:
            try:
                item = heard.get(timeout=BEAT)
            except queue.Empty:
                if ending.is_near():
                    raise Stopping from None
                waiting = test.waiting()
                is_news = waiting.seconds // WAITING not in (0, told)
                told = waiting.seconds // WAITING
                yield waiting if is_news else None
                continue
            told = 0
            if isinstance(item, BaseException):
                raise item
            if isinstance(item, TestResult) and item.error and item.error.ended_by_us:
                raise Stopping
            yield item
            if isinstance(item, TestResult):
                return
    finally:
        gone.set()
        test.cancel()


class _ListenerGone(Exception):
    """Nobody reads the steps any more."""


class _Test:
    """One test under way; ``cancel`` ends it from another thread."""

    def __init__(self, prepared: TestPlan, hear: Callable[[Step], None]) -> None:
        self._plan = prepared
        self._hear = hear
        self._steps: list[Step] = []
        self._is_looking = False  # around, for no answer of the server that is tested
        self._started = monotonic()
        self._deadline = Deadline(TOTAL_SECONDS - _SLACK)
        self._talk = Dialogue(prepared.settings, self._note_heard)

    def cancel(self) -> None:
        self._talk.cancel()

    def waiting(self) -> Waiting:
        """What is under way, for how long; from any thread."""
        return Waiting(self._talk.phase, 0 if self._is_looking else int(self._talk.seconds_in_phase))

    def run(self) -> TestResult:
        """Hold the conversation; where it fails on the way in, look around for what would work."""
        try:
            return _hushed(self._run()) if self._plan.settings.is_personal else self._run()
        except (_ListenerGone, *incidents.STOPS):
            raise
        except BaseException as error:
            return self.broken(error)

    def broken(self, error: BaseException) -> TestResult:
        """The result where this program made a mistake: a failed step, with the reference to what stands in the log."""
        self._talk.drop()
        phase = self._talk.phase if self._talk.is_under_way else Phase.SETTINGS
        reference = incidents.report("connection_test_broken", error)
        text = f"Sealpost itself failed. Reference: {reference}."
        self._note(Step(phase, "failed", 0, text))
        # How far the message had come is not known any more, so it may be there (RFC 1047).
        was_said = self._plan.content is not None and phase is Phase.MESSAGE
        failure = Temporary(phase, Fault.OURS, text, may_have_been_sent=was_said)
        return replace(
            self._result(ok=False, message=reasons.words(Reason.OUR_FAULT)),
            error=failure,
            diagnosis=smtp_diagnosis.of_incident(failure, reference),
        )

    def _run(self) -> TestResult:
        if self._plan.flaw:
            raise self._plan.flaw
        self._note(_of_settings(self._plan.settings))
        client = SmtpClient(self._plan.settings, self._plan.policy, talk=self._talk)
        try:
            client.open()
            queue_id = self._say_mail(client)
        except DeliveryError as error:
            client.close()  # before the look around: a server that takes few connections must not count this one
            return self._failed(error)
        finally:
            client.close()
        delivered = self._plan.content is not None
        return replace(
            self._result(ok=True, message=smtp_diagnosis.ACCEPTED if delivered else smtp_diagnosis.SUCCESS),
            queue_id=queue_id,
            message_id=self._plan.message_id,
        )

    def _note_heard(self, step: Step) -> None:
        """Note a step that may hold the server's words; who is no administrator hears ours instead."""
        self._note(own_words.of_step(step) if self._plan.settings.is_personal else step)

    def _note(self, step: Step) -> None:
        step = replace(step, turn=1 + sum(each.name is step.name for each in self._steps))
        self._steps.append(step)
        self._hear(step)

    def _say_mail(self, client: SmtpClient) -> str:
        """Deliver the message, or only ask whether one would be taken; give its queue id, if there is one."""
        sender, rcpt = self._plan.settings.from_email, self._plan.rcpt
        if self._plan.content is None:
            client.check_envelope(sender, rcpt, recipient_is_ours=True)
            return ""
        envelope = Envelope(sender=sender, recipients=(rcpt,))
        for _ in range(_MOST_WAYS):
            try:
                return client.send(envelope, self._plan.content).queue_id or ""
            except DeliveryError as error:
                if not error.not_taken:
                    raise
                client.open()  # as delivery does: what the server has just shown is known now
        return client.send(envelope, self._plan.content).queue_id or ""

    def _failed(self, error: DeliveryError) -> TestResult:
        settings = self._plan.settings
        picture = Picture.of(settings, self._talk.seen, self._plan.policy.ehlo_name)
        picture = replace(picture, message_size=len(self._plan.content or b""))
        self._is_looking = True
        try:
            picture = picture if error.ended_by_us else self._looked_around(error, picture)
        except (_ListenerGone, *incidents.STOPS):
            raise
        except BaseException as incident:  # the verdict stands without it
            incidents.report("look_around_broken", incident)
        line = f"{error.code} {error.text}" if error.code else ""  # without a code the words are ours
        return replace(
            self._result(ok=False, message=retry_policy.message_of(error)),
            error=error,
            diagnosis=smtp_diagnosis.diagnose(error, picture),
            server_line=printable(Redactor([settings.password.reveal()])(line)),
            open_ways=picture.open_ways,
            certificate=picture.certificate,
        )

    def _looked_around(self, error: DeliveryError, picture: Picture) -> Picture:
        """The picture with other ways into the host, or the certificate that was refused: as the failure calls for."""
        settings, policy, since = self._plan.settings, self._plan.policy, monotonic()
        seconds = min(_LOOK_SECONDS, max(0.0, self._deadline.remaining()))
        # With a wrong certificate the server was reached: another port of it would show the same one.
        if error.fault is Fault.DNS_NOT_FOUND:
            exists, mail_servers = probe.mail_domain(settings.host, policy, seconds)
            if exists:
                self._note(_of_domain(settings.host, mail_servers, since))
            return replace(picture, name_exists=exists, mail_servers=mail_servers)
        if error.fault is Fault.TLS_CERTIFICATE:
            if settings.is_personal:  # what stands in it are words of the server's
                return picture
            certificate = probe.shown_certificate(settings, policy, seconds)
            if certificate:
                self._note(_of_certificate(certificate, since))
            return replace(picture, certificate=certificate)
        ways_beside = probe.ways_beside(settings, error)
        if tried := [way for way in ways_beside if not policy.allowed.refusal_of_port(way[0])]:
            picture = replace(picture, ways=probe.looked_at(settings.host, tried, policy, seconds))
            self._note(_of_ways(tried, picture.open_ways, since))
        return picture

    def _result(self, *, ok: bool, message: str) -> TestResult:
        return TestResult(
            ok=ok,
            message=message,
            steps=self._steps,
            peer=self._talk.peer,
            ms=round((monotonic() - self._started) * 1000),
            transcript=self._talk.transcript.lines() if self._talk.transcript else [],
            habits=habits_of(self._plan.settings.host, self._plan.settings.port).lines(),
        )


def _hushed(result: TestResult) -> TestResult:
    """The same without anything that the server said."""
    return replace(
        result,
        error=own_words.of_error(result.error) if result.error else None,
        server_line="",
        queue_id="",
        transcript=[],
        habits=[],
        open_ways=[replace(way, greeting="") for way in result.open_ways],
    )


def _of_settings(settings: SmtpSettings) -> Step:
    """The first step: what was entered, and a warning where port and encryption do not go together, or where
    characters look right and are not.
    """
    fact = f"{settings.host}, port {settings.port}, {settings.mode_name}"
    if odd := smtp_diagnosis.odd_in(settings):
        return Step(Phase.SETTINGS, "warning", 0, f"{fact}. {odd}")
    if settings.security is not _USUAL_MODES.get(settings.port, settings.security):
        return Step(Phase.SETTINGS, "warning", 0, f"{fact}: an unusual combination.")
    if settings.security is Security.NONE and not is_loopback(settings.host):
        return Step(Phase.SETTINGS, "warning", 0, f"{fact}: anyone on the network can read the mail.")
    return Step(Phase.SETTINGS, "ok", 0, fact)


def _of_ways(tried: Sequence[tuple[int, Security]], ways: Sequence[OpenWay], since: float) -> Step:
    """What became of looking for another way in, ``since`` a moment of the monotonic clock."""
    if ways:
        fact = "This host also answers on port " + ", ".join(
            f"{way.port} with {MODE_NAMES[way.security]}" for way in ways
        )
    else:
        ports = ", ".join(str(port) for port in dict.fromkeys(port for port, _ in tried))
        fact = f"No encrypted mail server answers on {ports} either"
    return Step(name=SideLook.OTHER_PORTS, status="warning" if ways else "failed", ms=_since(since), fact=f"{fact}.")


def _of_domain(host: str, mail_servers: Sequence[str], since: float) -> Step:
    """What the DNS knows of a name that has no address."""
    goes = f"incoming mail goes to {', '.join(mail_servers[:_MOST_MAIL_SERVERS])}" if mail_servers else "nor MX records"
    return Step(
        SideLook.MAIL_SERVERS, "warning", _since(since), printable(f"{host} exists, but has no address; {goes}")
    )


def _of_certificate(shown: ShownCertificate, since: float) -> Step:
    """What the certificate that was refused says of itself."""
    names = ", ".join(shown.names) or "no name"
    names = names if len(names) <= _LONGEST_NAMES else f"{names[:_LONGEST_NAMES]}…"
    days = f"{shown.starts:%Y-%m-%d} to {shown.ends:%Y-%m-%d} UTC"
    fact = f"It is for {names}; by {shown.issuer[:_LONGEST_ISSUER]}; {days}; SHA-256 {shown.sha256.replace(':', '')}"
    return Step(name=SideLook.CERTIFICATE, status="failed", ms=_since(since), fact=printable(fact))


def _since(moment: float) -> int:
    return round((monotonic() - moment) * 1000)

"""Test Connection: the steps of a real conversation, as they happen, and what they come to."""

import queue
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Final

from services.checks import asking, looks, own_words, settings_step
from services.checks.asking import Asking
from services.checks.token_step import TokenStep
from services.delivery import attempt, limits, retry_policy
from services.diagnosis import diagnosis as smtp_diagnosis
from services.diagnosis.diagnosis import Diagnosis
from services.diagnosis.picture import Picture
from services.message import templates
from services.message.draft import draft, new_message_id, serialise
from services.outbox import reasons
from services.outbox.reasons import Reason
from services.settings import server_habits
from services.settings.reach import Reach
from services.settings.route import RouteStep
from services.settings.rules import message_id_domain
from services.smtp import probe
from services.smtp.client import Policy, SmtpClient, Step
from services.smtp.dial import Peer
from services.smtp.dialogue import Dialogue, SideLook, StepName
from services.smtp.habits import habits_of
from services.smtp.settings import OpenWay, SmtpSettings
from services.smtp.tls import ShownCertificate
from services.smtp.wire import Deadline
from utils import clock, ending, incidents
from utils.errors import OPENING, AppError, DeliveryError, Fault, Phase, Stopping, Temporary
from utils.log_utils import Redactor, printable

TOTAL_SECONDS: Final = 120.0  # whatever the server does; a step as long as its settings say
BEAT: Final = 1.0
WAITING: Final = 5  # seconds of a step after which, and every so many, it is told that it waits
_LOOK_SECONDS: Final = 6.0  # for looking around after a failure; what the conversation leaves may be less
_FAREWELL: Final = 2.0
_SLACK: Final = 0.5
STEPS: Final = (Phase.SETTINGS, *OPENING, Phase.SENDER, Phase.RECIPIENT)


@dataclass(frozen=True, kw_only=True)
class TestPlan:
    """What to test. ``content`` is delivered; otherwise ``rcpt`` is only named and then forgotten.

    ``relay`` is named like that before a message that would show nothing of mail to other domains.
    ``flaw`` is what went wrong in the preparation: the test then fails before it begins.
    """

    __test__ = False

    settings: SmtpSettings
    policy: Policy
    rcpt: str
    relay: str = ""
    content: bytes | None = None
    message_id: str = ""
    flaw: Exception | None = None


@dataclass(frozen=True)
class Waiting:
    """A step is under way, and has been for so many whole seconds."""

    name: StepName
    seconds: int


@dataclass(frozen=True, kw_only=True)
class TestResult:
    """What a test came to. ``message`` is from a closed set.

    ``server_line`` and ``transcript`` hold the server's own words and are for administrators only; where the settings
    are personal, nothing of the result holds any. ``ms`` is the whole test's, ``peer`` what was really connected to.
    ``reach`` is whom a success is proven for, and ``caveat`` what is to be added to it, or "".
    After a failure, ``open_ways`` are those into the same host that answered, ``certificate`` the one that was refused.
    """

    __test__ = False

    ok: bool
    message: str
    steps: list[Step]
    error: DeliveryError | None = None
    diagnosis: Diagnosis | None = None
    reach: Reach = Reach.UNSEEN
    caveat: str = ""
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
    def headline(self) -> str:
        """The message, with what it holds for where that is less than it seems."""
        is_less = self.ok and self.reach is Reach.OWN_DOMAIN
        return f"{self.message}, {asking.OWN_DOMAIN_ONLY}" if is_less else self.message

    @property
    def remedy(self) -> str:
        """What to do; "" after a success."""
        return self.diagnosis.remedy if self.diagnosis else ""


def plan(
    settings: SmtpSettings,
    *,
    to: str = "",
    rcpt: str = "",
    also: str = "",
    config_name: str = "",
    server: RouteStep | None = None,
) -> TestPlan:
    """Prepare a test: everything that needs the application is looked up here.

    ``to`` delivers a test message there. RCPT names ``rcpt``, the address of whoever tests, or ``also``, which was
    entered for the test: the first that is not at From's own domain, where any server takes mail; or else From's own.
    The test counts as a mail through ``server``, if these settings are of the same host, and no limit holds it up.
    Raises AppError for what the caller can mend; anything else becomes the result of the test.
    """
    try:
        prepared = _plan(settings, to, (rcpt, also), config_name)
        if server:
            _charge(server, prepared)
        return prepared
    except AppError:
        raise
    except Exception as error:
        return TestPlan(settings=settings, policy=Policy(ehlo_name="localhost"), rcpt=rcpt, flaw=error)


def _plan(settings: SmtpSettings, to: str, others: tuple[str, ...], config_name: str) -> TestPlan:
    conversation = TOTAL_SECONDS - _LOOK_SECONDS - _FAREWELL - _SLACK
    policy = replace(attempt.policy_for(settings, conversation), every_address=True)
    server_habits.recall(settings.host, settings.port)
    if not to:
        return TestPlan(settings=settings, policy=policy, rcpt=asking.to_name(settings, others))
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
        mail.html or None,
        headers={"Auto-Submitted": "auto-generated"},
        attachments=mail.attachments,
        kind="test_message",
        message_id_domain=domain,
        message_id=message_id,
    )
    content = serialise(message, attempt.sender_of(settings))
    relay = asking.to_relay(settings, to, others)
    return TestPlan(settings=settings, policy=policy, rcpt=to, relay=relay, content=content, message_id=message_id)


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
        self._held: Step | None = None  # a failure, until it is known that no other way is tried
        self._habits: list[str] | None = None  # of the server, as they were told; None until it has let us in
        self._is_looking = False  # around, for no answer of the server that is tested
        self._started = monotonic()
        self._deadline = Deadline(TOTAL_SECONDS - _SLACK)
        self._talk = Dialogue(prepared.settings, self._note_heard)
        self._token = TokenStep(prepared.settings, self._note)

    def cancel(self) -> None:
        self._talk.cancel()

    def waiting(self) -> Waiting:
        """What is under way, for how long; from any thread."""
        if (seconds := self._token.seconds) is not None:
            return Waiting(SideLook.TOKEN, seconds)
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
        text = f"Sealpost failed. Reference: {reference}."
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
        test = self._plan
        self._note(settings_step.of(test.settings))
        client = SmtpClient(self._token.settings, test.policy, talk=self._talk)
        mail = Asking(
            settings=test.settings, policy=test.policy, rcpt=test.rcpt, relay=test.relay, content=test.content
        )
        try:
            self._token.check()
            client.open()
            self._habits = self._known_habits()
            said = mail.say(client)
        except DeliveryError as error:
            client.close()  # before the look around: a server that takes few connections must not count this one
            if self._held:
                self._note(self._held)
            return self._failed(error)
        finally:
            client.close()
        delivered = self._plan.content is not None
        return replace(
            self._result(ok=True, message=smtp_diagnosis.ACCEPTED if delivered else smtp_diagnosis.SUCCESS),
            reach=said.reach,
            caveat=said.caveat,
            queue_id=said.queue_id,
            message_id=self._plan.message_id,
        )

    def _note_heard(self, step: Step) -> None:
        """Note a step that may hold the server's words; who is no administrator hears ours instead.

        What is said again on another connection, or in another way, is no other step; that there was a reason is told.
        """
        step = own_words.of_step(step) if self._plan.settings.is_personal else step
        if step.status == "failed":
            self._held = None if self._token.has_failed else step  # which was told already
            return
        if step.name is Phase.SIGN_IN and step.status == "ok" and self._plan.settings.bearer:
            step = replace(step, fact=f"{step.fact.rstrip('.')}, by token")
        if self._habits is None:
            self._note(step)
        elif step.name not in (*OPENING, *SideLook) and all(step.name is not noted.name for noted in self._steps):
            self._note(self._with_habits(step))

    def _with_habits(self, step: Step) -> Step:
        """The same with what the server has shown since: where it does not keep what it announces."""
        before, self._habits = self._habits or [], self._known_habits()
        if not (news := [line for line in self._habits if line not in before]):
            return step
        return replace(step, status="warning", fact=f"{step.fact}. The server {' and '.join(news)}.")

    def _known_habits(self) -> list[str]:
        return habits_of(self._plan.settings.host, self._plan.settings.port).lines()

    def _note(self, step: Step) -> None:
        step = replace(step, turn=1 + sum(each.name is step.name for each in self._steps))
        self._steps.append(step)
        self._hear(step)

    def _failed(self, error: DeliveryError) -> TestResult:
        settings = self._plan.settings
        picture = Picture.of(settings, self._talk.seen, self._plan.policy.ehlo_name)
        picture = replace(
            picture,
            message_size=len(self._plan.content or b""),
            app_only=self._token.app_only,
            app_in_testing=self._token.app_in_testing,
        )
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
                self._note(looks.of_domain(settings.host, mail_servers, since))
            return replace(picture, name_exists=exists, mail_servers=mail_servers)
        if error.fault is Fault.TLS_CERTIFICATE:
            if settings.is_personal:  # what stands in it are words of the server's
                return picture
            certificate = probe.shown_certificate(settings, policy, seconds)
            if certificate:
                self._note(looks.of_certificate(certificate, since))
            return replace(picture, certificate=certificate)
        if not smtp_diagnosis.may_another_way_help(error, picture):
            return picture
        ways_beside = probe.ways_beside(settings, error, encrypted=self._talk.seen.encrypted)
        if tried := [way for way in ways_beside if not policy.allowed.refusal_of_port(way[0])]:
            picture = replace(picture, ways=probe.looked_at(settings.host, tried, policy, seconds))
            self._note(looks.of_ways(tried, picture.open_ways, since))
        return picture

    def _result(self, *, ok: bool, message: str) -> TestResult:
        return TestResult(
            ok=ok,
            message=message,
            steps=self._steps,
            peer=self._talk.peer,
            ms=round((monotonic() - self._started) * 1000),
            transcript=self._talk.transcript.lines() if self._talk.transcript else [],
            habits=self._known_habits(),
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

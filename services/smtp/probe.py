"""Looks at a mail server without credentials: which ways into it are open, and what certificate it shows."""

import threading
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from queue import Empty, SimpleQueue
from typing import Final

from services.smtp import dns, sasl
from services.smtp.client import Policy, SmtpClient, Step
from services.smtp.dialogue import Dialogue
from services.smtp.opening import Opening
from services.smtp.settings import OpenWay, Security, SmtpSettings
from services.smtp.tls import ShownCertificate
from services.smtp.wire import Deadline
from utils import incidents
from utils.errors import DeliveryError, Fault, Phase, Temporary

_ENCRYPTED: Final = (Security.STARTTLS, Security.TLS)
USUAL: Final = ((587, Security.STARTTLS), (465, Security.TLS), (2525, Security.STARTTLS), (25, Security.STARTTLS))
NULL_MX: Final = "."  # RFC 7505: the domain takes no mail
_NOBODY: Final = "nobody@localhost"  # settings need a sender; a probe never gets as far as naming one

# What answers on each way: a mail server as it should be, or why not.
Looks = dict[tuple[int, Security], OpenWay | DeliveryError]


def ways_beside(settings: SmtpSettings, error: DeliveryError, *, encrypted: bool) -> list[tuple[int, Security]]:
    """Where else to look on the same host after ``error``: the usual pairs, and the other mode of a port that is there,
    unless the mode was right.
    """
    is_mode_right = encrypted or error.phase is Phase.CONNECT or error.fault is Fault.CLIENT_CERTIFICATE
    here = [] if is_mode_right else [(settings.port, mode) for mode in _ENCRYPTED]
    ways = dict.fromkeys([*here, *USUAL])
    return [way for way in ways if way != (settings.port, settings.security)]


def open_ways(host: str, ways: Sequence[tuple[int, Security]], policy: Policy, seconds: float) -> list[OpenWay]:
    """Those of ``ways`` at which a mail server answers as it should, in their order, found within ``seconds``."""
    return [answer for answer in looked_at(host, ways, policy, seconds).values() if isinstance(answer, OpenWay)]


def looked_at(host: str, ways: Sequence[tuple[int, Security]], policy: Policy, seconds: float) -> Looks:
    """What answers on each of ``ways``, in their order, within ``seconds``.

    All are tried at once: connect, greeting, EHLO, and encryption with a certificate that holds. Nobody signs in.
    """
    deadline = Deadline(seconds)
    answers: SimpleQueue[_Probe] = SimpleQueue()
    probes = [_Probe(host, port, security) for port, security in ways]
    policy = replace(policy, total_seconds=deadline.remaining(), every_address=False)
    for probe in probes:
        work = incidents.watched(partial(probe.run, policy, answers))
        threading.Thread(target=work, name="smtp-probe", daemon=True).start()
    ended: list[_Probe] = []
    try:
        for _ in probes:
            ended.append(answers.get(timeout=max(0, deadline.remaining())))
    except Empty:  # what is late is not open
        for probe in probes:
            probe.talk.cancel()
    late = Temporary(Phase.CONNECT, Fault.TIMEOUT, "There was no answer in time.")
    return {way: (probe.answer if probe in ended else None) or late for way, probe in zip(ways, probes, strict=True)}


def mail_domain(host: str, policy: Policy, seconds: float) -> tuple[bool | None, tuple[str, ...]]:
    """Whether the DNS knows a name without addresses at all (None: it does not say), and where mail to it goes."""
    questions = dns.Questions(seconds, policy.dns_resolver)
    try:
        if not questions.exists(host):
            return False, ()
        return True, tuple(name for name in questions.mx(host) if name != NULL_MX)
    except dns.LookupFailed:
        return None, ()


def shown_certificate(settings: SmtpSettings, policy: Policy, seconds: float) -> ShownCertificate | None:
    """The certificate that the server shows on the way that ``settings`` take, unverified; None if it is not seen."""
    talk = Dialogue(settings, None)
    try:
        with talk.within(seconds):
            return Opening(talk, settings, replace(policy, every_address=False)).shown_certificate()
    except DeliveryError:
        return None
    finally:
        talk.drop()


class _Probe:
    """One try of one way, on a thread of its own."""

    def __init__(self, host: str, port: int, security: Security) -> None:
        self._settings = SmtpSettings(host=host, port=port, security=security, from_email=_NOBODY)
        self._steps: list[Step] = []
        self.talk = Dialogue(self._settings, self._steps.append)
        self.answer: OpenWay | DeliveryError | None = None

    def run(self, policy: Policy, answers: "SimpleQueue[_Probe]") -> None:
        client = SmtpClient(self._settings, policy, talk=self.talk)
        try:
            client.open()
            greetings = [step.fact for step in self._steps if step.name is Phase.GREETING and step.status == "ok"]
            offered = (self.talk.seen.offered or {}).get("AUTH", "").split()
            self.answer = OpenWay(
                port=self._settings.port,
                security=self._settings.security,
                greeting=greetings[-1],
                signs_in=any(sasl.is_usable(name, encrypted=self.talk.seen.encrypted) for name in offered),
            )
        except DeliveryError as error:
            self.answer = error
        except BaseException as error:  # nobody else would hear of it on this thread
            incidents.report("smtp_probe_broken", error)
        finally:
            answers.put(self)
            client.close()

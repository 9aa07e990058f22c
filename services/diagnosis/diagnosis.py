"""What a failure means, in words that callers and pages may see, and how to mend it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from services.diagnosis import facts, known_names, mending, reply_rules
from services.diagnosis.filling import filled, in_words
from services.diagnosis.mending import Mend
from services.diagnosis.picture import Picture
from services.diagnosis.reply_rules import Advice
from services.diagnosis.retry_hints import reply_hint_seconds
from services.outbox.reasons import Reason, words
from services.smtp.dialogue import SideLook, StepName
from services.smtp.settings import NOT_CONFIGURED, OpenWay, Security, SmtpSettings
from utils import clock, odd_characters
from utils.addresses import ascii_domain
from utils.allowed_places import NOT_FOR_ACCOUNTS
from utils.errors import DeliveryError, Fault, Misconfigured, Phase
from utils.json_shapes import Moment

__all__ = ["NOT_CONFIGURED", "Diagnosis", "Mend", "OpenWay", "diagnose", "explain", "message", "reason"]

SUCCESS: Final = "Connection successful"
ACCEPTED: Final = "Test email accepted"

_PHASES: Final = {  # as people call them, and what is wrong where nothing else tells it
    Phase.SETTINGS: ("Settings", Reason.SETTINGS),
    Phase.DNS: ("DNS", Reason.DNS),
    Phase.CONNECT: ("Connect", Reason.CONNECT),
    Phase.GREETING: ("Greeting", Reason.GREETING),
    Phase.EHLO: ("EHLO", Reason.EHLO),
    Phase.ENCRYPTION: ("Encryption", Reason.ENCRYPTION),
    Phase.SIGN_IN: ("Sign-in", Reason.SIGN_IN),
    Phase.SENDER: ("Sender", Reason.SENDER_REFUSED),
    Phase.RECIPIENT: ("Recipient", Reason.RECIPIENT_REFUSED),
    Phase.DATA: ("Message", Reason.MESSAGE_REFUSED),
    Phase.MESSAGE: ("Message", Reason.MESSAGE_REFUSED),
    Phase.QUIT: ("Goodbye", Reason.ENDED_EARLY),
}
PHASE_LABELS: Final = {phase: label for phase, (label, _) in _PHASES.items()}
STEP_LABELS: Final[dict[StepName, str]] = {
    **dict[StepName, str](PHASE_LABELS.items()),
    SideLook.TOKEN: "Token",
    SideLook.ADDRESS: "Address",
    SideLook.OTHER_PORTS: "Other ports",
    SideLook.CERTIFICATE: "Certificate",
    SideLook.MAIL_SERVERS: "Mail domain",
}

_FAULT_REASONS: Final = {
    # Most faults that people can do something about are reasons of the same name.
    **{fault: Reason(fault) for fault in Fault if fault in {*Reason}},
    Fault.AUTH_NOT_OFFERED: Reason.NO_SIGN_IN,
    Fault.AUTH_UNENCRYPTED: Reason.SIGN_IN_UNENCRYPTED,
    Fault.AUTH_UNPROVEN: Reason.SIGN_IN_UNPROVEN,
    Fault.AUTH_ROUNDS: Reason.SIGN_IN_UNUSABLE,
    Fault.TLS_CERTIFICATE: Reason.CERTIFICATE,
    Fault.TLS_INJECTION: Reason.TAMPERED_WITH,
    Fault.OURS: Reason.OUR_FAULT,
}

_TEMPORARY, _PERMANENT = 4, 5
_NUMBERS: Final = "https://login.microsoftonline.com/error?code="
_GREETED: Final = (Phase.CONNECT, Phase.GREETING, Phase.EHLO)
_LOGIN_FIELDS: Final = ("smtp_username", "smtp_password")
_NOT_REACHED: Final = (Fault.TIMEOUT, Fault.REFUSED, Fault.UNREACHABLE)


@dataclass(frozen=True, kw_only=True)
class AdviceData:
    """A failure explained, in our own words throughout.

    ``field`` is the form field concerned. ``retryable`` says that the same mail may go through later with nothing
    changed, ``retry_after`` (seconds) when, if anybody knows. The server asks not to be tried ``not_before`` a moment:
    that lengthens a lock.
    """

    title: str
    meaning: str
    cause: str
    remedy: str
    field: str | None
    retryable: bool
    retry_after: int | None
    not_before: Moment | None
    docs_url: str


@dataclass(frozen=True, kw_only=True)
class Diagnosis(AdviceData):
    """The same with what recognised it: ``rule`` names a rule of ``reply_rules``, or ``status:5.7.8``, ``code:550``,
    ``fault:closed``, ``phase:sender``. ``actions`` are one click each, the best first.
    """

    rule: str
    phase: Phase
    actions: tuple[Mend, ...]

    @property
    def pause(self) -> str:
        """Until when not to try again, in a sentence; "" if the server has not said."""
        if not self.not_before:
            return ""
        whole = self.not_before + timedelta(seconds=59)  # no earlier in whole minutes
        return f"Do not try again before {whole:%H:%M} UTC: each attempt may extend the wait."


def diagnose(error: DeliveryError, picture: Picture) -> Diagnosis:
    """Explain what went wrong, by what is known of the server and of what was typed."""
    picture = picture.at(error.phase)
    error = _as_probed(error, picture)
    known = facts.of_failure(error, picture)
    return worded(*reply_rules.recognised(error, picture, known), error, picture, known)


def worded(rule: str, advice: Advice, error: DeliveryError, picture: Picture, known: Mapping[str, str]) -> Diagnosis:
    """What ``advice``, which was found by ``rule``, says of this failure; a way in that was seen to work leads."""
    settings = picture.settings
    retryable = advice.retryable
    if retryable is None:
        retryable = (error.code or 0) // 100 == _TEMPORARY
    tries = advice.tries
    cause, remedy = filled(advice.cause, picture, known), filled(advice.remedy, picture, known)
    way = mending.way_seen(tries, picture)
    if way and "{way}" not in advice.remedy:
        remedy = f"Use {in_words(way)}."
        if error.phase is Phase.CONNECT and error.fault in _NOT_REACHED:
            cause = _blocked(settings.port, way[0], error.fault)
    if advice.field == "helo_hostname":
        cause += _greeted(settings, picture.ehlo_name)
    if odd := odd_in(settings) if _is_about_password(error, advice) else "":
        cause = f"{odd} That is rarely meant."
        remedy = f"{_plain_try(settings)} {remedy}".lstrip()
        tries = ("made_plain", *tries)
    # Only a server's own reply can ask for a wait: text of ours has numbers that are none.
    hint = reply_hint_seconds(error.text) if error.fault is Fault.REPLY else None
    return Diagnosis(
        rule=rule,
        phase=error.phase,
        title=filled(advice.title, picture, known),
        meaning=filled(advice.meaning, picture, known),
        cause=cause,
        remedy=remedy,
        field=advice.field,
        retryable=retryable,
        retry_after=(hint or advice.retry_after) if retryable else None,
        not_before=clock.now() + timedelta(seconds=hint) if hint and error.phase is Phase.SIGN_IN else None,
        actions=mending.actions(tries, picture),
        docs_url=_link(advice, error, known),
    )


def may_another_way_help(error: DeliveryError, picture: Picture) -> bool:
    """Whether what is known so far leads to another port or mode, so that it is worth looking what answers there."""
    picture = picture.at(error.phase)
    _, advice = reply_rules.recognised(error, picture, facts.of_failure(error, picture))
    return mending.is_about_ways(advice.tries)


def explain(
    *,
    phase: str,
    fault: str,
    code: int | None = None,
    enhanced: str | None = None,
    text: str = "",
    host: str = "",
    port: int = 0,
    may_have_been_sent: bool = False,
) -> Diagnosis:
    """The same for an attempt as it was stored; without actions, since no form is open.

    Raises ValueError if ``phase`` or ``fault`` are not values of Phase and Fault.
    """
    error = DeliveryError(
        Phase(phase), Fault(fault), text, code=code, enhanced=enhanced, may_have_been_sent=may_have_been_sent
    )
    error.read_mark()
    settings = SmtpSettings(host=host, port=port, security=Security.STARTTLS, from_email="")
    picture = Picture(settings=settings, is_typed=False, by_token=error.by_token or None)
    # When it was is not known here, so neither is until when to wait.
    return replace(diagnose(error, picture), actions=(), not_before=None)


def of_incident(error: DeliveryError, reference: str) -> Diagnosis:
    """Explain that a test ended by a mistake of this program, which stands in the log under ``reference``."""
    advice = reply_rules.tables()["faults"][Fault.OURS]
    arrived = " The email may have arrived." if error.may_have_been_sent else ""
    return Diagnosis(
        rule=f"fault:{Fault.OURS}",
        phase=error.phase,
        title="The test could not be finished",
        meaning=f"{advice.meaning}{arrived} Reference: {reference}.",
        cause=advice.cause,
        remedy=advice.remedy,
        field=advice.field,
        retryable=False,
        retry_after=None,
        not_before=None,
        actions=(),
        docs_url="",
    )


def _is_about_password(error: DeliveryError, advice: Advice) -> bool:
    """Whether the server has said that user name and password do not belong together."""
    is_refusal = error.phase is Phase.SIGN_IN and error.fault is Fault.REPLY and (error.code or 0) // 100 == _PERMANENT
    return is_refusal and advice.field in _LOGIN_FIELDS and not advice.retryable


def odd_in(settings: SmtpSettings) -> str:
    """What looks right in user name and password and is not, in sentences; "" if nothing is."""
    told = (odd_characters.told_of(f"The {name}", text) for name, text in _login(settings).items())
    return " ".join(filter(None, told))


def _plain_try(settings: SmtpSettings) -> str:
    """What to try first where user name or password hold something odd."""
    odd = {name: text for name, text in _login(settings).items() if odd_characters.plain(text) not in ("", text)}
    return " ".join(f"Try the {name} {odd_characters.way_out(text)}." for name, text in odd.items())


def _login(settings: SmtpSettings) -> dict[str, str]:
    return {"user name": settings.username, "password": settings.password.reveal()}


def _link(advice: Advice, error: DeliveryError, known: Mapping[str, str]) -> str:
    """Where to read on; of a block list that a reply names, where its entries are removed, of a number of Microsoft's,
    what it says of it.
    """
    if not advice.docs_url and (code := known.get("token_code")):
        return f"{_NUMBERS}{code.removeprefix('AADSTS')}"
    listed = known_names.block_list_in(error.text) if "{list}" in advice.remedy else None
    return listed.url if listed and "list" in known else advice.docs_url


def _as_probed(error: DeliveryError, picture: Picture) -> DeliveryError:
    """The error, or what TLS on the same port has shown of a server that gave no greeting without."""
    # With TLS from the start (RFC 8314 3.3) it is the client that speaks first, so both wait for each other.
    is_silent = error.phase is Phase.GREETING and error.fault in (Fault.TIMEOUT, Fault.CLOSED, Fault.TLS_EXPECTED)
    answer = picture.ways.get((picture.settings.port, Security.TLS)) if is_silent else None
    if isinstance(answer, OpenWay):
        return Misconfigured(error.phase, Fault.TLS_EXPECTED, error.text)
    if answer and answer.fault is Fault.NOT_SMTP:  # as that of IMAPS does
        return Misconfigured(error.phase, Fault.NOT_SMTP, answer.text)
    return error


def _blocked(port: int, other: int, fault: Fault) -> str:
    answers = f"Port {other} on the same host responds"
    if fault is Fault.REFUSED:
        return f"{answers}: the server accepts mail there, not on {port}."
    return f"{answers}: your hosting provider probably blocks {port}."


def _greeted(settings: SmtpSettings, ehlo_name: str) -> str:
    """With what name we greeted, and where that is set; "" if it is not known."""
    if settings.helo_hostname:
        return f" The name was {settings.helo_hostname}, as set under “More options”."
    if not ehlo_name:
        return ""
    is_ours = settings.from_email and ehlo_name == ascii_domain(settings.from_email)
    return f" The name was {ehlo_name}, the {'From domain' if is_ours else 'host of BASE_URL'}."


def reason(error: DeliveryError) -> Reason:
    """What is wrong, in short."""
    if error.fault is Fault.ADDRESS_REFUSED and error.text == NOT_FOR_ACCOUNTS:
        return Reason.NOT_FOR_ACCOUNTS
    if error.fault in _FAULT_REASONS:
        return _FAULT_REASONS[error.fault]
    if error.phase in _GREETED and error.fault is Fault.REPLY and known_names.listing_in(error.text):
        return Reason.BLOCK_LISTED
    # RFC 4954 6: 454 says that the password could not be checked, which is no word on whether it is right.
    if error.phase is Phase.SIGN_IN and not isinstance(error, Misconfigured):
        return Reason.SIGN_IN_LATER
    return phase_reason(error.phase)


def phase_reason(phase: Phase) -> Reason:
    """What is wrong where a phase has failed, and nothing tells more."""
    return _PHASES[phase][1]


def message(error: DeliveryError) -> str:
    """The same in words, without one of the server's."""
    return words(reason(error))

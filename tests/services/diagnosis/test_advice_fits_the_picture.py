"""No advice, whichever rule or table it stands in, says or offers what the picture of the failure excludes."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Final

import pytest

from services.diagnosis import facts, reply_rules
from services.diagnosis.conditions import CONDITIONS
from services.diagnosis.diagnosis import Diagnosis, worded
from services.diagnosis.picture import Picture, WayAnswer, WayIn
from services.diagnosis.reply_rules import ANY, Advice, Rule
from services.smtp.settings import TOKEN_METHOD, Bearer, OpenWay, Security, SmtpSettings
from utils.errors import DeliveryError, Fault, Phase
from utils.secret import Secret

USUAL: Final = ((587, Security.STARTTLS), (465, Security.TLS), (2525, Security.STARTTLS), (25, Security.STARTTLS))
HOSTS: Final = ("smtp.shop.example", "smtp.gmail.com", "smtp.office365.com")
TEXTS: Final = ("title", "meaning", "cause", "remedy")
KNOWN: Final = {name: f"the {name}" for name in facts.NAMES}
ROUNDS: Final = 40  # pictures for each piece of advice
AFTER_SIGN_IN: Final = (Phase.SENDER, Phase.RECIPIENT, Phase.DATA, Phase.MESSAGE, Phase.QUIT)


@dataclass(frozen=True)
class Entry:
    """One piece of advice, where it stands, and what it can be said of."""

    name: str
    advice: Advice
    phases: tuple[Phase, ...]
    faults: tuple[Fault, ...]


def entries() -> Iterator[Entry]:
    for rule in reply_rules.all_rules():
        phases = tuple(Phase(phase) for phase in rule.phases) or tuple(Phase)
        yield Entry(rule.id, rule, phases, tuple(Fault(fault) for fault in rule.faults))
    tables = reply_rules.tables()
    for table, key in [(name, key) for name, entries_of in tables.items() for key in entries_of]:
        first, _, phase = key.partition(" ")
        phases = (Phase(phase),) if phase in set(Phase) else (Phase(first),) if table == "phases" else tuple(Phase)
        faults: tuple[Fault, ...] = (Fault.REPLY,)
        if table == "faults":
            faults = (Fault(first),) if first in set(Fault) else tuple(Fault)
        if table == "tokens":
            phases, faults = (Phase.SIGN_IN,), (Fault.TOKEN_DEAD, Fault.TOKEN_UNAVAILABLE)
        yield Entry(f"{table}:{key}", tables[table][key], phases, faults)


ENTRIES: Final = tuple(entries())


def answer(way: WayIn, kind: str) -> WayAnswer:
    if kind == "works":
        return OpenWay(port=way[0], security=way[1], greeting="ready", signs_in=True)
    if kind == "no sign-in":
        return OpenWay(port=way[0], security=way[1], greeting="ready", signs_in=False)
    return DeliveryError(Phase.CONNECT, Fault(kind))


def pictured(pick: Random, phases: Sequence[Phase] = tuple(Phase), *, by_token: bool = False) -> Picture:
    """What a conversation that came to some phase may have shown, or nobody noted."""
    phase = pick.choice(phases)
    way = pick.choice((25, 465, 587, 993, 2525, 0)), pick.choice(tuple(Security))
    has_login = phase is Phase.SIGN_IN or pick.random() < 0.6
    typed = SmtpSettings(
        host=pick.choice(HOSTS),
        port=way[0],
        security=way[1],
        username="mailer@shop.example" if has_login else "",
        password=Secret("geheim-8472" if has_login else ""),
        from_email=pick.choice(("hello@shop.example", "mailer@shop.example")),
        auth_method=pick.choice(("", "PLAIN", "SCRAM-SHA-256")),
        timeout_seconds=pick.choice((10, 60)),
        is_personal=pick.random() < 0.2,
    )
    by_token = by_token or (has_login and pick.random() < 0.3)
    if by_token:
        bearer = Bearer("config:1/1", Secret("t"))
        typed = replace(typed, bearer=bearer, password=Secret(""), auth_method=TOKEN_METHOD)
    if pick.random() < 0.2:  # an attempt that was stored
        return Picture(settings=typed, is_typed=False).at(phase)
    names = pick.choice(("PLAIN LOGIN", "XOAUTH2", "NTLM GSSAPI", "", "SCRAM-SHA-256-PLUS"))
    if has_login and phase in AFTER_SIGN_IN:
        names = "LOGIN XOAUTH2" if by_token else "PLAIN LOGIN"  # by which it has signed in
    offers = {"AUTH": names, "SIZE": "1000"} if names else {"SIZE": "1000"}
    kinds = pick.choice((("works",), ("timeout",), ("works", "no sign-in", "timeout", "refused")))
    ways = {other: answer(other, pick.choice(kinds)) for other in USUAL if other != way}
    return Picture(
        settings=typed,
        ways=pick.choice(({}, ways)),
        offers=pick.choice((None, offers)) if phase in (Phase.SIGN_IN, *AFTER_SIGN_IN) else None,
        message_size=pick.choice((None, 500, 2000)),
        app_only=pick.choice((None, False, True)) if by_token else None,
        has_attachments=pick.choice((None, False, True)),
    ).at(phase)


Check = Callable[[Picture], bool]


def unless(name: str) -> Check:
    return lambda picture: CONDITIONS[name](picture) is not True


def needs(name: str) -> Check:
    return lambda picture: CONDITIONS[name](picture) is not False


# What words assume, wherever they stand.
CLAIMS: Final[tuple[tuple[str, Check], ...]] = (
    (r"no(?:body| one) (?:has )?sign(?:ed|s) in|no (?:valid )?(?:user name|login|sign-in) was (?:given|entered)"
     r"|without (?:a login|a sign-in|signing in|user name)|sign-in is missing|(?:offered|came|arrived) without"
     r"|needs? (?:a |you to )?sign(?:-in| in)\b(?! (?:again|in a browser))|sent directly from", unless("signed_in")),
    (r"with sign-in on port", lambda picture: unless("signed_in")(picture) or unless("port_for_sending")(picture)),
    (r"user name and password are (?:empty|missing)|user name and password are (?:given|entered|filled in)"
     r"|enter (?:a |the |your )?user name and password", unless("login_typed")),
    (r"signed in, but|does not belong to (?:the account|the user name|mailer@)|for this (?:account|user name)\b"
     r"|account that signs in|as the (?:address|account) that signs in|this account may|this user name",
     needs("login_typed")),
    (r"no encryption was chosen|left unencrypted|encryption was not used|choose (?:STARTTLS|TLS|encryption)\b"
     r"|was not encrypted|connection is not encrypted", unless("encrypted")),
    (r"no encryption was chosen|encryption was not used", unless("encryption_chosen")),
    (r"app(?:lication-specific)? password", unless("only_tokens_offered")),
    (r"app password|(?:enter|check|create|set|try|copy) [^.]{0,40}\bpassword|password is wrong|wrong password"
     r"|this user name and password|password was (?:not )?(?:checked|sent|entered)", unless("by_token")),
    (r"(?<!no need to )connect again|\b(?:the token (?:is|was|has|lacks)|this token)\b", needs("by_token")),
    (r"(?<!no )attachments?\b(?!, if)", needs("attachments")),
    (r"has no attachment", unless("attachments")),
    (r"method .{0,40}was chosen|you chose the (?:sign-in )?method|(?:sign-in )?method was chosen|auth_method to \"\""
     r"|the chosen (?:sign-in )?method|--auth-method automatic", needs("method_chosen")),
    (r"belongs? to mailer@|not mailer@\S+ own|address belongs to another account", unless("from_is_login")),
    (r"only after encryption", unless("encrypted")),
    (r"(?:enter|check) .{0,60}EHLO name|raise the timeout", unless("personal")),
    (r"raise the timeout", lambda picture: picture.settings.timeout_seconds < 60),
    (r"client certificate is set up", needs("certificate_typed")),
    (r"(?:try|use|test) (?:ports? |another port|an?other port)", unless("other_ports_dead")),
    (r"\busually \d+", unless("other_ports_dead")),
    (r"\b(?:were|was) tried too|answers on .* either", needs("other_ports_dead")),
)  # fmt: skip
_NAMED_WAY: Final = re.compile(
    r"(?P<mode>STARTTLS|TLS) (?:with|on) (?:port )?(?P<port>\d+)|port (?P<port2>\d+) with (?P<mode2>STARTTLS|TLS)"
)
_PROVIDER: Final = re.compile(
    r"\b(Google|Gmail|Microsoft|Outlook|Office 365|Yahoo|AOL|iCloud|Zoho|SendGrid|Mailgun|Amazon|SES|Postmark|Brevo"
    r"|Mailtrap|SparkPost|Resend|MailerSend|SMTP2GO|Proton|Mail\.ru|Yandex|QQ|NetEase|GMX|WEB\.DE|Scaleway)\b"
)


def said_in(found: Diagnosis) -> str:
    return " ".join((found.title, found.meaning, found.cause, found.remedy))


def contradictions(found: Diagnosis, picture: Picture) -> list[str]:
    """The words of a diagnosis that its picture excludes."""
    text = said_in(found)
    wrong = [
        match[0] for pattern, may in CLAIMS if (match := re.search(pattern, text, re.IGNORECASE)) and not may(picture)
    ]
    for match in _NAMED_WAY.finditer(f"{found.cause} {found.remedy}"):
        way = int(match["port"] or match["port2"]), Security((match["mode"] or match["mode2"]).lower())
        if way in picture.ways and way[0] in picture.dead_ports:
            wrong.append(f"{match[0]}, which is dead")
    if re.search(r"port 0\b|\{|  | ,|\bNone\b", text):
        wrong.append("a value that nobody knows")
    return wrong


def dead_or_idle(found: Diagnosis, picture: Picture) -> list[str]:
    """The actions that lead to what was seen to fail, or come before what was seen to work."""
    typed = picture.settings
    works = [(way.port, way.security) for way in picture.usable_ways]
    ways = [
        (int(action.changes.get("smtp_port", typed.port)), Security(action.changes.get("security", typed.security)))
        for action in found.actions
        if action.changes.get("smtp_server", typed.host) == typed.host
    ]
    wrong = [f"{way} is dead" for way in ways if way in picture.ways and way not in works]
    seen = [way in works for way in ways]
    return [*wrong, *(["what works is not first"] if seen != sorted(seen, reverse=True) else [])]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_no_advice_says_or_offers_what_the_picture_excludes(entry: Entry) -> None:
    pick = Random(entry.name)
    for _ in range(ROUNDS):
        picture = pictured(pick, entry.phases, by_token=Fault.TOKEN_DEAD in entry.faults)
        if entry.advice.allows(picture, KNOWN):
            error = DeliveryError(picture.phase or Phase.DNS, pick.choice(entry.faults))
            found = worded(entry.name, entry.advice.to(picture, KNOWN), error, picture, KNOWN)
            assert contradictions(found, picture) + dead_or_idle(found, picture) == [], (picture, found)


def test_advice_names_only_conditions_that_there_are() -> None:
    said = {*TEXTS, "field", "tries"}
    for entry in ENTRIES:
        assert {*entry.advice.needs, *entry.advice.unless} <= set(CONDITIONS), entry.name
        for variant in entry.advice.variants:
            assert {*variant.get("needs", ()), *variant.get("unless", ())} <= set(CONDITIONS), entry.name
            assert set(variant) <= {"needs", "unless", *said}, entry.name
            texts = [text for name, text in variant.items() if name in TEXTS]
            assert (set(variant) & {"needs", "unless"} or facts.named_in(texts)) and set(variant) & said, entry.name


def test_there_is_advice_for_every_picture() -> None:
    """What is said where nothing else can be says nothing that any picture excludes."""
    for phase, advice in reply_rules.tables()["phases"].items():
        assert not advice.needs and not advice.unless, phase


def test_a_provider_is_named_only_in_its_own_advice() -> None:
    receivers = {"gmail-unauthenticated-domain", "google-oauth-revoked", "ms-access-denied-later", "yahoo-tss04"}
    for entry in ENTRIES:
        if entry.name.startswith("tokens:"):  # whose error it is tells who speaks
            continue
        is_anybodys = not isinstance(entry.advice, Rule) or ANY in entry.advice.providers
        if is_anybodys and entry.name not in receivers:
            said = [entry.advice.title, entry.advice.meaning, entry.advice.cause, entry.advice.remedy]
            said += [str(variant.get(name, "")) for variant in entry.advice.variants for name in TEXTS]
            assert not _PROVIDER.search(" ".join(said)), entry.name

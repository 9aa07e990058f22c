"""What receivers find in the DNS about a From domain: SPF, DKIM, DMARC and MX, with the records to add."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from services.domain import dkim, dmarc, spf_advice
from services.domain.owner import listed, what_else
from services.domain.records import Finding, Grade
from services.providers import registry
from services.providers.registry import Provider
from services.settings import route
from services.smtp.dns import LookupFailed, Questions
from utils.addresses import InvalidAddress, ascii_domain, ip_literal, parse_host
from utils.env_utils import get_settings
from utils.errors import InvalidInput

SECONDS: Final = 9.0  # for all questions together


@dataclass(frozen=True)
class DomainReport:
    """What is found about SPF, DKIM, DMARC and MX. ``server`` is whose permission was checked, "" for none."""

    domain: str
    server: str
    provider: str  # its name, "" if it is none of the known ones
    outcome: Grade  # the worst of the findings
    findings: list[Finding]


def sending_now() -> tuple[str, str]:
    """From domain and server of what sends now; ("", "") if nothing does."""
    used = route.first_of(route.steps())
    if not used or not used.settings:
        return "", ""
    return ascii_domain(used.settings.from_email), used.settings.host


def parse_domain(text: str) -> str:
    """The domain of an address, or the domain itself, normalised. Raises InvalidInput on ``domain``."""
    name = text.strip().rpartition("@")[2]
    try:
        host = parse_host(name)
    except InvalidAddress:
        host = ""
    if not host or ip_literal(host) or "." not in host:
        raise InvalidInput({"domain": ["Enter the part of the From address after the @, like example.com."]})
    return host


def _parse_server(text: str) -> str:
    """The server's name or address, normalised; "" for none. Raises InvalidInput on ``server``."""
    try:
        return parse_host(text.strip()) if text.strip() else ""
    except InvalidAddress as error:
        raise InvalidInput({"server": [str(error)]}) from None


def check(domain: str, server: str = "") -> DomainReport:
    """Ask for everything at once, at most SECONDS. The domain may be an address in it.

    Raises InvalidInput where one of them is no name.
    """
    domain, server = parse_domain(domain), _parse_server(server)
    questions = Questions(SECONDS, get_settings().dns_resolver)
    provider = registry.for_server(server)
    owner = _owner(domain, questions)
    findings = [_of_somebody_else(domain, owner, provider)] if owner else _findings(domain, server, provider, questions)
    worst = max((finding.outcome for finding in findings), key=tuple(Grade).index)
    return DomainReport(domain, server, provider["house"] if provider else "", worst, findings)


def _findings(domain: str, server: str, provider: Provider | None, questions: Questions) -> list[Finding]:
    checks: dict[str, Callable[[], Finding]] = {
        "SPF": lambda: spf_advice.check(domain, server, provider, questions),
        "DKIM": lambda: dkim.check(domain, provider, questions),
        "DMARC": lambda: dmarc.check(domain, questions),
        "MX": lambda: _mx(domain, questions),
    }
    with ThreadPoolExecutor(len(checks) + 1, "domain-check") as pool:
        is_absent = pool.submit(_is_absent, domain, questions)
        found = [pool.submit(_without_a_crash, subject, domain, look) for subject, look in checks.items()]
    if is_absent.result():  # no advice about its records then: there is nowhere to put them
        text = f"The domain {domain} does not exist. Check its spelling."
        return [Finding(subject="Domain", outcome=Grade.CHANGE, text=text, host=domain, seen=(), add=())]
    return [finding.result() for finding in found]


def _is_absent(domain: str, questions: Questions) -> bool:
    try:
        return not questions.exists(domain)
    except LookupFailed:
        return False


def _owner(domain: str, questions: Questions) -> Provider | None:
    """Whose mailboxes have this domain, so that nobody else can change its records.

    A name that merely looks like theirs may be anybody's: then its MX has to be theirs as well. A domain that no list
    names is theirs if its MX takes mail for their own domains alone.
    """
    if owner := listed(domain):
        return owner
    owner = registry.for_domain(domain)
    try:
        taker = registry.for_mx(questions.mx(domain))
    except LookupFailed:
        return None
    return taker if taker and (taker["own_mx"] or (owner and taker["id"] == owner["id"])) else None


def _without_a_crash(subject: str, domain: str, look: Callable[[], Finding]) -> Finding:
    try:
        return look()
    except LookupFailed as error:
        text = f"{error.text} Try again later."
        return Finding(subject=subject, outcome=Grade.OPEN, text=text, host=domain, seen=(), add=())


def _of_somebody_else(domain: str, owner: Provider, provider: Provider | None) -> Finding:
    if provider and registry.is_same_house(provider, owner):
        text = f"{domain} belongs to {owner['house']}, which sends your mail. You cannot change its records."
        return Finding(subject="Domain", outcome=Grade.GOOD, text=text, host=domain, seen=(), add=())
    text = (
        f"{domain} belongs to {owner['house']}, so no other server may send for it, and you cannot add records there. "
        f"{what_else(owner)}"
    )
    return Finding(subject="Domain", outcome=Grade.CHANGE, text=text, host=domain, seen=(), add=())


def _mx(domain: str, questions: Questions) -> Finding:
    servers = questions.mx(domain)
    outcome, text = _bounces(domain, servers, questions)
    return Finding(subject="MX", outcome=outcome, text=text, host=domain, seen=tuple(servers), add=())


def _bounces(domain: str, servers: list[str], questions: Questions) -> tuple[Grade, str]:
    """Whether replies and bounces arrive at these mail servers of the domain, and what to say of that."""
    if "." in servers:
        no_mail = f"{domain} says that it accepts no mail (“null MX”)."
        return Grade.CHANGE, f"{no_mail} Bounces are lost, and many receiving servers refuse its mail."
    if servers:
        return Grade.GOOD, f"{domain} accepts mail, so replies and bounces arrive."
    if questions.addresses(domain):
        text = f"There is no MX record. Mail for {domain} goes to the machine of that name, if it accepts any."
        return Grade.OPEN, text
    text = (
        f"Nothing accepts mail for {domain}: replies and bounces are lost, and many receiving servers refuse its mail."
    )
    return Grade.CHANGE, text

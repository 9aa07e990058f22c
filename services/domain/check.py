"""What receivers find in the DNS about a From domain: SPF, DKIM, DMARC and MX, with the records to add."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, Final

from services.domain import dkim, dmarc, spf_advice
from services.domain.records import Finding, Grade
from services.providers import registry
from services.providers.registry import Provider
from services.settings import route
from services.smtp.dns import LookupFailed, Questions
from utils.addresses import InvalidAddress, ascii_address, ip_literal, parse_host
from utils.env_utils import get_settings
from utils.errors import InvalidInput

SECONDS: Final = 9.0  # for all questions together
SUBJECTS: Final = ("SPF", "DKIM", "DMARC", "MX")


@dataclass(frozen=True)
class DomainReport:
    """The findings in the order of SUBJECTS. ``server`` is whose permission was checked, "" for none."""

    domain: str
    server: str
    provider: str  # its name, "" if it is none of the known ones
    findings: list[Finding]

    @property
    def outcome(self) -> Grade:
        """The worst of the findings: CHANGE before OPEN before GOOD."""
        found = {finding.outcome for finding in self.findings}
        return next((worst for worst in (Grade.CHANGE, Grade.OPEN) if worst in found), Grade.GOOD)

    def public_dict(self) -> dict[str, Any]:
        """The report as JSON."""
        return {
            "domain": self.domain,
            "server": self.server,
            "provider": self.provider,
            "outcome": self.outcome,
            "findings": [asdict(finding) for finding in self.findings],
        }


def sending_now() -> tuple[str, str]:
    """From domain and server of what sends now; ("", "") if nothing does."""
    used = route.first_of(route.steps())
    if not used or not used.settings:
        return "", ""
    return ascii_address(used.settings.from_email).rpartition("@")[2], used.settings.host


def parse_domain(text: str) -> str:
    """The domain of an address, or the domain itself, normalised. Raises InvalidInput on ``domain``."""
    name = text.strip().rpartition("@")[2]
    try:
        host = parse_host(name)
    except InvalidAddress:
        host = ""
    if not host or ip_literal(host) or "." not in host:
        raise InvalidInput({"domain": ["Give the part of the From address behind the @, like example.com."]})
    return host


def parse_server(text: str) -> str:
    """The server's name or address, normalised; "" for none. Raises InvalidInput on ``server``."""
    try:
        return parse_host(text.strip()) if text.strip() else ""
    except InvalidAddress as error:
        raise InvalidInput({"server": [str(error)]}) from None


def check(domain: str, server: str = "") -> DomainReport:
    """Ask for everything at once, at most SECONDS; both names come from the parsers above. Never raises."""
    questions = Questions(SECONDS, get_settings().dns_resolver)
    provider = registry.for_server(server)
    name = provider["house"] if provider else ""
    owner = _owner(domain, questions)
    if owner:
        return DomainReport(domain, server, name, [_of_somebody_else(domain, owner, provider)])
    checks: dict[str, Callable[[], Finding]] = {
        "SPF": lambda: spf_advice.check(domain, server, provider, questions),
        "DKIM": lambda: dkim.check(domain, provider, questions),
        "DMARC": lambda: dmarc.check(domain, questions),
        "MX": lambda: _mx(domain, questions),
    }
    with ThreadPoolExecutor(len(checks), "domain-check") as pool:
        found = [pool.submit(_without_a_crash, subject, domain, checks[subject]) for subject in SUBJECTS]
    return DomainReport(domain, server, name, [finding.result() for finding in found])


def _owner(domain: str, questions: Questions) -> Provider | None:
    """Whose mailboxes have this domain, so that nobody else can change its records.

    A name that merely looks like theirs may be anybody's: then its MX has to be theirs as well.
    """
    owner = registry.for_domain(domain)
    if not owner or registry.is_listed(domain):
        return owner
    try:
        taker = registry.for_mx(questions.mx(domain))
    except LookupFailed:
        return None
    return owner if taker and taker["id"] == owner["id"] else None


def _without_a_crash(subject: str, domain: str, look: Callable[[], Finding]) -> Finding:
    try:
        return look()
    except LookupFailed as error:
        return Finding(subject=subject, outcome=Grade.OPEN, text=f"{error.text} Try again later.", host=domain)


def _of_somebody_else(domain: str, owner: Provider, provider: Provider | None) -> Finding:
    if provider and registry.is_same_house(provider, owner):
        text = f"{domain} belongs to {owner['house']}, through whom you send. Its records are not yours to keep."
        return Finding(subject="Domain", outcome=Grade.GOOD, text=text, host=domain)
    text = (
        f"{domain} belongs to {owner['house']}, so nobody else’s server may send for it, and you cannot add records "
        f"there. Send from an address of your own domain, or through {owner['house']}."
    )
    return Finding(subject="Domain", outcome=Grade.CHANGE, text=text, host=domain)


def _mx(domain: str, questions: Questions) -> Finding:
    servers = questions.mx(domain)
    text = f"{domain} takes mail, so replies and bounces arrive."
    outcome = Grade.GOOD
    if "." in servers:
        text = f"{domain} says that it takes no mail (“null MX”). Bounces are lost, and many receivers refuse its mail."
        outcome = Grade.CHANGE
    elif not servers and not questions.exists(domain):
        outcome, text = Grade.CHANGE, f"The domain {domain} does not exist. Check its spelling."
    elif not servers and questions.addresses(domain):
        text = f"There is no MX record. Mail for {domain} goes to the machine of that name, if it takes any."
        outcome = Grade.OPEN
    elif not servers:
        text = f"Nothing takes mail for {domain}: replies and bounces are lost, and many receivers refuse its mail."
        outcome = Grade.CHANGE
    return Finding(subject="MX", outcome=outcome, text=text, host=domain, seen=tuple(servers))

"""Whether the SPF record of a From domain permits the server that sends, and the record that would."""

from dataclasses import dataclass
from typing import Final

from services.domain import spf
from services.domain.records import DnsRecord, Finding, Grade
from services.domain.spf import Evaluation, SpfResult
from services.providers.registry import Provider
from services.smtp.dns import LookupFailed, Questions
from utils.net_guard import IPAddress

_BARE: Final = "v=spf1"
_ENDS: Final = ("all", "+all", "-all", "~all", "?all")
_STRICTEST: Final = ("-all", "~all", "?all")


@dataclass(frozen=True)
class _Case:
    """A domain with its records. ``term`` is what they need so that the server is permitted, "" if nothing is known
    or needed; ``elsewhere`` is what a receiver makes of mail from anywhere else.
    """

    domain: str
    seen: list[str]
    term: str
    elsewhere: Evaluation

    def finding(self, outcome: Grade, text: str, value: str = "") -> Finding:
        """``value`` is the one record to have; "" if it is as it should be, or how is for its owner to say."""
        add = (DnsRecord(self.domain, "TXT", value, instead=" and ".join(self.seen)),) if value else ()
        return Finding(subject="SPF", outcome=outcome, text=text, host=self.domain, seen=tuple(self.seen), add=add)

    def with_term(self) -> str:
        """The record that permits the server as well."""
        return _with(self.seen[0] if self.seen else _BARE, self.term)


def check(domain: str, server: str, provider: Provider | None, questions: Questions) -> Finding:
    """Compare the record with what mail through ``server`` needs; it is ``provider``'s if that is a known one.

    An empty ``server`` is nobody's, so that only the record itself is judged. Raises LookupFailed.
    """
    seen = spf.records(domain, questions)
    term = _term_for(server, provider, questions)
    case = _Case(domain, seen, term, spf.evaluate(domain, None, questions))
    faulty = _faulty(case)
    if faulty:
        return faulty
    if provider:
        return _of_provider(case, provider)
    if server:
        return _of_server(case, server, questions)
    text = f"{domain} has {'a' if seen else 'no'} record. Enter the sending server to see what it needs."
    return case.finding(Grade.OPEN if seen else Grade.CHANGE, text)


def _faulty(case: _Case) -> Finding | None:
    """What is wrong with the record whoever sends; None if nothing is, or there is none."""
    if len(case.seen) > 1:
        text = (
            f"{case.domain} has {len(case.seen)} SPF records. Only one is allowed, so receiving servers "
            "ignore them all."
        )
        return case.finding(Grade.CHANGE, text, _merged(case.seen, case.term))
    result, problem = case.elsewhere.result, case.elsewhere.problem
    if result is SpfResult.TEMPERROR:
        return case.finding(Grade.OPEN, problem)
    if result is SpfResult.PERMERROR:
        return case.finding(
            Grade.CHANGE, f"{problem} Receiving servers treat that as an error, as if there were no record."
        )
    if result is SpfResult.PASS:
        text = "This record allows every machine in the world to send as you."
        return case.finding(Grade.CHANGE, text, _with_end(case.with_term(), "~all"))
    return None


def _of_provider(case: _Case, provider: Provider) -> Finding:
    house = provider["house"]
    if case.seen and case.elsewhere.names.intersection(provider["spf"]):
        return _permitted(case, house)
    if provider["own_envelope"]:
        text = (
            f"Not needed: {house} sends with its own envelope domain, and SPF is checked there. DKIM vouches for "
            f"{case.domain}."
        )
        return case.finding(Grade.GOOD, text)
    if not case.term:
        return case.finding(Grade.OPEN, f"Sealpost does not know which record {house} needs. See its help pages.")
    return _lacking(case, house)


def _of_server(case: _Case, server: str, questions: Questions) -> Finding:
    addresses = questions.addresses(server)
    if not addresses:
        return case.finding(Grade.OPEN, f"No server has the name {server}. Check its spelling.")
    if not all(address.is_global for address in addresses):
        text = (
            f"{server} has no public address, so its mail leaves from another one. Make sure that the record contains "
            "the address that receiving servers see."
        )
        return case.finding(Grade.OPEN, text)
    if not case.seen:
        return _lacking(case, server)
    refused = [address for address in addresses if not _permits(case.domain, address, questions)]
    if not refused:
        return _permitted(case, server)
    if _is_same_owner(case.domain, server):
        return _lacking(case, server)
    listed = ", ".join(map(str, refused))
    text = (
        f"It does not allow {server} ({listed}). If mail leaves from there, add it. Providers often send from other "
        "addresses; their help pages say what to include."
    )
    return case.finding(Grade.OPEN, text, case.with_term())


def _permits(domain: str, address: IPAddress, questions: Questions) -> bool:
    evaluation = spf.evaluate(domain, address, questions)
    if evaluation.result is SpfResult.TEMPERROR:
        raise LookupFailed(evaluation.problem)
    return evaluation.result is SpfResult.PASS


def _permitted(case: _Case, who: str) -> Finding:
    """It permits the sender; whether it says anything about others is told as well."""
    text = f"It allows {who} to send for {case.domain}."
    if case.elsewhere.result is not SpfResult.NEUTRAL:
        return case.finding(Grade.GOOD, text)
    text += " But it does not exclude anyone else, so forgeries pass too. End it with ~all."
    return case.finding(Grade.CHANGE, text, _with_end(case.seen[0], "~all"))


def _lacking(case: _Case, who: str) -> Finding:
    if case.seen:
        text = f"It does not allow {who} to send for {case.domain}, so your mail looks forged."
    else:
        text = (
            f"{case.domain} has no SPF record, so receiving servers cannot tell your mail through {who} from a forgery."
        )
    return case.finding(Grade.CHANGE, text, case.with_term())


def _term_for(server: str, provider: Provider | None, questions: Questions) -> str:
    if provider:
        return f"include:{provider['spf'][0]}" if provider["spf"] and not provider["own_envelope"] else ""
    if not server:
        return ""
    literal = questions.addresses(server)
    if [str(address) for address in literal] == [server]:
        return f"ip{literal[0].version}:{server}"
    return f"a:{server}"


def _with(record: str, term: str) -> str:
    """The record with a term more, before what ends it."""
    words = record.split()
    if not term or term.lower() in (word.lower().lstrip("+") for word in words):
        return " ".join(words)
    ends = [place for place, word in enumerate(words) if word.lower() in _ENDS or word.lower().startswith("redirect=")]
    place = ends[0] if ends else len(words)
    return " ".join([*words[:place], term, *words[place:], *([] if ends else ["~all"])])


def _with_end(record: str, end: str) -> str:
    return " ".join([*(word for word in record.split() if word.lower() not in _ENDS), end])


def _merged(records: list[str], term: str) -> str:
    """All records as one, with the strictest of their ends."""
    words = dict.fromkeys(word for record in records for word in record.split()[1:] if word.lower() not in _ENDS)
    given = {word.lower() for record in records for word in record.split()}
    end = next((end for end in _STRICTEST if end in given), "~all")
    return _with(" ".join([_BARE, *words, end]), term)


def _is_same_owner(domain: str, server: str) -> bool:
    """Whether the server's name lies within the domain, or beside it under the same one."""
    parent = domain if domain.count(".") == 1 else domain.partition(".")[2]
    return server == domain or server.endswith((f".{domain}", f".{parent}"))

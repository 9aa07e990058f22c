"""Whether the SPF record of a From domain permits the server that sends, and the record that would."""

from typing import Final

from services.domain import spf
from services.domain.records import DnsRecord, Finding, Grade
from services.domain.spf import SpfResult
from services.providers.registry import Provider
from services.smtp.dns import LookupFailed, Questions
from utils.net_guard import IPAddress

_NEW: Final = "v=spf1 {term} ~all"
_ENDS: Final = ("all", "+all", "-all", "~all", "?all")
_STRICTEST: Final = ("-all", "~all", "?all")


def check(domain: str, server: str, provider: Provider | None, questions: Questions) -> Finding:
    """Compare the record with what mail through ``server`` needs; it is ``provider``'s if that is a known one.

    An empty ``server`` is nobody's, so that only the record itself is judged. Raises LookupFailed.
    """
    seen = spf.records(domain, questions)
    term = _term_for(server, provider, questions)
    faulty = _faulty(domain, seen, term, questions)
    if faulty:
        return faulty
    if provider:
        return _of_provider(domain, provider, seen, term, questions)
    if server:
        return _of_server(domain, server, seen, term, questions)
    text = f"{domain} has {'a' if seen else 'no'} record. Give the server that sends, to see what it needs."
    return _finding(domain, Grade.OPEN if seen else Grade.CHANGE, text, seen)


def _faulty(domain: str, seen: list[str], term: str, questions: Questions) -> Finding | None:
    """What is wrong with the record whoever sends; None if nothing is, or there is none."""
    if len(seen) > 1:
        text = f"{domain} has {len(seen)} SPF records. Receivers take that for an error and use none of them."
        return _change(domain, text, seen, _merged(seen, term))
    elsewhere = spf.evaluate(domain, None, questions)
    if elsewhere.result is SpfResult.TEMPERROR:
        return _finding(domain, Grade.OPEN, elsewhere.problem, seen)
    if elsewhere.result is SpfResult.PERMERROR:
        text = f"{elsewhere.problem} Receivers take that for an error, as if there were no record."
        return _change(domain, text, seen, "")
    if elsewhere.result is SpfResult.PASS:
        text = "This record permits every machine in the world to send as you."
        return _change(domain, text, seen, _with_end(_with(seen[0], term), "~all"))
    return None


def _of_provider(domain: str, provider: Provider, seen: list[str], term: str, questions: Questions) -> Finding:
    names = spf.evaluate(domain, None, questions).names if seen else frozenset()
    if names.intersection(provider["spf"]):
        return _permitted(domain, f"It permits {provider['house']} to send for {domain}.", seen, questions)
    if provider["own_envelope"]:
        text = (
            f"Not needed here: {provider['house']} puts a domain of its own into the envelope, and receivers look "
            f"SPF up there. DKIM is what speaks for {domain}."
        )
        return _finding(domain, Grade.GOOD, text, seen)
    if not term:
        text = f"Which record {provider['house']} needs is not known here. Ask its help pages."
        return _finding(domain, Grade.OPEN, text, seen)
    return _lacking(domain, provider["house"], seen, term)


def _of_server(domain: str, server: str, seen: list[str], term: str, questions: Questions) -> Finding:
    addresses = questions.addresses(server)
    if not addresses:
        return _finding(domain, Grade.OPEN, f"No server has the name {server}. Check its spelling.", seen)
    if not all(address.is_global for address in addresses):
        text = (
            f"{server} has no public address, so its mail leaves from another one. Make sure that the record "
            "names the address that receivers see."
        )
        return _finding(domain, Grade.OPEN, text, seen)
    if not seen:
        return _lacking(domain, server, seen, term)
    refused = [address for address in addresses if not _permits(domain, address, questions)]
    if not refused:
        return _permitted(domain, f"It permits {server} to send for {domain}.", seen, questions)
    if _is_same_owner(domain, server):
        return _lacking(domain, server, seen, term)
    listed = ", ".join(map(str, refused))
    text = (
        f"It does not permit {server} ({listed}). If mail leaves from there, add it; a provider often sends from "
        "other addresses, and its help pages say what to include."
    )
    return _finding(domain, Grade.OPEN, text, seen, _added(domain, seen, term))


def _permits(domain: str, address: IPAddress, questions: Questions) -> bool:
    evaluation = spf.evaluate(domain, address, questions)
    if evaluation.result is SpfResult.TEMPERROR:
        raise LookupFailed(evaluation.problem)
    return evaluation.result is SpfResult.PASS


def _permitted(domain: str, text: str, seen: list[str], questions: Questions) -> Finding:
    """It permits the sender; whether it says anything about others is told as well."""
    if spf.evaluate(domain, None, questions).result is not SpfResult.NEUTRAL:
        return _finding(domain, Grade.GOOD, text, seen)
    text += " But it says nothing about all others, so forgers pass as well: end it in ~all."
    return _change(domain, text, seen, _with_end(seen[0], "~all"))


def _lacking(domain: str, who: str, seen: list[str], term: str) -> Finding:
    if seen:
        text = f"It does not permit {who} to send for {domain}, so receivers take the mail for a forgery."
    else:
        text = f"{domain} has no SPF record, so receivers cannot tell your mail through {who} from a forgery."
    return _finding(domain, Grade.CHANGE, text, seen, _added(domain, seen, term))


def _added(domain: str, seen: list[str], term: str) -> tuple[DnsRecord, ...]:
    if not seen:
        return (DnsRecord(domain, "TXT", _NEW.format(term=term)),)
    return (DnsRecord(domain, "TXT", _with(seen[0], term), instead=seen[0]),)


def _term_for(server: str, provider: Provider | None, questions: Questions) -> str:
    """What the record needs so that the server is permitted; "" if nothing is known or needed."""
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
    return _with(" ".join(["v=spf1", *words, end]), term)


def _is_same_owner(domain: str, server: str) -> bool:
    """Whether the server's name lies within the domain, or beside it under the same one."""
    parent = domain if domain.count(".") == 1 else domain.partition(".")[2]
    return server == domain or server.endswith((f".{domain}", f".{parent}"))


def _finding(domain: str, outcome: Grade, text: str, seen: list[str], add: tuple[DnsRecord, ...] = ()) -> Finding:
    return Finding(subject="SPF", outcome=outcome, text=text, host=domain, seen=tuple(seen), add=add)


def _change(domain: str, text: str, seen: list[str], value: str) -> Finding:
    """A record to mend; ``value`` is "" if how is for its owner to say."""
    add = (DnsRecord(domain, "TXT", value, instead=" and ".join(seen)),) if value else ()
    return _finding(domain, Grade.CHANGE, text, seen, add)

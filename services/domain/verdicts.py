"""What the results of a receiver mean for the mail of a From domain, and what to do about them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from services.domain.auth_results import AuthResult
from services.domain.header_fields import are_aligned
from services.domain.owner import remedy as remedy_of


class Level(StrEnum):
    """How good a verdict is; the names are those of the page's shapes."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"
    INFO = "info"


@dataclass(frozen=True)
class Ruling:
    """One line: ``result`` in a word, ``text`` what it means, ``remedy`` what to do, "" if nothing."""

    subject: str
    level: Level
    result: str
    text: str
    remedy: str = ""


_ADD_IT: Final = "Add it: the domain check has the record to copy."
_ADD_ONE: Final = "Add one: the domain check has it to copy."
_ORDER: Final = ("pass", "temperror", "fail", "permerror", "policy", "neutral", "none")
_SPF_TEXTS: Final = {
    "fail": ("The record of {domain} forbids the server that sent this.", _ADD_IT),
    "softfail": ("The record of {domain} does not list the server that sent this.", _ADD_IT),
    "neutral": ("The record of {domain} says nothing about the server that sent this.", _ADD_IT),
    "permerror": ("The SPF record of {domain} is invalid.", "Check the domain to see why."),
    "temperror": ("The receiving server could not look up the record of {domain}.", "Send another test email."),
}


def verdicts(results: list[AuthResult], from_domain: str, *, is_signed: bool) -> list[Ruling]:
    """SPF, DKIM and DMARC, whether the receiver mentions them or not; ARC if it does."""
    of_method = {name: [result for result in results if result.method == name] for name in _MEANINGS}
    told = [
        meaning(of_method[name], from_domain) if of_method[name] else _unmentioned(name, from_domain, is_signed)
        for name, meaning in _MEANINGS.items()
        if of_method[name] or name != "arc"
    ]
    if any(verdict.subject == "DKIM" and verdict.level is Level.OK for verdict in told):
        told = [_as_if_forwarded(verdict) for verdict in told]
    return told


def _unmentioned(method: str, from_domain: str, is_signed: bool) -> Ruling:
    if method == "dkim" and not is_signed:
        return _not_signed(from_domain)
    return Ruling(method.upper(), Level.WARNING, "not reported", "The receiving server reported nothing about it.")


def _not_signed(from_domain: str) -> Ruling:
    remedy = remedy_of(from_domain, "Turn on DKIM at your provider.")
    return Ruling("DKIM", Level.ERROR, "not signed", "It is not signed.", remedy)


def _as_if_forwarded(verdict: Ruling) -> Ruling:
    """The same, but a forwarder's address never is in the record, and a good DKIM signature makes up for that."""
    if verdict.subject != "SPF" or verdict.level is not Level.ERROR:
        return verdict
    remedy = f"That is normal if a forwarder or a mailing list sent it on. If not: {verdict.remedy}"
    return replace(verdict, level=Level.WARNING, remedy=remedy)


def _spf(results: list[AuthResult], from_domain: str) -> Ruling:
    best = min(results, key=_rank)
    domain = best.domain or "the sender"
    if best.result == "pass":
        if not best.domain or are_aligned(best.domain, from_domain):
            return Ruling("SPF", Level.OK, "pass", f"{domain} allows the server that sent this.")
        text = f"Passed for {domain}, the envelope domain. That does not count for {from_domain}."
        return Ruling("SPF", Level.INFO, "pass for another domain", text, "So DKIM must pass for your domain.")
    if best.result == "none":
        return Ruling("SPF", Level.WARNING, "no record", f"{domain} has no SPF record.", remedy_of(domain, _ADD_ONE))
    text, remedy = _SPF_TEXTS.get(best.result, ("The receiving server reported an unknown result.", ""))
    if remedy == _ADD_IT:
        remedy = remedy_of(domain, remedy)
    level = Level.ERROR if best.result in ("fail", "softfail", "permerror") else Level.WARNING
    return Ruling("SPF", level, best.result, text.format(domain=domain), remedy)


def _dkim(results: list[AuthResult], from_domain: str) -> Ruling:
    passed = [result for result in results if result.result == "pass"]
    aligned = [result for result in passed if are_aligned(result.domain, from_domain)]
    if aligned:
        return Ruling("DKIM", Level.OK, "pass", f"Signed for {aligned[0].domain}, and not changed since.")
    if passed:
        text = f"Signed for {passed[0].domain or 'another domain'}. That does not count for {from_domain}."
        remedy = remedy_of(from_domain, f"Set up DKIM for {from_domain} at your provider (“domain authentication”).")
        return Ruling("DKIM", Level.WARNING, "pass for another domain", text, remedy)
    worst = min(results, key=_rank)
    if worst.result == "none":
        return _not_signed(from_domain)
    if worst.result == "temperror":
        return Ruling(
            "DKIM", Level.WARNING, worst.result, "The key could not be looked up.", "Send another test email."
        )
    text = "The signature does not match: DNS has a different key, or the email was changed on the way."
    remedy = "Compare the record with the one your provider shows. Mailing lists and added footers also change emails."
    return Ruling("DKIM", Level.ERROR, worst.result, text, remedy)


def _dmarc(results: list[AuthResult], from_domain: str) -> Ruling:
    result = results[0].result
    domain = results[0].domain or from_domain or "the From domain"
    if result == "pass":
        return Ruling("DMARC", Level.OK, "pass", f"SPF or DKIM passed for {domain}: the email is really from there.")
    if result == "fail":
        text = f"Neither SPF nor DKIM passed for {domain}, so its policy decides what happens to the email."
        remedy = remedy_of(domain, "Make SPF or, better, DKIM pass for that domain.")
        return Ruling("DMARC", Level.ERROR, "fail", text, remedy)
    if result in ("none", "bestguesspass"):
        return Ruling(
            "DMARC", Level.WARNING, "no policy", f"{domain} has no DMARC record.", remedy_of(domain, _ADD_ONE)
        )
    return Ruling(
        "DMARC", Level.WARNING, result, f"The policy of {domain} could not be read.", "Check the domain to see why."
    )


def _arc(results: list[AuthResult], _from_domain: str) -> Ruling:
    result = results[0].result
    if result == "pass":
        text = "A forwarder vouches for the original results, and its seal is intact."
        return Ruling("ARC", Level.INFO, "pass", text)
    text = "No forwarder vouches for it." if result == "none" else "A forwarder’s seal does not match."
    return Ruling("ARC", Level.INFO, result, text)


def _rank(result: AuthResult) -> int:
    return _ORDER.index(result.result) if result.result in _ORDER else len(_ORDER)


_MEANINGS: Final[dict[str, Callable[[list[AuthResult], str], Ruling]]] = {
    "spf": _spf,
    "dkim": _dkim,
    "dmarc": _dmarc,
    "arc": _arc,
}

"""What can be said about a failure, from the files of ``data``: by the server's own words, those of its provider first,
and where nobody's are recognised by status code, by reply code, by kind, by phase.
"""

import json
import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Any, Final, Self

from services.diagnosis import facts, known_names
from services.diagnosis.conditions import may_hold, surely_hold
from services.diagnosis.picture import Picture
from services.outbox.reasons import Reason
from services.smtp.settings import Security, SmtpSettings
from utils.errors import DeliveryError, Fault, Phase

RULES: Final = Path(__file__).parent / "data" / "smtp_replies.json"
TABLES: Final = Path(__file__).parent / "data" / "smtp_statuses.json"
TROUBLES: Final = Path(__file__).parent / "data" / "token_errors.json"
FIELDS: Final = {
    "smtp_server", "smtp_port", "security", "smtp_username", "smtp_password", "from_email", "helo_hostname",
    "timeout_seconds", "to", "client_certificate",
}  # fmt: skip
ANY: Final = "any"
_LONGEST: Final = 4096  # characters of a reply that are looked at
_ADDRESS: Final = re.compile(  # but where to complain, by which some are known
    r"""<[^<>\s]*@[^<>\s]*>|(?<![\w.+-])(?!(?:tosa|abuse\w*|delist|postmaster)@)"""
    r"""[^\s<>()\[\]:;,"']{1,64}@[^\s<>()\[\]:;,"']{1,255}""",
    re.IGNORECASE,
)
_UNSEEN: Final = Picture(
    settings=SmtpSettings(host="", port=0, security=Security.STARTTLS, from_email=""), is_typed=False
)

Try = str | dict[str, str]  # a named way to mend it (services/diagnosis/mending.py), or form fields and their values


@dataclass(frozen=True, kw_only=True)
class Advice:
    """One failure in plain words. ``{host}`` and ``{port}`` in them stand for the server that was used, other names in
    braces for facts (services/diagnosis/facts.py): who names one says nothing where it is not known.

    ``reason`` is what it is about, in the words of the verdict (services/delivery/retry_policy.py); None where it says
    no more than that the server refused. ``phases`` are those in which it means this (none: all), ``kinds`` what the
    reply's code begins with.

    ``field`` is the form field concerned, one of FIELDS. ``retryable`` None: as the server's code says.
    ``retry_after`` is in seconds.

    It says nothing to a picture that excludes what it ``needs``, shows what forbids it (``unless``), or does not show
    what is ``given``; all three name conditions.CONDITIONS. The first of the ``variants`` (objects with conditions of
    their own and the fields that they replace) whose conditions the picture surely fulfils is said in its place.
    """

    title: str
    meaning: str
    cause: str
    remedy: str
    field: str | None
    reason: Reason | None = None
    phases: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    retryable: bool | None = None
    retry_after: int | None = None
    tries: tuple[Try, ...] = ()
    docs_url: str = ""
    needs: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()
    given: tuple[str, ...] = ()
    variants: tuple[dict[str, Any], ...] = ()

    @cached_property
    def _named(self) -> set[str]:
        return facts.named_in((self.title, self.meaning, self.cause, self.remedy))

    def allows(self, picture: Picture, known: Collection[str] = ()) -> bool:
        """Whether the picture excludes nothing of what this assumes, and every fact that it names is ``known``."""
        is_shown = surely_hold(picture, self.given, ())
        return is_shown and self._named <= {*known} and may_hold(picture, self.needs, self.unless)

    def is_meant_by(self, error: DeliveryError) -> bool:
        """Whether it means this where that was said, and by such a code."""
        is_in_place = not self.phases or error.phase in self.phases
        return is_in_place and (not self.kinds or str(error.code).startswith(self.kinds))

    def to(self, picture: Picture, known: Collection[str] = ()) -> Self:
        """The same as it is said to this picture."""
        for variant in self.variants:
            changes = _frozen(variant)
            if surely_hold(picture, changes.pop("needs", ()), changes.pop("unless", ())):
                varied = replace(self, **changes)
                if varied._named <= {*known}:
                    return varied
        return self


@dataclass(frozen=True, kw_only=True)
class Rule(Advice):
    """Advice for replies like ``pattern``, matched anywhere in "code enhanced text", whatever the case; or for those
    that hold a ``listing`` against us (known_names.Listing).

    ``providers`` say it, or ANY. ``faults`` are those in which the words mean this. ``codes`` and ``enhanced`` are
    those it was seen with, and are not matched: servers change them more often than their words.
    """

    id: str
    providers: tuple[str, ...]
    codes: tuple[int, ...]
    enhanced: str
    faults: tuple[str, ...] = (Fault.REPLY,)
    pattern: str = ""
    listing: str = ""

    @cached_property
    def _compiled(self) -> re.Pattern[str]:
        return re.compile(self.pattern, re.IGNORECASE)

    def fits(self, error: DeliveryError, reply: str) -> bool:
        """Whether this is what happened; ``reply`` is the error's ``wording`` without addresses."""
        in_place = error.fault in self.faults and self.is_meant_by(error)
        if self.listing:
            return in_place and known_names.listing_in(reply) == self.listing
        return in_place and self._compiled.search(reply) is not None


def recognised(error: DeliveryError, picture: Picture, known: Collection[str]) -> tuple[str, Advice]:
    """The advice for what happened, with what it was found by: a rule's id, ``status:5.7.8``, ``code:550``,
    ``fault:closed``, ``phase:sender``. Nothing of it assumes what the picture excludes, or names a
    fact that is not ``known``.
    """
    name, advice = _found(error, picture, known)
    return name, advice.to(picture, known)


def _found(error: DeliveryError, picture: Picture, known: Collection[str]) -> tuple[str, Advice]:
    if error.may_have_been_sent:
        return "fault:unknown_outcome", tables()["faults"]["unknown_outcome"]
    if rule := _rule(error, picture, known):
        return rule.id, rule
    if told := _of_token(error, picture, known):
        return told
    statuses, codes, status = tables()["statuses"], tables()["codes"], error.enhanced or ""
    detail, subject = status.partition(".")[2], "".join(status.split(".")[1:2])
    if error.fault is not Fault.REPLY:
        faults = tables()["faults"]
        found = [(f"fault:{error.fault}", faults.get(f"{error.fault} {error.phase}") or faults.get(error.fault))]
    else:
        found = [
            (f"status:{status}", statuses.get(f"{detail} {error.phase}") or statuses.get(detail)),
            (f"code:{error.code}", codes.get(f"{error.code} {error.phase}") or codes.get(str(error.code))),
            # A status whose detail is 0 or unknown says less than the code, but more than nothing.
            (f"status:{status}", statuses.get(subject)),
        ]
    by_phase = f"phase:{error.phase}", tables()["phases"][error.phase]
    fitting = ((name, advice) for name, advice in found if advice and advice.is_meant_by(error))
    return next(((name, advice) for name, advice in fitting if advice.allows(picture, known)), by_phase)


def _of_token(error: DeliveryError, picture: Picture, known: Collection[str]) -> tuple[str, Advice] | None:
    """The advice for why there is no token, by the name that says most."""
    if error.fault not in (Fault.TOKEN_DEAD, Fault.TOKEN_UNAVAILABLE):
        return None
    troubles = tables()["tokens"]
    fitting = ((name, troubles[name]) for name in error.trouble_names if name in troubles)
    return next(((f"token:{name}", advice) for name, advice in fitting if advice.allows(picture, known)), None)


def read(error: DeliveryError) -> Rule | None:
    """The rule that recognises the words, whoever asked the server for what; None if none does."""
    return _read(error.phase, error.code, error.enhanced, _ADDRESS.sub("", error.text[:_LONGEST]))


@lru_cache(maxsize=256)
def _read(phase: Phase, code: int | None, enhanced: str | None, text: str) -> Rule | None:
    # Of many recipients, most are refused in the same words.
    error = DeliveryError(phase, Fault.REPLY, text, code=code, enhanced=enhanced)
    return _rule(error, _UNSEEN, facts.of_failure(error, _UNSEEN))


def wording(error: DeliveryError) -> str:
    """The code, the enhanced code once, and the text on one line: each line of a reply may repeat the latter. Behind it
    stands what the server said of a token before it refused.
    """
    text = error.text[:_LONGEST]
    if said := error.token_refusal:
        text = f"{text} token refused (status {said.status or '-'}, scope {said.scope or '-'})"
    if error.enhanced:
        text = re.sub(rf"(?<![\d.]){re.escape(error.enhanced)}(?!\.?\d)", " ", text)
    return " ".join(f"{error.code or ''} {error.enhanced or ''} {text}".split())


@cache
def all_rules() -> tuple[Rule, ...]:
    """Every rule, in the order in which they are tried."""
    return tuple(Rule(**_frozen(entry)) for entry in json.loads(RULES.read_text(encoding="utf-8"))["rules"])


@cache
def _marks() -> dict[str, re.Pattern[str]]:
    """By provider, words that nobody else says of himself."""
    marks: dict[str, str] = json.loads(RULES.read_text(encoding="utf-8"))["marks"]
    return {provider: re.compile(mark, re.IGNORECASE) for provider, mark in marks.items()}


@cache
def tables() -> dict[str, dict[str, Advice]]:
    """The advice by ``statuses`` (RFC 3463 and its registry, without the class) and ``codes`` (RFC 5321 4.2),
    by ``faults``, each also for one phase as in "550 sender", by ``phases``, and why there is no token (``tokens``) by
    TokenTrouble.names.
    """
    data: dict[str, dict[str, Any]] = json.loads(TABLES.read_text(encoding="utf-8"))
    found = {name: {key: Advice(**_frozen(entry)) for key, entry in table.items()} for name, table in data.items()}
    return {**found, "tokens": _troubles()}


def _troubles() -> dict[str, Advice]:
    """Each with all of its names, of which one cause may have several."""
    found: dict[str, Advice] = {}
    for entry in json.loads(TROUBLES.read_text(encoding="utf-8"))["troubles"]:
        names = entry.pop("of")
        found |= dict.fromkeys(names, Advice(**_frozen(entry)))
    return found


def _rule(error: DeliveryError, picture: Picture, known: Collection[str]) -> Rule | None:
    """The rule for what the server has said, or for the fault alone; None if nothing fits."""
    reply = wording(error)
    speaking = {picture.provider} if picture.provider else _named_by(reply)
    words = " ".join(_ADDRESS.sub("", reply).split())  # who is written to may not choose the words that decide
    fitting = [rule for rule in all_rules() if rule.fits(error, words) and rule.allows(picture, known)]
    own = (rule for rule in fitting if not speaking.isdisjoint(rule.providers))
    anybody = (rule for rule in fitting if ANY in rule.providers)
    return next(own, None) or next(anybody, None)


def _named_by(reply: str) -> set[str]:
    """The ids of the providers whose mark a reply bears: behind a name of its own, too, a server says whose it is."""
    # Whose address stands there does not say who speaks.
    words = " ".join(word for word in re.sub(r"<[^<>]*>", " ", reply).split() if "@" not in word)
    return {provider for provider, mark in _marks().items() if mark.search(words)}


def _frozen(entry: dict[str, Any]) -> dict[str, Any]:
    """An entry of a data file with its lists, the only ones that JSON knows, as tuples, and its reason as one."""
    frozen = {key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()}
    return {**frozen, "reason": Reason(entry["reason"])} if "reason" in entry else frozen

"""Recognise a failure by the server's own words: those of its provider first, then those that anybody uses."""

import json
import re
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Final

from services.diagnosis.advice import Advice, frozen
from services.providers import registry
from utils.errors import DeliveryError, Fault

DATA: Final = Path(__file__).parent / "data" / "smtp_replies.json"

ANY: Final = "any"
_LONGEST: Final = 4096  # characters of a reply that are looked at


@dataclass(frozen=True, kw_only=True)
class Rule(Advice):
    """Advice for replies like ``pattern``, matched anywhere in "code enhanced text", whatever the case.

    ``providers`` say it, or ANY; ``distinctive`` words are recognised whoever says them. ``phases`` and
    ``faults`` are those in which the words mean this; no phase means all. ``codes`` and ``enhanced`` are
    those it was seen with, and are not matched: servers change them more often than their words.
    """

    id: str
    providers: tuple[str, ...]
    codes: tuple[int, ...]
    enhanced: str
    distinctive: bool = False
    phases: tuple[str, ...] = ()
    faults: tuple[str, ...] = (Fault.REPLY,)
    pattern: str = ""

    @cached_property
    def _compiled(self) -> re.Pattern[str]:
        return re.compile(self.pattern, re.IGNORECASE)

    def fits(self, error: DeliveryError, reply: str) -> bool:
        """Whether this is what happened; ``reply`` is the error's ``wording``."""
        in_place = error.fault in self.faults and (not self.phases or error.phase in self.phases)
        return in_place and self._compiled.search(reply) is not None


def find(error: DeliveryError, host: str) -> Rule | None:
    """The rule for what the server at ``host`` has said, or for the fault alone; None if nothing fits."""
    reply = wording(error)
    fitting = [rule for rule in all_rules() if rule.fits(error, reply)]
    provider = registry.for_server(host)
    own = (rule for rule in fitting if provider and provider["id"] in rule.providers)
    others = (rule for rule in fitting if rule.distinctive and ANY not in rule.providers)
    anybody = (rule for rule in fitting if ANY in rule.providers)
    return next(own, None) or next(others, None) or next(anybody, None)


def wording(error: DeliveryError) -> str:
    """The code, the enhanced code once, and the text on one line: each line of a reply may repeat the latter."""
    text = error.text[:_LONGEST]
    if error.enhanced:
        text = re.sub(rf"(?<![\d.]){re.escape(error.enhanced)}(?!\.?\d)", " ", text)
    return " ".join(f"{error.code or ''} {error.enhanced or ''} {text}".split())


@cache
def all_rules() -> tuple[Rule, ...]:
    """Every rule, in the order in which they are tried."""
    data: dict[str, Any] = json.loads(DATA.read_text(encoding="utf-8"))
    return tuple(Rule(**frozen(entry)) for entry in data["rules"])

"""What a failure means when nobody's words are recognised: by status code, by reply code, by kind, by phase."""

import json
from functools import cache
from pathlib import Path
from typing import Any, Final

from services.diagnosis.advice import Advice, frozen
from utils.errors import DeliveryError, Fault

DATA: Final = Path(__file__).parent / "data" / "smtp_statuses.json"


def find(error: DeliveryError) -> tuple[str, Advice]:
    """The advice for an error, with what it was found by: ``status:5.7.8``, ``code:550``, ``fault:closed``, ..."""
    if error.may_have_been_sent:
        return "fault:unknown_outcome", tables()["faults"]["unknown_outcome"]
    if error.fault is not Fault.REPLY:
        found = tables()["faults"].get(error.fault)
        return (f"fault:{error.fault}", found) if found else _by_phase(error)
    return _by_status(error) or _by_code(error) or _by_subject(error) or _by_phase(error)


@cache
def tables() -> dict[str, dict[str, Advice]]:
    """The advice by ``statuses`` (RFC 3463 and its registry, without the class) and ``codes`` (RFC 5321 4.2),
    both also for one phase as in "550 sender", by ``faults`` and by ``phases``.
    """
    data: dict[str, dict[str, Any]] = json.loads(DATA.read_text(encoding="utf-8"))
    return {name: {key: Advice(**frozen(entry)) for key, entry in table.items()} for name, table in data.items()}


def _by_status(error: DeliveryError) -> tuple[str, Advice] | None:
    statuses, detail = tables()["statuses"], (error.enhanced or "").partition(".")[2]
    found = statuses.get(f"{detail} {error.phase}") or statuses.get(detail)
    return (f"status:{error.enhanced}", found) if found else None


def _by_code(error: DeliveryError) -> tuple[str, Advice] | None:
    codes = tables()["codes"]
    found = codes.get(f"{error.code} {error.phase}") or codes.get(str(error.code))
    return (f"code:{error.code}", found) if found else None


def _by_subject(error: DeliveryError) -> tuple[str, Advice] | None:
    """A status whose detail is 0 or unknown says less than the code, but more than nothing."""
    subject = (error.enhanced or "").split(".")[1:2]
    found = tables()["statuses"].get("".join(subject))
    return (f"status:{error.enhanced}", found) if found else None


def _by_phase(error: DeliveryError) -> tuple[str, Advice]:
    return f"phase:{error.phase}", tables()["phases"][error.phase]

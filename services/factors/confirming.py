"""Proving again who one is, at a session that goes on: by the password, and a code where there is a second factor."""

from services import audit
from services.accounts import accounts, proofs
from services.accounts.proofs import Proof
from services.audit import Action
from services.factors import codes, ways
from utils.errors import InvalidInput


def prove(
    account_id: int, password: str, code: str, *, client: str, device: str, fields: tuple[str, str]
) -> list[Proof]:
    """What was proven, everything that the account has; none if it has nothing to prove it by.

    ``fields`` are the names of password and code. ``client`` and ``device`` as for ``codes.prove``. Raises InvalidInput
    by these, NotFound, TooMany or Locked. A code is used up only if the password was right.
    """
    known, missing = ways.of_account(account_id), dict[str, list[str]]()
    if known.has_password and not password:
        missing[fields[0]] = ["Enter your password to confirm that it is you."]
    if known.has_second and not code.strip():
        missing[fields[1]] = [codes.MISSING]
    if missing:
        raise InvalidInput(missing)
    proven = []
    if known.has_password:
        accounts.verified(account_id, password, fields[0])
        proven.append(Proof.PASSWORD)
    if known.has_second:
        proven.append(codes.prove(account_id, code, client=client, device=device, field=fields[1]))
    if proven:
        note(account_id, proven)
    return proven


def note(account_id: int, proven: list[Proof]) -> None:
    """Let the audit trail tell it."""
    person = accounts.get(account_id)
    audit.note(Action.STEPPED_UP, f"account {person.username}", [proofs.in_words(proven)])

"""Servers by mail domain, as administrators fix them: whoever has an address there types a password alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from database import policy_db
from database.engine import reading, reading_in, transaction
from database.policy_db import ServerTemplate
from services import audit
from services.audit import Action
from services.settings import personal_policy
from services.settings.personal_policy import Allowed
from services.smtp.settings import MODE_NAMES, Security
from utils import clock
from utils.addresses import HIGHEST_PORT, InvalidAddress, ascii_domain, ip_literal, parse_host
from utils.allowed_places import CIDRS_OF_ACCOUNTS
from utils.env_utils import get_settings
from utils.errors import Conflict, InvalidInput, NotFound
from utils.numbers import LARGEST, whole_number

FIELDS: Final = ("domain", "host", "port", "security")
TAKEN: Final = "There is already a template for this domain. Change that one."
STALE: Final = "Someone else has just changed this template. Check it, then try again."
NO_SUCH: Final = "No such template. Someone else may have deleted it."
NOT_ALLOWED: Final = "The policy does not allow this host. Add it there first."
NOT_PUBLIC: Final = f"Accounts cannot reach this address. Add its network to {CIDRS_OF_ACCOUNTS}, and restart."
MODES: Final = (Security.STARTTLS, Security.TLS)


@dataclass(frozen=True, kw_only=True)
class Template:
    """The server for whoever has an address at exactly this domain, which is in A-labels."""

    id: int
    domain: str
    host: str
    port: int
    security: Security

    @property
    def mode_name(self) -> str:
        return MODE_NAMES[self.security]

    @property
    def mark(self) -> str:
        """Tells what stands in it from what stood there before."""
        return f"{self.domain} {self.host} {self.port} {self.security}"


def every() -> list[Template]:
    """All of them, by domain."""
    with reading() as session:
        return [_value(row) for row in policy_db.templates(session)]


def get(template_id: int) -> Template:
    """Raises NotFound."""
    found = next((template for template in every() if template.id == template_id), None)
    if found is None:
        raise NotFound(NO_SUCH)
    return found


def for_addresses(*texts: str, session: Session | None = None) -> Template | None:
    """The template of the first of these that is an address at a domain with one; others may be anything."""
    with reading_in(session) as own:
        rows = (policy_db.template_for(own, domain) for text in texts if (domain := _domain_of(text)))
        return next((_value(row) for row in rows if row), None)


def save(raw: Mapping[str, str], *, template_id: int | None = None, mark: str | None = None) -> Template:
    """Add a template, or change one that still bears ``mark``. Raises InvalidInput by field, Conflict, NotFound."""
    values = _checked(raw)
    try:
        with transaction() as session:
            row = ServerTemplate(created_at=clock.now()) if template_id is None else _held(session, template_id)
            if mark is not None and _value(row).mark != mark:
                raise Conflict(STALE)
            if all(getattr(row, name) == values[name] for name in FIELDS):
                return _value(row)
            for name in FIELDS:
                setattr(row, name, values[name])
            session.add(row)
            session.flush()
            server = f"{row.host}:{row.port} {row.security}"
            audit.record(session, Action.TEMPLATE_SAVED, f"template for {row.domain}", [server])
            return _value(row)
    except IntegrityError:
        raise InvalidInput({"domain": [TAKEN]}) from None


def delete(template_id: int, *, mark: str | None = None) -> Template:
    """Forget one; servers that accounts have saved by it stay. Raises NotFound, Conflict."""
    with transaction() as session:
        row = _held(session, template_id)
        gone = _value(row)
        if mark is not None and gone.mark != mark:
            raise Conflict(STALE)
        audit.record(session, Action.TEMPLATE_DELETED, f"template for {gone.domain}")
        session.delete(row)
    return gone


def _held(session: Session, template_id: int) -> ServerTemplate:
    row = policy_db.lock_template(session, template_id) if 0 < template_id <= LARGEST else None
    if row is None:
        raise NotFound(NO_SUCH)
    return row


def _value(row: ServerTemplate) -> Template:
    security = Security(row.security)
    return Template(id=row.id, domain=row.domain, host=row.host, port=row.port, security=security)


def _domain_of(text: str) -> str:
    if "@" not in text:
        return ""
    try:
        return ascii_domain(text.strip())
    except InvalidAddress:
        return ""


def _checked(raw: Mapping[str, str]) -> dict[str, object]:
    """The columns. Raises InvalidInput."""
    errors, values = dict[str, list[str]](), dict[str, object]()
    for name in FIELDS:
        try:
            values[name] = _CHECKS[name](raw.get(name, "").strip())
        except ValueError as refused:
            errors[name] = [str(refused)]
    if errors:
        raise InvalidInput(errors)
    return values


def _domain(text: str) -> str:
    try:
        domain = ascii_domain(f"a@{text.removeprefix('@')}")
    except InvalidAddress:
        domain = ""
    if not domain or ip_literal(domain):
        raise ValueError("Enter the part of an address after the @, like example.com.")
    return domain


def _host(text: str) -> str:
    host = parse_host(text)
    policy = personal_policy.current()
    # Where none is allowed yet, templates may be made ready first.
    if policy.allowed is not Allowed.OFF and not policy.allows(host):
        raise ValueError(NOT_ALLOWED)
    if get_settings().smtp_allowed_accounts.refusal_of_host(host):
        raise ValueError(NOT_PUBLIC)
    return host


def _port(text: str) -> int:
    port = whole_number(text, 1, HIGHEST_PORT)
    if port is None:
        raise ValueError(f"Enter a whole number from 1 to {HIGHEST_PORT}.")
    if refusal := get_settings().smtp_allowed_accounts.refusal_of_port(port):
        raise ValueError(refusal)
    return port


def _security(text: str) -> Security:
    if text not in MODES:
        raise ValueError("Choose STARTTLS or TLS: a password is never sent unencrypted.")
    return Security(text)


_CHECKS: Final = {"domain": _domain, "host": _host, "port": _port, "security": _security}

"""What `flask upgrade-check` tells before a version takes another’s place: tables, variables, and what ends."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Final

from database import api_token_db, schema_db
from database.engine import reading
from database.revisions import Migration
from services.checks import validation
from services.checks.validation import Check, Mark, Told
from services.connecting import calendar
from services.connecting.calendar import Ending
from services.settings import configs, endings, route
from services.smtp import client_certificate
from utils import clock, env_file, env_names
from utils.env_names import DJANGO, GONE, OURS
from utils.env_utils import get_settings
from utils.home import home
from utils.numbers import counted
from utils.submission_env import CERTIFICATE

FIRST_A_COPY: Final = "Stop Sealpost, make a back-up (flask db backup FILE), then run: flask db upgrade"
RENEW: Final = f"Replace the file that {CERTIFICATE} names. Sealpost reads it again without a restart."
_FOREIGN: Final = ("FLASK_", "COMPOSE_", "PG", "OTEL_")  # of other programs, which read the same file


def checks() -> list[Check]:
    """The checks in their order. Nothing is changed by them, and tables of any version may be there."""
    return [
        Check("Database", validation.without_a_crash(_tables)),
        Check("Variables", _variables),
        Check("Dates", validation.without_a_crash(_dates)),
    ]


def to_run() -> list[Migration]:
    """The migrations that the database has not come to. Raises SQLAlchemyError."""
    with reading() as session:
        return schema_db.missing(session)


def unheard(names: Iterable[str], gone: Mapping[str, str] = GONE) -> Iterator[Told]:
    """What is said of variables that no version knows, or this one does not know any more; ``gone`` are those, each
    with what to do instead.
    """
    for name in sorted(set(names)):
        if name in gone:
            yield Told(Mark.FAILED, f"{name} is not used any more.", gone[name])
        elif name not in OURS | DJANGO and not name.startswith(_FOREIGN) and not env_names.meant_by(name):
            yield Told(Mark.INFO, f"{name} in .env is no variable of Sealpost and has no effect.")


def _tables() -> Iterator[Told]:
    with reading() as session:
        reached = schema_db.reached(session)
        unknown, missing = schema_db.unknown(reached), schema_db.missing(session)
    if unknown:
        known_by = f"The database has changes that this version does not know: {', '.join(unknown)}."
        yield Told(Mark.FAILED, known_by, "Install the version that made them, or restore the back-up from before it.")
    elif not reached:
        yield Told(Mark.INFO, "The database has no tables yet.", "Create them: flask db upgrade")
    elif missing:
        yield Told(Mark.INFO, f"{counted(len(missing), 'migration')} will run.", FIRST_A_COPY)
        yield from (Told(Mark.INFO, f"{each.revision}: {each.words}") for each in missing)
    else:
        yield Told(Mark.OK, "The tables are up to date")


def _variables() -> Iterator[Told]:
    found = [
        *(Told(Mark.INFO, doubt) for doubt in get_settings().doubts),
        *unheard(env_file.read(home() / ".env").values),
    ]
    yield from found or [Told(Mark.OK, "Every variable is known")]


def _dates() -> Iterator[Told]:
    found = list(_gateway_certificate(get_settings().submission.certificate))
    if to_run():
        yield from found
        yield Told(Mark.INFO, "What ends of mail servers and API tokens is known after: flask db upgrade")
        return
    found += [_of_ending(each) for each in _near()] + list(_tokens())
    yield from found or [Told(Mark.OK, f"Nothing ends within {max(calendar.NOTICE_DAYS)} days")]


def _near() -> list[Ending]:
    """What ends soon of any server, stored or in `.env`; each sentence once."""
    steps = [*(route.step_of(stored) for stored in configs.search()), route.without_database()]
    near = [each for step in steps if not step.is_local_inbox for each in endings.of_step(step) if each.is_near]
    return list({each.sentence: each for each in calendar.in_order(near)}.values())


def _of_ending(ending: Ending) -> Told:
    return Told(Mark.FAILED if ending.is_over and ending.is_soon else Mark.INFO, ending.words, ending.remedy)


def _gateway_certificate(file: Path | None) -> Iterator[Told]:
    if file is None:
        return
    try:
        facts = client_certificate.facts_of(file.read_text(encoding="utf-8", errors="replace"))
    except OSError as error:
        yield Told(Mark.FAILED, f"{CERTIFICATE} cannot be read: {error.strerror}.", RENEW)
        return
    if facts is None:
        yield Told(Mark.FAILED, f"{CERTIFICATE} leads to a file without a certificate.", RENEW)
    elif facts.has_expired:
        yield Told(Mark.FAILED, f"The gateway’s certificate expired on {facts.ends:%Y-%m-%d} UTC.", RENEW)
    elif facts.days_left <= max(calendar.NOTICE_DAYS):
        yield Told(Mark.INFO, f"The gateway’s certificate expires on {facts.ends:%Y-%m-%d} UTC.", RENEW)


def _tokens() -> Iterator[Told]:
    now, days = clock.now(), max(calendar.NOTICE_DAYS)
    with reading() as session:
        ending = len(api_token_db.expiring(session, now, now + timedelta(days=days)))
    if ending:
        yield Told(
            Mark.INFO, f"{counted(ending, 'API token')} will expire within {days} days.", "See: flask token list"
        )

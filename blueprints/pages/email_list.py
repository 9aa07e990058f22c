"""The list of the mail log: filtered, a page at a time, current while somebody looks at it, and as a file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from flask import Response, make_response, render_template, request, url_for

from blueprints import live, mail_export, mail_filters
from blueprints.live import ShownRows, Watched
from blueprints.mail_export import ExportPlan
from blueprints.mail_filters import AskedFilter
from blueprints.sessions import still_signed_in
from services.checks import outlook
from services.outbox import facts, figures, holding, log, searching
from services.outbox.facts import DirectData, MailFacts, State
from utils import clock
from utils.addresses import mask_address
from utils.env_utils import get_settings
from utils.errors import Conflict, InvalidInput
from utils.numbers import up_to, whole_number

DIRECT: Final = "direct"
SEE_REASONS: Final = "The reasons are below"
SIZES: Final = (50, 100, 200)  # rows of a page; the first is the usual one
MOST_COUNTED: Final = 10_000  # emails: to say of a million how many they are, every page would count them
_WRONG: Final = 422


@dataclass(frozen=True, kw_only=True)
class AskedPage:
    """Which part of the list is asked for: queued mail or what was sent directly, how many rows, older than what."""

    filter: AskedFilter
    is_direct: bool
    before: int | None
    size: int

    @property
    def args(self) -> dict[str, str]:
        """What stands in the address of the first page of it."""
        args = self.filter.args
        if self.is_direct:
            args = {"from": DIRECT} | {name: text for name, text in args.items() if name != "state"}
        return args if self.size == SIZES[0] else args | {"rows": str(self.size)}

    def without_recipient(self, why: str) -> "AskedPage":
        """The same page where nothing can be found by recipient, and why."""
        wanted = replace(self.filter.wanted, recipient="")
        return replace(self, filter=replace(self.filter, wanted=wanted, errors={"recipient": [why]}))

    def look(self, before: int | None, size: int) -> tuple[Sequence[MailFacts | DirectData], int | None]:
        """The newest first, and where older ones go on."""
        if self.filter.errors:
            return [], None
        wanted = self.filter.wanted
        return searching.direct(wanted, before, size) if self.is_direct else searching.find(wanted, before, size)

    def shown(self) -> ShownRows:
        """What the page shows, and from where older ones go on as its last."""
        found, older = self.look(self.before, self.size)
        newest = () if self.before is None else tuple(map(row_id, self.look(None, self.size)[0]))
        return ShownRows(rows={row_id(each): _version(each) for each in found}, newest=newest, data=(found, older))


def page() -> Response:
    """The page, with what was typed where that is wrong."""
    asked = _asked()
    try:
        shown = asked.shown()
    except Conflict as away:  # the key under which addresses are found
        asked = asked.without_recipient(away.message)
        shown = asked.shown()
    rows, older = shown.data
    drawn = render_template(
        f"emails/{'direct' if asked.is_direct else 'list'}.html",
        **_for_rows(asked, shown) | _beside(asked, older),
        mails=rows,
        live_url=url_for("emails.live_rows", **_place(asked), seen=shown.mark),
        newest=shown.newest,
        now=clock.now(),
        labels=mail_filters.LABELS,
        causes=mail_filters.causes(),
        servers=figures.servers(),
        sizes=[(size, str(size)) for size in SIZES],
        days=get_settings().mail_retention_days,
    )
    return make_response(drawn, _WRONG if asked.filter.errors else 200)


def stream() -> Response:
    """What changes in the same list, for as long as an administrator is signed in."""
    asked = _asked()
    older: list[int | None] = [None]

    def look() -> ShownRows:
        shown = asked.shown()
        older[0] = shown.data[1]
        return shown

    def drawn(shown: ShownRows, ids: Sequence[str]) -> dict[str, str]:
        found = [each for each in shown.data[0] if row_id(each) in ids]
        name = f"emails/{'direct_' if asked.is_direct else ''}rows.html"
        return {row_id(each): render_template(name, mails=[each], **_for_rows(asked, shown)) for each in found}

    def around() -> dict[str, str]:
        values = _beside(asked, older[0])
        return {
            name: render_template(f"emails/_{name}.html", **values) for name in ("notes", "states", "count", "pages")
        }

    return live.streamed(Watched(look, drawn, around, _may_go_on))


def download() -> Response:
    """All of the same list that the filter shows, as a file. Raises InvalidInput."""
    asked = _asked()
    if asked.filter.errors:
        raise InvalidInput(asked.filter.errors)
    wanted = ExportPlan(
        wanted=asked.filter.wanted,
        form=mail_export.form_of(request.args.get("format", "")),
        is_direct=asked.is_direct,
        has_whole_addresses=request.args.get("whole_addresses") == "true",
    )
    return mail_export.streamed(wanted)


def row_id(mail: MailFacts | DirectData) -> str:
    """What a row is known by on its page."""
    return str(mail.id)


def _version(mail: MailFacts | DirectData) -> str:
    """What changes when anything changes that the row shows."""
    return live.version_of((mail, mail.is_due)) if isinstance(mail, MailFacts) else ""


def _asked() -> AskedPage:
    is_direct = request.args.get("from") == DIRECT
    size = request.args.get("rows", type=whole_number)
    return AskedPage(
        filter=mail_filters.asked(request.args),
        is_direct=is_direct,
        before=request.args.get("before", type=whole_number),
        size=size if size in SIZES else SIZES[0],
    )


def _for_rows(asked: AskedPage, shown: ShownRows) -> dict[str, Any]:
    """What a row is drawn with, on the page and in the stream alike."""
    return {
        "asked": asked,
        "args": asked.args,
        "masked": mask_address,
        "row_id": row_id,
        "version": lambda mail: shown.rows[row_id(mail)],
    }


def _beside(asked: AskedPage, older: int | None) -> dict[str, Any]:
    """What stands around the rows."""
    values = {"asked": asked, "args": asked.args, "older": older, "is_filtered": bool(asked.filter.set_ones())}
    if asked.is_direct:
        return values | {"late": None, "held": "", "states": [], "matches": None}
    is_filtered = values["is_filtered"]
    counts = log.counts_within(0 if is_filtered else MOST_COUNTED)  # beside a filter only which states there are
    return values | {
        "late": _late(),
        "held": holding.told(holding.count()) if State.HELD in counts else "",
        "states": [
            (state_args, facts.STATES[state], is_chosen, number)
            for state_args, state, is_chosen, number in mail_filters.chips(asked.filter.wanted, counts)
        ],
        "matches": searching.count(asked.filter.wanted, MOST_COUNTED) if is_filtered else None,
        "up_to": partial(up_to, most=MOST_COUNTED),
    }


def _place(asked: AskedPage) -> Mapping[str, Any]:
    return asked.args | ({} if asked.before is None else {"before": str(asked.before)})


def _may_go_on() -> bool:
    person = still_signed_in()
    return person is not None and person.is_admin


def _late() -> tuple[str, str] | None:
    """A level, and that no email gets out, or that some is late, in sentences; None if neither."""
    now = outlook.look()
    if now.is_outage:
        return now.state.level, f"{now.state.headline} {now.state.detail}"
    if not log.is_behind(known=now.due):
        return None
    return (
        "warning",
        f"Some email is more than 15 minutes late. {log.NOBODY_SENDS if now.is_unattended else f'{SEE_REASONS}.'}",
    )

"""What will end, as the pages show it: of which server, and where it is mended."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from flask import url_for

from services.connecting.calendar import EndAction, Ending, EndOf
from services.settings.health import Health
from services.settings.state import ConfigFacts, EnvLine

_CONNECT_LABELS: Final = {EndOf.REFRESH_TOKEN: "Connect again", EndOf.PASSWORD: "Connect with Microsoft"}


@dataclass(frozen=True, kw_only=True)
class ShownEnd:
    """One end. ``name`` is of the server, where a page has several; ``link`` is where to mend it, "" for here."""

    ending: Ending
    name: str = ""
    link: str = ""
    label: str = ""


@dataclass(frozen=True)
class Ends:
    """``near`` is what people are told of by now, or what has ended; ``later`` the rest; each in order."""

    near: Sequence[ShownEnd]
    later: Sequence[ShownEnd]


def of_servers(configs: Iterable[ConfigFacts], env: EnvLine) -> Ends:
    """Of all servers of a list."""
    lines = [_of_listed(config, ending) for config in configs for ending in config.calendar]
    if env.health:
        lines += [ShownEnd(ending=ending, name=env.name) for ending in env.health.endings]
    return _sorted(lines)


def of_server(config: ConfigFacts) -> Ends:
    """Of one, on its own page."""
    return _sorted(_of_shown(ending, _connect_url(config)) for ending in config.calendar)


def of_own(known: Health | None) -> Ends:
    """Of an account's own server, if it has one, on its page."""
    url = f"{url_for('own_server.show')}/connect"
    return _sorted(_of_shown(ending, url) for ending in (known.endings if known else ()))


def _of_listed(config: ConfigFacts, ending: Ending) -> ShownEnd:
    if ending.action is EndAction.EDIT:
        link = url_for("smtp_form.edit", config_id=config.id)
        return ShownEnd(ending=ending, name=config.name, link=link, label="Open server settings")
    return replace(_of_shown(ending, _connect_url(config)), name=config.name)


def _of_shown(ending: Ending, connect_url: str) -> ShownEnd:
    if ending.action is not EndAction.CONNECT:
        return ShownEnd(ending=ending)
    return ShownEnd(ending=ending, link=connect_url, label=_CONNECT_LABELS.get(ending.what, "Open the connection"))


def _connect_url(config: ConfigFacts) -> str:
    return url_for("connect.show", config_id=config.id)


def _sorted(lines: Iterable[ShownEnd]) -> Ends:
    in_order = sorted(lines, key=lambda line: (line.ending.ends_on, line.name))
    near = [line for line in in_order if line.ending.is_near or line.ending.is_over]
    return Ends(near, [line for line in in_order if line not in near])

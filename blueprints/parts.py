"""Parts: what another application adds to Sealpost where that is its base."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from flask import Blueprint, Flask, current_app
from sqlalchemy import MetaData
from werkzeug.exceptions import MethodNotAllowed, NotFound
from werkzeug.routing import Map, RequestRedirect, Rule

from blueprints import access
from utils.env_reader import ConfigurationError

_VARIABLE: Final = re.compile(r"<(?:(\w+)(?:\([^)]*\))?:)?\w+>")
_EXAMPLES: Final = {"int": "1", "float": "1.5", "path": "a/b", "uuid": "00000000-0000-0000-0000-000000000000"}


@dataclass(frozen=True, kw_only=True)
class Part:
    """A blueprint, and what belongs to it.

    Each of its views has a guard of ``blueprints/access.py``, which says who may call it; ``guard`` is that of those
    without one. Its forms are protected from other sites as ours are: each needs ``csrf_token``. An API that knows its
    callers by something that browsers do not send by themselves has ``csrf=False``; a view of it that goes by a session
    of Sealpost's, behind another guard than ``public``, is protected all the same.

    ``migrations`` is a folder with a branch of its own in Alembic, and ``tables`` are what it is about. Raises
    ConfigurationError for one without the other.
    """

    blueprint: Blueprint
    csrf: bool = True
    guard: Callable[[Callable[..., Any]], Callable[..., Any]] | None = None
    migrations: Path | None = None
    tables: MetaData | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.blueprint, Blueprint):
            raise ConfigurationError(f"A Part needs a blueprint of Flask, and not {self.blueprint!r}.")
        name = self.blueprint.name
        if self.migrations is not None and not isinstance(self.migrations, Path):
            raise ConfigurationError(f"The migrations of {name} have to be a Path: Path(__file__).parent / …")
        if self.tables is not None and self.migrations is None:
            raise ConfigurationError(
                f"The tables of {name} need migrations, which create them: a folder, empty at first."
            )

    def add_to(self, app: Flask) -> None:
        """Raises ConfigurationError for a name or an address that is taken, and for a view that has no guard."""
        name = self.blueprint.name
        if name in app.blueprints:
            raise ConfigurationError(
                f"The blueprint {name} of a part has the name of one that is there already. Call it otherwise."
            )
        _refuse_taken_templates(app, self.blueprint)
        before = list(app.url_map.iter_rules())
        app.register_blueprint(self.blueprint)
        known = {id(rule) for rule in before}
        added = [rule for rule in app.url_map.iter_rules() if id(rule) not in known]
        _refuse_taken_addresses(app, before, added)
        for endpoint in {rule.endpoint for rule in added}:
            self._guard(app, endpoint)
        if not self.csrf:
            access.exempt_from_csrf(app, name)

    def _guard(self, app: Flask, endpoint: str) -> None:
        view = app.view_functions[endpoint]
        if hasattr(view, "guard") or endpoint.endswith(".static"):
            return
        if self.guard is None:
            raise ConfigurationError(
                f"The view {endpoint} has no guard, which says who may call it. Put one of blueprints/access.py before "
                "it, like @public or @signed_in, or give the Part one for all views that have none, like guard=public."
            )
        app.view_functions[endpoint] = self.guard(_apart(view))


def refuse_what_is_none(parts: Sequence[object]) -> None:
    """Raises ConfigurationError for what is no Part, as a blueprint by itself."""
    for each in parts:
        if not isinstance(each, Part):
            raise ConfigurationError(f"parts needs a list of Part(blueprint=…), and {each!r} is none.")


def _refuse_taken_templates(app: Flask, blueprint: Blueprint) -> None:
    """The application's are looked for first, then those of the blueprints in their order."""
    loaders = [app.jinja_loader, *(each.jinja_loader for each in app.blueprints.values())]
    taken = {name for loader in loaders if loader for name in loader.list_templates()}
    own = blueprint.jinja_loader.list_templates() if blueprint.jinja_loader else []
    if both := sorted(taken.intersection(own)):
        raise ConfigurationError(
            f"The template {both[0]} of {blueprint.name} has the name of one that is there already, and that would be "
            f"shown. Move it to a folder within its own: {blueprint.name}/{both[0]}."
        )


def _refuse_taken_addresses(app: Flask, before: Sequence[Rule], added: Sequence[Rule]) -> None:
    """What was there must be found as it was: the first rule of an address is the one that counts, or the plainest."""
    alone = Map([rule.empty() for rule in before], converters=app.url_map.converters)
    for rule in added:
        if taken := _found(alone, _example(rule), _method(rule)):
            raise ConfigurationError(_taken(rule, taken))
    for rule in before:
        path = _example(rule)
        was, found = _found(alone, path, _method(rule)), _found(app.url_map, path, _method(rule))
        if found != was:
            raise ConfigurationError(_taken(next(each for each in added if each.endpoint == found), was))


def _taken(rule: Rule, endpoint: str) -> str:
    return (
        f"The address {rule.rule} of {rule.endpoint} is one of {endpoint}, which is there already. Choose a url_prefix "
        "for the part’s blueprint that nothing else has, like /orders."
    )


def _example(rule: Rule) -> str:
    """A path that the rule is about."""
    return _VARIABLE.sub(lambda found: _EXAMPLES.get(found[1] or "", "a"), rule.rule)


def _method(rule: Rule) -> str:
    return min(set(rule.methods or ()) - {"HEAD", "OPTIONS"}, default="GET")


def _found(addresses: Map, path: str, method: str) -> str:
    """The endpoint that a path leads to, by this method or any other; "" if to none."""
    adapter = addresses.bind("localhost")
    try:
        return str(adapter.match(path, method)[0])
    except RequestRedirect as elsewhere:  # to the same with a slash
        return _found(addresses, urlsplit(elsewhere.new_url).path, method)
    except MethodNotAllowed as refused:
        return str(adapter.match(path, min(refused.valid_methods or ["OPTIONS"]))[0])
    except NotFound:
        return ""


def _apart(view: Callable[..., Any]) -> Callable[..., Any]:
    """The same as a function of its own, as a guard may leave its mark on what it is given."""

    @wraps(view)
    def apart(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as the view has it
        return current_app.ensure_sync(view)(*args, **kwargs)

    return apart

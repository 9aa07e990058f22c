"""Renders the mails of ``templates/email/<name>/``: a subject, a text body, an HTML body."""

from dataclasses import dataclass, field
from functools import cache
from typing import Final

import css_inline
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from utils.addresses import CONTROLS
from utils.env_utils import ROOT, get_base_url, get_settings

FOLDER: Final = ROOT / "templates" / "email"


@dataclass(frozen=True)
class Rendered:
    """A mail's three texts; the subject is one line."""

    subject: str = field(repr=False)
    text: str = field(repr=False)
    html: str = field(repr=False)


def render(name: str, /, **values: object) -> Rendered:
    """Render a mail with the given values, ``app_name`` and ``base_url``.

    A value is one line of text: control characters become spaces, so that it can forge neither a
    header nor another line of the body; in HTML it is escaped. A template that is not there raises
    jinja2.TemplateNotFound, a value that is missing jinja2.UndefinedError.
    """
    shown = {key: _one_line(value) for key, value in values.items()}
    shown |= {"app_name": get_settings().app_name, "base_url": get_base_url()}
    environment = _environment()
    subject, text, html = (
        environment.get_template(f"{name}/{part}").render(shown) for part in ("subject.txt", "body.txt", "body.html")
    )
    return Rendered(subject=" ".join(subject.split()), text=text, html=_inliner().inline(html))


def _one_line(value: object) -> str:
    return CONTROLS.sub(" ", str(value))


@cache
def _environment() -> Environment:
    """Templates ship with the code and are compiled once a process."""
    return Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=select_autoescape(("html",)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        auto_reload=False,
    )


@cache
def _inliner() -> css_inline.CSSInliner:
    return css_inline.CSSInliner(keep_at_rules=True, load_remote_stylesheets=False)

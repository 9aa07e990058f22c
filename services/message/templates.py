"""Renders the mails of ``templates/email/<name>/`` and of MAIL_TEMPLATES: a subject, a text body, an HTML body.

An installation's own template that is broken loses no mail that there is a built-in template for: that one serves, and
the log says so once.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

import structlog
from jinja2 import (
    Environment,
    FileSystemLoader,
    StrictUndefined,
    TemplateNotFound,
    UndefinedError,
    meta,
    nodes,
    select_autoescape,
)

from services.message import brand, own_templates
from services.message.brand import SOURCE, Brand
from services.message.mime import Attachment
from services.message.own_templates import FOLDER, HTML, NAME, PARTS, SUBJECT, TEXT, TemplateFault
from utils import late
from utils.addresses import CONTROLS
from utils.env_utils import get_base_url, get_settings

__all__ = ["FOLDER", "BrokenTemplate", "MissingValues", "Rendered", "render"]

log = structlog.get_logger(__name__)

LONGEST_SUBJECT: Final = 900  # characters
ORDER: Final = "order_notification"  # the one built-in template that is an application's, and none of ours
NO_SUCH: Final = "template: There is no template of this name."
_DEEPEST: Final = 6  # lists and objects within each other
_LARGEST_NUMBER: Final = 2**63
_OPTIONAL: Final = ("defined", "undefined")

_told: set[str] = set()  # what the log has heard


@dataclass(frozen=True)
class Rendered:
    """A mail's three texts; the subject is one line. ``html`` is "" where an own template has none.

    ``attachments`` are what the HTML shows of it.
    """

    subject: str = field(repr=False)
    text: str = field(repr=False)
    html: str = field(repr=False)
    attachments: tuple[Attachment, ...] = ()


class BrokenTemplate(ValueError):
    """An installation's own template that nothing built-in stands in for."""

    def __init__(self, fault: TemplateFault) -> None:
        super().__init__(f"template: This template is broken. {fault}")
        self.fault = fault


class MissingValues(ValueError):
    """Values that a template needs and did not get."""

    def __init__(self, names: Iterable[str], fault: TemplateFault | None = None) -> None:
        self.names = tuple(names)
        told = (
            f"These are missing: {', '.join(self.names)}." if self.names else f"One of them is not as needed. {fault}"
        )
        super().__init__(f"values: {told}")


def render(name: str, /, **values: object) -> Rendered:
    """Render a mail with the given values, ``app_name`` and ``base_url``.

    A value is one line of text: control characters become spaces, so that it can forge neither a
    header nor another line of the body; in HTML it is escaped. A template that is not there raises
    jinja2.TemplateNotFound, a value that is missing jinja2.UndefinedError.
    """
    return render_for(name, values, brand.current())


def render_for(name: str, values: Mapping[str, object], look: Brand) -> Rendered:
    """The same in this branding. A broken template of one's own raises BrokenTemplate, unless a built-in one serves."""
    if not NAME.fullmatch(name):
        raise TemplateNotFound(name)
    shown = given(values) | _known(look)
    folder = get_settings().mail_templates
    if folder is None:
        return _finished(_built_in(name, shown), look)
    try:
        return _finished(own_templates.render(folder, name, shown), look)
    except Exception as error:
        if not is_built_in(name):
            raise _for_caller(error, name, values) from error
        served = _finished(_built_in(name, shown), look)  # what the caller did wrong is wrong here too
        _tell_once(own_templates.fault_of(name, error), name)
        return served


def render_checked(name: str, values: Mapping[str, object], look: Brand) -> Rendered:
    """The same for whoever is to hear what is wrong: a ValueError that names ``template`` or ``values``."""
    if not isinstance(name, str):
        raise ValueError(NO_SUCH)
    try:
        return render_for(name, values, look)
    except TemplateNotFound:
        raise ValueError(NO_SUCH) from None
    except UndefinedError as error:
        raise MissingValues(missing(name, values), own_templates.fault_of(name, error)) from None


def look_at(name: str, values: Mapping[str, object], look: Brand) -> tuple[Rendered | None, TemplateFault | None]:
    """What would be sent, and what is wrong with one's own template, whether or not a built-in serves. Never raises."""
    shown = given(values) | _known(look)
    folder, fault = get_settings().mail_templates, None
    try:
        if folder is not None:
            return _finished(own_templates.render(folder, name, shown), look), None
    except Exception as error:
        fault = own_templates.fault_of(name, error)
    if not is_built_in(name):
        return None, fault
    try:
        return _finished(_built_in(name, shown), look), fault
    except Exception as error:
        return None, own_templates.fault_of(name, error)


def is_built_in(name: str) -> bool:
    return bool(NAME.fullmatch(name)) and (FOLDER / name).is_dir()


def is_for_applications(name: str) -> bool:
    """Whether callers of the API may send it: no account writes a mail that looks like one about accounts."""
    return name == ORDER or not is_built_in(name)


def built_in_names() -> list[str]:
    return sorted(entry.name for entry in FOLDER.iterdir() if entry.is_dir())


def missing(name: str, values: Mapping[str, object]) -> list[str]:
    """The values that a template asks for, and that are not among these."""
    return sorted(asked_for(name) - values.keys())


def asked_for(name: str) -> set[str]:
    """The values that a template cannot do without, as far as it can be read."""
    folder = get_settings().mail_templates
    environment = own_templates.environment(folder) if folder is not None else _environment()
    found: set[str] = set()
    to_read, seen = [f"{name}/{part}" for part in PARTS], set[str]()
    while to_read:
        file = to_read.pop()
        if file in seen or environment.loader is None:
            continue
        seen.add(file)
        try:
            tree = environment.parse(environment.loader.get_source(environment, file)[0])
            found |= meta.find_undeclared_variables(tree) - _optional(tree) - _made_by(tree)
            to_read += [each for each in meta.find_referenced_templates(tree) if each]
        except Exception:  # noqa: S112 - what is wrong with it is told elsewhere
            continue
    return found - environment.globals.keys() - {"brand", "app_name", "base_url", "order_currency"}


def given(values: Mapping[str, object]) -> dict[str, object]:
    """Values as templates get them: texts of one line, numbers, yes and no, and lists and objects of these."""
    return {str(key): _plain(value, 0) for key, value in values.items()}


def _plain(value: object, depth: int) -> object:
    if isinstance(value, bool) or (isinstance(value, int | float) and abs(value) < _LARGEST_NUMBER):
        return value
    if isinstance(value, Mapping) and depth < _DEEPEST:
        return {_one_line(key): _plain(each, depth + 1) for key, each in value.items()}
    if isinstance(value, list | tuple) and depth < _DEEPEST:
        return [_plain(each, depth + 1) for each in value]
    return _one_line(value)


def _known(look: Brand) -> dict[str, object]:
    """What every template knows."""
    settings = get_settings()
    return {
        "app_name": look.name,
        "base_url": get_base_url(),
        "brand": look.values,
        "order_currency": settings.order_currency,
    }


def _built_in(name: str, shown: Mapping[str, object]) -> dict[str, str]:
    environment = _environment()
    return {part: environment.get_template(f"{name}/{part}").render(shown) for part in PARTS}


def _finished(parts: Mapping[str, str], look: Brand) -> Rendered:
    """The mail from its parts: the footer at the end of the text, styles inlined, the logo along."""
    text, html = parts.get(TEXT, ""), parts.get(HTML, "")
    html = _inliner().inline(html) if html.strip() else ""
    if look.footer and text.strip():
        text = f"{text.rstrip()}\n\n-- \n{look.footer}\n"  # the mark of a signature (RFC 3676 4.3)
    subject = " ".join(_one_line(parts[SUBJECT]).split())[:LONGEST_SUBJECT]
    return Rendered(subject, text, html, look.attachments if SOURCE in html else ())


def _for_caller(error: Exception, name: str, values: Mapping[str, object]) -> Exception:
    """What is wrong with an own template, or with what it was given."""
    if isinstance(error, TemplateNotFound) and error.name == name:
        return error
    fault = own_templates.fault_of(name, error)
    if isinstance(error, UndefinedError):
        return MissingValues(missing(name, values), fault)
    _tell_once(fault, name)
    return BrokenTemplate(fault)


def _tell_once(fault: TemplateFault, name: str) -> None:
    if str(fault) not in _told:
        _told.add(str(fault))
        serves = "built-in" if is_built_in(name) else "none"
        log.error(
            "mail_template_broken", template=name, file=fault.file, line=fault.line, why=fault.problem, used=serves
        )


def _optional(tree: nodes.Template) -> set[str]:
    """The values that a template asks about before it uses them."""
    tested = [test.node for test in tree.find_all(nodes.Test) if test.name in _OPTIONAL]
    tested += [each.node for each in tree.find_all(nodes.Filter) if each.name in ("d", "default") and each.node]
    return {node.name for node in tested if isinstance(node, nodes.Name)}


def _made_by(tree: nodes.Template) -> set[str]:
    """What a template names itself, and its blocks use."""
    found = {macro.name for macro in tree.find_all(nodes.Macro)} | {each.target for each in tree.find_all(nodes.Import)}
    for names in (each.names for each in tree.find_all(nodes.FromImport)):
        found |= {name if isinstance(name, str) else name[1] for name in names}
    return found | {
        each.target.name for each in tree.body if isinstance(each, nodes.Assign) and isinstance(each.target, nodes.Name)
    }


def _one_line(value: object) -> str:
    return CONTROLS.sub(" ", str(value).encode("utf-8", "replace").decode())  # half of an emoji is no text


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
def _inliner() -> Any:  # noqa: ANN401 - imported late
    return late.load("css_inline").CSSInliner(keep_at_rules=True, load_remote_stylesheets=False)

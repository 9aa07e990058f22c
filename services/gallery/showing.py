"""The templates of mails on show: each with sample values, as a mail that anyone can look at, or have sent to them."""

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from services.delivery import attempt
from services.delivery.outcome import Outcome
from services.message import brand, own_templates, templates
from services.message.brand import SOURCE, Brand
from services.message.own_templates import FOLDER, NAME, SAMPLE, RefusedFile, TemplateFault
from services.message.templates import Rendered
from services.outbox import template_mail
from services.settings import route
from services.settings.rules import message_id_domain
from utils.env_utils import get_settings
from utils.errors import Conflict, NotFound

KIND: Final = "sample"
SHOWN_FOR_BRANDING: Final = "password_reset"
NO_SUCH: Final = "There is no template of this name."
NO_SAMPLE: Final = "It has no sample.json with an object of values, so it is shown with the names of its values."
# What each of ours tells of.
ABOUT: Final = {
    "address_change_asked": "To the old address, when another one was entered for the account.",
    "address_changed": "To the old address, once the new one is confirmed.",
    "address_confirmation": "To a new address of an account, to confirm it.",
    "failover": "To administrators, when a server is down.",
    "invitation": "To a new account, to choose a password.",
    "needs_sign_in": "To administrators, when a server needs sign-in again.",
    "new_sign_in": "To an account, after a sign-in in a browser that is new to it.",
    "order_notification": "About an executed order, from your application.",
    "own_server_broken": "To an account, when its own server cannot be used.",
    "own_server_retired": "To an account whose own server is not used until someone has checked it.",
    "own_server_works": "To an account, when its own server works again.",
    "password_changed": "To an account, when its password was changed.",
    "password_reset": "To someone who forgot their password.",
    "second_factor": "To an account, when a second factor was added, removed or reset.",
    "sender_confirmation": "To an address that an account wants to send from.",
    "server_ends": "Before a sign-in, a client secret or a certificate ends.",
    "test_message": "What “Send test email” sends.",
    "token_expiring": "To the owner of an API token, before it expires.",
}
_SCHEME: Final = re.compile(r"\(\s*prefers-color-scheme\s*:\s*(light|dark)\s*\)", re.IGNORECASE)
_TRUE, _FALSE = "(min-width: 0)", "(max-width: 0)"


class Theme(StrEnum):
    """What a reader's screen is set to."""

    LIGHT = "light"
    DARK = "dark"


class TemplateFrom(StrEnum):
    """Where a template comes from. CHANGED: parts of a built-in one are the installation's."""

    BUILT_IN = "built-in"
    CHANGED = "changed"
    OWN = "own"


@dataclass(frozen=True, kw_only=True)
class ShownTemplate:
    """A template with its sample: ``mail`` is what would be sent, None if nothing could be.

    ``fault`` is what is wrong with a template of the installation's, whether or not a built-in one serves instead.
    """

    name: str
    about: str
    origin: TemplateFrom
    mail: Rendered | None
    fault: TemplateFault | None
    note: str = ""

    @property
    def title(self) -> str:
        return self.mail.subject if self.mail else self.name

    @property
    def words(self) -> str:
        """Its name, as a heading has it."""
        return " ".join(re.split(r"[_-]+", self.name)).strip().capitalize()

    @property
    def state(self) -> str:
        if self.fault is None:
            return ""
        return "The built-in one is sent instead." if self.mail else "It cannot be sent."


def every() -> list[ShownTemplate]:
    """All templates, ours and the installation's, by name."""
    look = brand.current()
    refused = dict(own_templates.names(folder)) if (folder := get_settings().mail_templates) else {}
    found = {name: _shown(name, look) for name in (*templates.built_in_names(), *refused) if NAME.fullmatch(name)}
    odd = [
        ShownTemplate(name=name, about="", origin=TemplateFrom.OWN, mail=None, fault=TemplateFault(name, None, why))
        for name, why in refused.items()
        if name not in found
    ]
    return [*sorted(found.values(), key=lambda each: each.name), *odd]


def get(name: str, look: Brand | None = None) -> ShownTemplate:
    """One of them. Raises NotFound."""
    folder = get_settings().mail_templates
    is_own = folder is not None and NAME.fullmatch(name) is not None and (folder / name).is_dir()
    if not is_own and not templates.is_built_in(name):
        raise NotFound(NO_SUCH)
    return _shown(name, look or brand.current())


def broken() -> list[ShownTemplate]:
    """Those that something is wrong with."""
    return [each for each in every() if each.fault]


def as_page(mail: Rendered, look: Brand, theme: Theme) -> str:
    """The HTML of a mail as a page of its own in this theme, whatever the reader's screen is set to."""
    html = _SCHEME.sub(lambda asked: _TRUE if asked[1].lower() == theme else _FALSE, mail.html)
    html = html.replace('name="color-scheme" content="light dark"', f'name="color-scheme" content="{theme}"')
    if SOURCE in html:
        html = html.replace(SOURCE, f"data:image/png;base64,{base64.b64encode(look.logo).decode()}")
    return html


def send(name: str, address: str) -> Outcome:
    """Send a sample to this address, once, as the system's mail. Raises NotFound, or Conflict if it cannot be sent."""
    shown = get(name)
    if shown.mail is None:
        raise Conflict(f"This template is broken. {shown.fault}")
    first, servers = route.looked_up()
    mail = replace(shown.mail, subject=f"Sample: {shown.mail.subject}")
    return attempt.deliver(template_mail.composed(address, KIND, mail, message_id_domain(first)), servers)


def _shown(name: str, look: Brand) -> ShownTemplate:
    values, note = _sample(name)
    mail, fault = templates.look_at(name, values, look)
    return ShownTemplate(
        name=name,
        about=ABOUT.get(name, "From your application."),
        origin=_origin(name),
        mail=mail,
        fault=fault,
        note=note,
    )


def _origin(name: str) -> TemplateFrom:
    folder = get_settings().mail_templates
    if folder is None or not (folder / name).is_dir():
        return TemplateFrom.BUILT_IN
    return TemplateFrom.CHANGED if templates.is_built_in(name) else TemplateFrom.OWN


def _sample(name: str) -> tuple[dict[str, Any], str]:
    """Sample values, the installation's before ours, and what is to be said of them."""
    values: dict[str, Any] = {}
    if templates.is_built_in(name):
        values |= json.loads((FOLDER / name / SAMPLE).read_text())
    folder, note = get_settings().mail_templates, ""
    if folder is not None:
        try:
            own = _object(own_templates.read(folder, f"{name}/{SAMPLE}"))
        except (RefusedFile, ValueError, RecursionError):
            own = None
        if own is None and not values:
            note = NO_SAMPLE
            own = {asked: asked.replace("_", " ") for asked in templates.asked_for(name)}
        values |= own or {}
    return values, note


def _object(text: str | None) -> Mapping[str, Any] | None:
    found = json.loads(text) if text else None
    return found if isinstance(found, dict) else None

"""One message through one channel: by the web, or by mail through the server that was chosen for it."""

from collections.abc import Mapping

from sqlalchemy.exc import SQLAlchemyError

from services.alerts import bodies, reaching
from services.alerts.bodies import AlertChange, AlertNews
from services.alerts.channels import OpenChannel
from services.alerts.kinds import ChannelKind
from services.alerts.reaching import Trouble
from services.delivery import attempt
from services.delivery.outcome import ACCEPTED
from services.message.draft import draft
from services.settings import rules
from utils import clock, incidents
from utils.env_utils import get_base_url, get_settings
from utils.errors import InvalidInput

MAIL_KIND = "alert"
_ENTER_AGAIN = "Change the channel."


def send(channel: OpenChannel, news: AlertNews) -> Trouble | None:
    """Tell it; None if it was accepted. Never raises, so that the other channels are told whatever becomes of it."""
    try:
        return _sent(channel, news)
    except SQLAlchemyError:
        return Trouble(text="The database does not respond.", remedy="Sealpost keeps trying.")
    except Exception as error:
        reference = incidents.report("alert_not_sent", error, channel=channel.id)
        return Trouble(text=f"Sealpost failed. The log has more: {reference}.", remedy="Sealpost keeps trying.")


def _sent(channel: OpenChannel, news: AlertNews) -> Trouble | None:
    if channel.problem:
        return Trouble(text=channel.problem, remedy=_ENTER_AGAIN)
    if channel.kind is ChannelKind.MAIL:
        return _mail(channel, news)
    if channel.is_ping:
        return ping(channel, {"state": news.change.value})
    request = bodies.request_for(channel.kind, channel.target, news, app_name=get_settings().app_name, page=page_url())
    return reaching.post(channel.kind, request)


def ping(channel: OpenChannel, state: Mapping[str, object]) -> Trouble | None:
    """Say that Sealpost is there, and how things stand."""
    if channel.problem:
        return Trouble(text=channel.problem, remedy=_ENTER_AGAIN)
    told = {"app": get_settings().app_name, "at": clock.now().isoformat(), **state}
    return reaching.post(channel.kind, bodies.ping_request(channel.target, told))


def page_url() -> str:
    """Of the page about alerts."""
    return f"{get_base_url()}/settings/alerts"


def _mail(channel: OpenChannel, news: AlertNews) -> Trouble | None:
    """One attempt, through that server alone: it is tried again like any other message."""
    if channel.step is None or channel.step.settings is None:
        return Trouble(text="The mail server of this channel cannot be used.", remedy=_ENTER_AGAIN)
    title = f"{get_settings().app_name}: {news.title}"
    subject = title if news.change is AlertChange.TEST else f"{title}: {news.headline}"
    try:
        mail = draft(
            list(channel.target.recipients),
            subject[:200],
            f"{news.text}\n\n{page_url()}\n",
            headers={"Auto-Submitted": "auto-generated"},
            kind=MAIL_KIND,
            message_id_domain=rules.message_id_domain(channel.step.settings),
        )
    except (ValueError, InvalidInput):
        return Trouble(text="The email could not be written.", remedy=_ENTER_AGAIN)
    outcome = attempt.deliver(mail, [channel.step])
    if outcome.kind == ACCEPTED:
        return None
    return Trouble(text=f"{channel.step.name}: {outcome.message}.", remedy="Test that mail server.")

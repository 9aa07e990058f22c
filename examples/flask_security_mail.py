"""Flask-Security's emails through Sealpost: confirmations, resets and codes are queued, ahead of all other email.

    from flask_security_mail import SealpostMailUtil      # where this file is

    Security(app, datastore, mail_util_cls=SealpostMailUtil)

The application shares Sealpost's environment and database, and needs no other mail extension. Sealpost decides the From
address, so that SECURITY_EMAIL_SENDER says nothing.
"""

from email.utils import formataddr
from typing import Any

from flask_security import MailUtil

from app import sealpost_context
from services.email_service import queue_email

Address = str | tuple[str, str]


class SealpostMailUtil(MailUtil):
    def send_mail(  # noqa: PLR0917 - as Flask-Security calls it
        self,
        template: str,
        subject: str,
        recipient: Address,
        sender: Address,
        body: str | None,
        html: str | None,
        **kwargs: Any,  # noqa: ANN401 - as Flask-Security has it
    ) -> None:
        """Promise the email. Its kind, like ``reset_instructions``, is the tag by which the mail log finds it."""
        to = recipient if isinstance(recipient, str) else formataddr(recipient)
        with sealpost_context():
            queue_email(to, str(subject), body or "", html, priority="security", tag=template.rpartition("/")[2])

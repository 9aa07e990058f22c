"""Django, as its documentation shows it: HOST PORT CA_FILE USER TOKEN FROM TO SUBJECT TEXT_FILE ATTACHMENT."""

import smtplib
import sys
from email.utils import formataddr
from pathlib import Path

from django.conf import settings
from django.core.mail import EmailMessage

host, port, _, user, token, sender, to, subject, text, attachment = sys.argv[1:]
settings.configure(
    EMAIL_HOST=host, EMAIL_PORT=int(port), EMAIL_HOST_USER=user, EMAIL_HOST_PASSWORD=token, EMAIL_USE_TLS=True
)
mail = EmailMessage(subject, Path(text).read_text(), formataddr(("Jörg's Shop", sender)), [to])
mail.attach_file(attachment)
try:
    mail.send()
except smtplib.SMTPException as refused:
    sys.exit(str(refused))

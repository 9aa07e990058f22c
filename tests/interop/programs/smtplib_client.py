"""Python's smtplib, as its documentation shows it: HOST PORT CA_FILE USER TOKEN FROM TO MAIL_FILE."""

import smtplib
import ssl
import sys
from email import message_from_bytes, policy
from pathlib import Path

host, port, authorities, user, token, sender, to, mail = sys.argv[1:]
try:
    with smtplib.SMTP(host, int(port)) as server:
        server.starttls(context=ssl.create_default_context(cafile=authorities))
        server.login(user, token)
        server.send_message(message_from_bytes(Path(mail).read_bytes(), policy=policy.SMTP), sender, [to])
except smtplib.SMTPException as refused:
    sys.exit(str(refused))

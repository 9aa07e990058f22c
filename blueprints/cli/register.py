"""The commands of `flask`: thin shells around the services; nothing here migrates."""

from flask import Flask

from blueprints.cli.accounts import token
from blueprints.cli.audit import audit
from blueprints.cli.keys import keys
from blueprints.cli.mail import mail
from blueprints.cli.people import account
from blueprints.cli.smtp import smtp
from blueprints.cli.smtp_checks import domain, route, test, validate

for check in (test, route, validate, domain):
    smtp.add_command(check)


def register(app: Flask) -> None:
    for commands in (account, audit, keys, mail, smtp, token):
        app.cli.add_command(commands)

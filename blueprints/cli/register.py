"""The commands of `flask`: thin shells around the services; nothing here migrates."""

from flask import Flask

from blueprints.cli.accounts import token
from blueprints.cli.audit import audit
from blueprints.cli.domain import smtp
from blueprints.cli.keys import keys
from blueprints.cli.mail import mail
from blueprints.cli.people import account


def register(app: Flask) -> None:
    for commands in (account, audit, keys, mail, smtp, token):
        app.cli.add_command(commands)

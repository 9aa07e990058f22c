"""The commands of `flask`: thin shells around the services; nothing here migrates."""

from flask import Flask

from blueprints.cli_accounts import account, token
from blueprints.cli_audit import audit
from blueprints.cli_domain import smtp
from blueprints.cli_keys import keys
from blueprints.cli_mail import mail


def register(app: Flask) -> None:
    for commands in (account, audit, keys, mail, smtp, token):
        app.cli.add_command(commands)

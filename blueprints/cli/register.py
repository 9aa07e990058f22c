"""The commands of `flask`: thin shells around the services; nothing here migrates."""

from typing import Final

from blueprints.cli.accounts import token
from blueprints.cli.alerts import alerts
from blueprints.cli.audit import audit
from blueprints.cli.database import backup, restore
from blueprints.cli.gateway_apps import gateway
from blueprints.cli.keys import keys
from blueprints.cli.mail import mail
from blueprints.cli.mail_export import export
from blueprints.cli.mfa import mfa
from blueprints.cli.personal import personal, policy
from blueprints.cli.privacy import privacy
from blueprints.cli.release import upgrade_check, version
from blueprints.cli.sign_ins import account
from blueprints.cli.smtp import smtp
from blueprints.cli.smtp_activate import activate
from blueprints.cli.smtp_checks import domain, route, test, validate
from blueprints.cli.smtp_connect import connect, disconnect
from blueprints.cli.smtp_discover import discover
from blueprints.cli.suppression import suppression

COMMANDS: Final = (
    account, alerts, audit, gateway, keys, mail, privacy, smtp, suppression, token, upgrade_check, version,
)  # fmt: skip
OF_THE_DATABASE: Final = (backup, restore)  # below `flask db`

for command in (activate, connect, disconnect, test, route, validate, domain, discover, personal, policy):
    smtp.add_command(command)
mail.add_command(export)
account.add_command(mfa)

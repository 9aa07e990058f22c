"""Servers of accounts for tests, as they stand in the database."""

from sqlalchemy import update

from database.engine import transaction
from database.smtp_db import SmtpConfig
from services.settings import sealing
from services.smtp.settings import Security, SmtpSettings
from utils import clock
from utils.secret import Secret


def own_row(account_id: int, host: str = "smtp.example.com", port: int = 587, **columns: object) -> int:
    """Store a server of an account, sealed; its id. ``columns`` are written over it, behind the seal."""
    settings = SmtpSettings(
        host=host,
        port=port,
        security=Security.STARTTLS,
        username="me",
        password=Secret("s3cret-of-the-account"),
        from_email="me@example.com",
    )
    now = clock.now()
    row = SmtpConfig(
        account_id=account_id,
        name="Own server",
        name_key="own server",
        smtp_server=host,
        smtp_port=port,
        smtp_username="me",
        from_email="me@example.com",
        from_name="",
        use_tls=True,
        use_ssl=False,
        is_active=True,
        created_at=now,
        updated_at=now,
        version=1,
        reply_to="",
        helo_hostname="",
        timeout_seconds=10,
        auth_method="",
        client_certificate="",
    )
    with transaction() as session:
        row.key_id = ""
        sealing.seal(row, settings, kept=[])
        session.add(row)
        session.flush()
        if columns:
            session.execute(update(SmtpConfig).where(SmtpConfig.id == row.id).values(**columns))
        return row.id

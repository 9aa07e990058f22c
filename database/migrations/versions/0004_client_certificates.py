"""client certificates; the binding covers everything that is said to a server or shown to a reader.

Each row whose former binding holds is sealed anew, under the key that sealed it. One that does not match, or whose key
is not at hand, is left byte for byte and told: nothing reads the former binding from here on.
"""

import base64
import hashlib
import hmac
from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from typing import Any

import sqlalchemy as sa
import structlog
from alembic import op
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from utils.env_utils import get_settings

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

log = structlog.get_logger("security")

CONFIG = sa.table(
    "smtp_config",
    sa.column("id", sa.Integer),
    sa.column("account_id", sa.Integer),
    sa.column("name", sa.String),
    sa.column("smtp_server", sa.String),
    sa.column("smtp_port", sa.Integer),
    sa.column("use_tls", sa.Boolean),
    sa.column("use_ssl", sa.Boolean),
    sa.column("smtp_username", sa.String),
    sa.column("smtp_password", sa.Text),
    sa.column("from_email", sa.String),
    sa.column("from_name", sa.String),
    sa.column("reply_to", sa.String),
    sa.column("helo_hostname", sa.String),
    sa.column("timeout_seconds", sa.Integer),
    sa.column("auth_method", sa.String),
    sa.column("client_certificate", sa.Text),
    sa.column("client_key", sa.Text),
    sa.column("key_id", sa.String),
    sa.column("binding_mac", sa.String),
)
BOUND = (
    "auth_method", "client_certificate", "client_key", "from_email", "from_name", "helo_hostname", "reply_to",
    "smtp_password", "smtp_port", "smtp_server", "smtp_username", "timeout_seconds",
)  # fmt: skip
ALTERED = "It does not match its binding: it was changed outside of the application. Check and save it again."
KEY_MISSING = "The key that sealed it is not in APP_KEY or APP_KEY_PREVIOUS. Enter its settings again, or undo this with "
KEY_MISSING += "flask db downgrade 0003, restore the key, and upgrade again."
_Row = Mapping[str, Any]
_Binding = Callable[[_Row, bytes], str]


def upgrade() -> None:
    with op.batch_alter_table("smtp_config", schema=None) as batch_op:
        for name in ("client_certificate", "client_key"):
            batch_op.add_column(sa.Column(name, sa.Text(), server_default=sa.text("''"), nullable=False))
    _seal_anew(_former_binding, _binding)


def downgrade() -> None:
    _seal_anew(_binding, _former_binding)
    with op.batch_alter_table("smtp_config", schema=None) as batch_op:
        batch_op.drop_column("client_key")
        batch_op.drop_column("client_certificate")


def _seal_anew(before: _Binding, after: _Binding) -> None:
    connection, keys = op.get_bind(), _known_keys()
    for row in connection.execute(sa.select(CONFIG).order_by(CONFIG.c.id)).mappings().all():
        key = keys.get(str(row["key_id"]))
        if key is None:
            log.warning("smtp_config_not_sealed_anew", id=row["id"], name=row["name"], reason=KEY_MISSING)
        elif not hmac.compare_digest(str(row["binding_mac"]).encode(), before(row, key).encode()):
            log.warning("smtp_config_not_sealed_anew", id=row["id"], name=row["name"], reason=ALTERED)
        else:
            connection.execute(sa.update(CONFIG).where(CONFIG.c.id == row["id"]).values(binding_mac=after(row, key)))


# From here on everything is as it was when this migration was written, whatever becomes of the application's own.


def _known_keys() -> dict[str, bytes]:
    """The Fernet keys at hand by their ids."""
    settings = get_settings()
    digests = [hashlib.sha256(key.reveal().encode()).digest() for key in (settings.app_key, *settings.app_key_previous)]
    keys = [base64.urlsafe_b64encode(digest) for digest in digests]
    return {hashlib.sha256(b"kid|" + key).hexdigest()[:8]: key for key in keys}


def _former_binding(row: _Row, key: bytes) -> str:
    parts = [row["smtp_server"], row["smtp_port"], _mode(row), row["smtp_username"], row["from_email"]]
    return _mac(key, "smtp-binding-v1", [_scope(row), *parts, row["smtp_password"]])


def _binding(row: _Row, key: bytes) -> str:
    values = chain.from_iterable((column, row[column]) for column in BOUND)
    return "2:" + _mac(key, "smtp-binding-v2", [_scope(row), _mode(row), *values])[:62]


def _scope(row: _Row) -> str:
    return "global" if row["account_id"] is None else f"account:{row['account_id']}"


def _mode(row: _Row) -> str:
    if row["use_ssl"]:
        return "tls"
    return "starttls" if row["use_tls"] else "none"


def _mac(key: bytes, purpose: str, parts: Iterable[object]) -> str:
    encoded = [str(part).encode() for part in parts]
    message = b"".join(len(part).to_bytes(4, "big") + part for part in encoded)
    subkey = HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose.encode()).derive(key)
    return hmac.new(subkey, message, hashlib.sha256).hexdigest()

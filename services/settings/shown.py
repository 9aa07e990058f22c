"""What the API, the commands and the pages may show of a stored configuration."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from services.settings import health
from services.settings.fields import MASK
from services.settings.health import Health, HealthData
from services.settings.reach import Reach
from services.settings.row import ShownColumns
from services.settings.sealing import StoredConfig
from services.settings.table import SECRETS, SHOWN
from services.smtp import client_certificate
from utils.json_shapes import Moment, json_of


@dataclass(frozen=True, kw_only=True)
class ClientCertificateData:
    """What stands in the first certificate of a chain."""

    subject: str
    issuer: str
    sha256: str
    not_before: Moment
    not_after: Moment


@dataclass(frozen=True, kw_only=True)
class ConfigData(ShownColumns):
    """A configuration as it may be shown: the password and the client key are eight bullets or nothing."""

    has_password: bool
    needs_reentry: bool
    has_client_key: bool
    client_certificate_facts: ClientCertificateData | None
    verified: bool
    health: HealthData
    verified_for_own_domain: bool  # as far as a test without a sign-in could see; not by others then


def config_data(stored: StoredConfig, known: Health | None = None) -> ConfigData:
    """All that may be shown of it; ``known`` is how it is, if that was asked."""
    row = stored.row
    columns = {name: getattr(row, name) for name in SHOWN}
    masked = {name: MASK if columns[name] else "" for name in SECRETS}
    verified_at = row.verified_at if stored.is_verified else None  # only while the test still holds
    return ConfigData(
        **columns | masked | {"verified_at": verified_at},
        has_password=bool(row.smtp_password),
        has_client_key=bool(row.client_key),
        needs_reentry=stored.needs_reentry,
        client_certificate_facts=_certificate_data(row.client_certificate),
        verified=stored.is_verified,
        health=health.data(known or health.of_changed(stored)),
        verified_for_own_domain=stored.verified_reach is Reach.OWN_DOMAIN,
    )


def public_dict(stored: StoredConfig) -> dict[str, Any]:
    """The same as the API answers it."""
    return json_of(ConfigData, config_data(stored))


def public_dicts(found: Sequence[StoredConfig]) -> list[dict[str, Any]]:
    """The same of several."""
    known = health.of_configs(found)
    return [json_of(ConfigData, config_data(stored, known[stored.row.id])) for stored in found]


def _certificate_data(certificate: str) -> ClientCertificateData | None:
    facts = client_certificate.facts_of(certificate)
    if facts is None:
        return None
    return ClientCertificateData(
        subject=facts.subject, issuer=facts.issuer, sha256=facts.sha256, not_before=facts.starts, not_after=facts.ends
    )

"""For scripts and ``flask shell``: the stored configurations by name. Every process sees a change at its next mail."""

from typing import Any, Final

from services.settings import configs
from services.settings.fields import parse_change
from services.settings.sealing import StoredConfig
from utils.errors import InvalidInput, refused_under

SHORT_NAMES: Final = {
    "host": "smtp_server",
    "port": "smtp_port",
    "username": "smtp_username",
    "password": "smtp_password",
    "timeout": "timeout_seconds",
}

__all__ = ["activate_config", "create_config", "deactivate_config", "get_active_config"]


def get_active_config() -> StoredConfig | None:
    """The active global configuration; it prints as one line."""
    return configs.find_active()


def create_config(name: str, **fields: Any) -> StoredConfig:  # noqa: ANN401 - the fields of the API
    """Store a configuration; the fields are those of the API, or ``host``, ``port``, ``username``, ``password``,
    ``timeout``.

    Raises InvalidInput, by the names that were given, also for a field that is given under both of its names.
    """
    if twice := [short for short, field in SHORT_NAMES.items() if short in fields and field in fields]:
        raise InvalidInput({short: ["Enter it only once."] for short in twice})
    given = {SHORT_NAMES.get(key, key): key for key in fields}
    with refused_under(given):
        return configs.create(parse_change({"name": name, **{field: fields[key] for field, key in given.items()}}))


def activate_config(name_or_id: str | int) -> StoredConfig:
    """Switch to this configuration; every process uses it for its next mail. Raises NotFound."""
    return configs.activate(configs.named(name_or_id).row.id)


def deactivate_config(name_or_id: str | int) -> StoredConfig:
    """Deactivate a configuration. Raises NotFound."""
    return configs.deactivate(configs.named(name_or_id).row.id)

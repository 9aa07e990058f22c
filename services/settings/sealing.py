"""What makes a stored configuration trustworthy: its sealed password, its binding, and the proof of a test."""

import hmac
import re
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from itertools import chain
from typing import Final

from database.health_db import Quiet
from database.smtp_db import SmtpConfig
from services.oauth import keeping
from services.settings import validity
from services.settings.fields import SmtpChange
from services.settings.reach import Reach
from services.settings.row import ACCOUNT_DISABLED, StoredRow, copied
from services.settings.rules import check_place, merged
from services.settings.table import BOUND, SECRETS, TESTED_FIRST, TESTED_LATER, VALUES
from services.smtp import client_certificate
from services.smtp.settings import DEFAULT_TIMEOUT, TOKEN_METHOD, Bearer, Security, SmtpSettings
from utils.encryption_utils import CannotDecrypt, current_key_id, encrypt_smtp_password, known_keys, mac, opened
from utils.env_utils import get_fernet_key
from utils.errors import InvalidInput
from utils.secret import Secret

BINDING: Final = "smtp-binding-v2"
FORM: Final = "2:"  # of a binding: a new one, and a migration that seals anew, with each new bound field
FINGERPRINTS: Final = {
    Reach.EVERYWHERE: "smtp-fingerprint-v1",
    Reach.OWN_DOMAIN: "smtp-fingerprint-own-domain-v1",
}
PROOF: Final = "smtp-proof-v1"
PROOF_SECONDS: Final = 3600
UNREADABLE: Final = "The stored password cannot be read. Restore APP_KEY or enter the password again."
UNREADABLE_KEY: Final = "The stored client key cannot be read. Restore APP_KEY or paste the key again."
OTHER_KEY: Final = "These settings are sealed with a missing APP_KEY. Check them, then save again."
ALTERED: Final = "These settings were changed outside Sealpost. Check every field, then save again."
OUTDATED: Final = (
    "These settings could not be checked when the database was upgraded: they had been changed outside Sealpost, or "
    "their APP_KEY was missing. Check every field, then save again."
)
ERASED: Final = (
    "The account was disabled while these settings could not be read, and the password was erased. Check every field, "
    "enter the password again and save."
)
NO_TOKENS: Final[Mapping[str, str]] = {}
_FIRST_FORM: Final = re.compile("[0-9a-f]{64}")


class Condition(StrEnum):
    """Whether a stored row may be used."""

    GOOD = "good"
    KEY_MISSING = "key_missing"  # sealed under a key that is not at hand
    ALTERED = "altered"  # the binding does not match: somebody edited the row
    ERASED = "erased"  # nothing is sealed in it any more, and it could not be checked when that was erased
    OUTDATED = "outdated"  # bound as before the last change of what is bound, and not sealed anew by the upgrade
    INVALID = "invalid"  # a value is none that a save would take
    UNCONNECTED = "unconnected"  # it is to be signed in to by token, and nobody has agreed yet


INVALID: Final = "A stored value is not valid. Check every field, then save again."
UNCONNECTED: Final = "This server is not connected yet. Connect it first."
UNUSABLE: Final = {
    Condition.UNCONNECTED: UNCONNECTED,
    Condition.KEY_MISSING: UNREADABLE,
    Condition.ALTERED: ALTERED,
    Condition.ERASED: ERASED,
    Condition.OUTDATED: OUTDATED,
    Condition.INVALID: INVALID,
}


@dataclass(frozen=True, repr=False)
class StoredConfig:
    """A row with its password and its client key unsealed, if that was possible.

    ``invalid`` are the fields that a save would refuse.
    """

    row: StoredRow
    settings: SmtpSettings
    condition: Condition
    invalid: validity.Errors = field(default_factory=dict)
    quiet: Quiet | None = field(default=None, compare=False)  # None: it was not looked up

    def __str__(self) -> str:
        state = "Active" if self.row.is_active else "Inactive"
        return f"{self.row.name} - {self.row.smtp_server}:{self.row.smtp_port} ({state})"

    def __repr__(self) -> str:
        """As it prints: a row of its own would show what it is sealed with."""
        return f"<{self}>"

    @property
    def id(self) -> int:
        return self.row.id

    @property
    def name(self) -> str:
        return self.row.name

    @property
    def host(self) -> str:
        return self.settings.host

    @property
    def port(self) -> int:
        return self.settings.port

    @property
    def username(self) -> str:
        return self.settings.username

    @property
    def timeout(self) -> int:
        return self.settings.timeout_seconds

    @property
    def from_email(self) -> str:
        return self.settings.from_email

    @property
    def from_name(self) -> str:
        return self.settings.from_name

    @property
    def use_tls(self) -> bool:
        return self.row.use_tls

    @property
    def use_ssl(self) -> bool:
        return self.row.use_ssl

    @property
    def is_active(self) -> bool:
        return self.row.is_active

    @property
    def is_usable(self) -> bool:
        return self.condition is Condition.GOOD

    @property
    def is_readable(self) -> bool:
        """Whether the row is as we wrote it, and its password open; a value of it may be invalid all the same."""
        return self.condition in (Condition.GOOD, Condition.INVALID, Condition.UNCONNECTED)

    @property
    def needs_reentry(self) -> bool:
        """Whether something has to be entered again, and looking through it and saving is not enough."""
        has_secret = bool(self.row.smtp_password or self.row.client_key)
        return not self.is_readable and (has_secret or self.condition is not Condition.KEY_MISSING)

    @property
    def problem(self) -> str:
        """Why it is not used and what to do; "" for a good one."""
        if self.condition is Condition.INVALID:
            return validity.in_words(self.invalid)
        return _unusable(self.row, self.condition)

    @property
    def errors(self) -> validity.Errors:
        """The same at the fields concerned."""
        field = "auth_method" if self.condition is Condition.UNCONNECTED else "smtp_password"
        if self.condition is Condition.KEY_MISSING and not self.row.smtp_password:
            field = "client_key" if self.row.client_key else "smtp_server"
        return self.invalid or {field: [self.problem]}

    @property
    def certificate_trouble(self) -> str:
        """What is to be said of its client certificate, or ""."""
        facts = client_certificate.facts_of(self.settings.client_certificate)
        return facts.trouble if facts else ""

    @property
    def is_verified(self) -> bool:
        """Whether exactly these values passed a test, and not for mail to their own domain only."""
        return self.verified_reach is Reach.EVERYWHERE

    @property
    def verified_reach(self) -> Reach:
        """For mail to whom exactly these values passed a test."""
        if not self.is_usable or self.row.verified_at is None:
            return Reach.UNSEEN
        return marked_reach(self.row, self.settings)


@dataclass(frozen=True)
class Seal:
    """What the key has made of a row: all of it changes when the key does, and nothing else."""

    smtp_password: str
    client_key: str
    key_id: str
    binding_mac: str
    verified_fingerprint: str | None


def unsealed(
    row: SmtpConfig | StoredRow, keys: Mapping[str, bytes] | None = None, *, by_administrator: bool = False
) -> StoredConfig:
    """Check the binding, open what is sealed, check the values. Never raises: the condition says what is wrong.

    ``keys`` by their ids are the only ones used; without them those of the environment. An account's own server is
    guarded as personal, unless ``by_administrator``: ``configs.as_used`` knows whether its account is one.
    """
    keys, row = known_keys() if keys is None else keys, copied(row)
    condition = _condition(row, keys.get(row.key_id))
    if condition is Condition.GOOD:
        try:
            tokens = {setting: str(getattr(row, column)) for column, setting in SECRETS.items()}
            found = [opened(token, keys.values()) if token else "" for token in tokens.values()]
            secrets = dict(zip(tokens, found, strict=True))
            invalid = validity.errors_of(row)
            if invalid:
                condition = Condition.INVALID
            elif row.auth_method == TOKEN_METHOD and not row.is_connected:
                condition = Condition.UNCONNECTED
            settings = _settings_of(row, secrets, by_administrator=by_administrator)
            return StoredConfig(row, settings, condition, invalid)
        except CannotDecrypt:
            condition = Condition.ALTERED
    return StoredConfig(row, _settings_of(row, by_administrator=by_administrator), condition)


def _unusable(row: StoredRow, condition: Condition) -> str:
    """Why a row is not used and what to do; only who must enter a secret again is told so."""
    if condition is Condition.KEY_MISSING and not row.smtp_password:
        return UNREADABLE_KEY if row.client_key else OTHER_KEY
    return UNUSABLE.get(condition, "")


def _condition(row: StoredRow, key: bytes | None) -> Condition:
    if key is not None and hmac.compare_digest(str(row.binding_mac).encode(), _binding(row, key).encode()):
        return Condition.GOOD
    # Who wrote that into the row by hand has gained nothing: it is used as little as any that is not good.
    if row.inactive_reason == ACCOUNT_DISABLED and not (row.smtp_password or row.client_key):
        return Condition.ERASED
    if key is None:
        return Condition.KEY_MISSING
    return Condition.OUTDATED if _FIRST_FORM.fullmatch(str(row.binding_mac)) else Condition.ALTERED


def merged_with(stored: StoredConfig | None, change: SmtpChange, *, is_personal: bool = False) -> SmtpSettings:
    """The settings after a change of a stored configuration, or of none. Raises InvalidInput.

    ``is_personal``: whoever enters them is no administrator. What is stored as such stays such.
    """
    if stored is None or stored.is_readable:
        settings = _merged_over(stored, change)
    else:
        settings = _merged_over_doubtful(stored, change)
    settings = replace(settings, is_personal=settings.is_personal or is_personal, bearer=_bearer(stored, settings))
    check_place(settings)
    # One that has expired meanwhile is no reason to refuse another change; nobody enters an expired one on purpose.
    if stored is None or settings.client_certificate != stored.settings.client_certificate:
        facts = client_certificate.facts_of(settings.client_certificate)
        if facts and facts.has_expired:
            raise InvalidInput({"client_certificate": [facts.trouble]})
    return settings


def _merged_over(stored: StoredConfig | None, change: SmtpChange) -> SmtpSettings:
    """A save of some fields blesses no invalid value in another."""
    invalid = stored.invalid if stored else {}
    if left := {name: told for name, told in invalid.items() if not change.given(name)}:
        raise InvalidInput(left)
    return merged(stored.settings if stored else None, change)


def _merged_over_doubtful(stored: StoredConfig, change: SmtpChange) -> SmtpSettings:
    """Nothing of a row that cannot be checked is blessed by saving it again: what is bound must all be given."""
    row, reason = stored.row, _unusable(stored.row, stored.condition)
    if row.smtp_password and not change.smtp_password and not change.remove_password:
        raise InvalidInput({"smtp_password": [reason]})
    absent = [column for column in VALUES if not change.given(column) and _says_something(row, column)]
    if not change.given("use_tls") and not change.given("use_ssl"):
        absent.append("use_tls")
    if (row.client_certificate or row.client_key) and not change.remove_client_certificate:
        absent += [field for field in ("client_certificate", "client_key") if not getattr(change, field)]
    if absent:
        raise InvalidInput({field: [reason] for field in absent})
    return merged(stored.settings, change)


def _bearer(stored: StoredConfig | None, settings: SmtpSettings) -> Bearer | None:
    """How the settings sign in by token, if that is how, and somebody has agreed to it."""
    if stored is None or not settings.is_by_token or not stored.row.is_connected:
        return None
    return keeping.bearer_of(stored.row.id, stored.row.oauth_consent)


def _says_something(row: StoredRow, column: str) -> bool:
    """Whether leaving this field alone would bless a value that somebody may have put there."""
    return bool(getattr(row, column) != (DEFAULT_TIMEOUT if column == "timeout_seconds" else ""))


def _settings_of(row: StoredRow, secrets: Mapping[str, str] = NO_TOKENS, *, by_administrator: bool) -> SmtpSettings:
    is_personal = row.account_id is not None and not by_administrator
    values = {setting: getattr(row, column) for column, setting in VALUES.items()} | {"security": _mode(row)}
    values |= {setting: Secret(text) for setting, text in secrets.items()}
    if row.auth_method == TOKEN_METHOD and row.is_connected:
        values["bearer"] = keeping.bearer_of(row.id, row.oauth_consent)
    return SmtpSettings(**values, client_certificate=row.client_certificate, is_personal=is_personal)


def _mode(row: SmtpConfig | StoredRow) -> Security:
    if row.use_ssl:
        return Security.TLS
    return Security.STARTTLS if row.use_tls else Security.NONE


def _binding(row: SmtpConfig | StoredRow, key: bytes, tokens: Mapping[str, str] = NO_TOKENS) -> str:
    """The binding of the row with its own tokens, or with others in their place."""
    scope = "global" if row.account_id is None else f"account:{row.account_id}"
    values = [(column, str(tokens.get(column, getattr(row, column)))) for column in BOUND]
    # Cut to 248 bits, so that its form has room in front of it (RFC 2104 5).
    return FORM + mac(BINDING, [scope, _mode(row), *chain.from_iterable(values)], key)[:62]


def seal(row: SmtpConfig, settings: SmtpSettings, kept: Collection[str] = tuple(SECRETS)) -> None:
    """Store password and client key as tokens, byte for byte the old ones of those that are ``kept``.

    All tokens of a row are under one key, so a new one beside that of a previous key has that sealed anew as well.
    """
    secrets = _secrets(settings)
    held = {column for column, secret in secrets.items() if secret}
    if not row.key_id or not held or not held <= set(kept):
        kept = kept if row.key_id == current_key_id() else []
        row.key_id = current_key_id()
    for column, secret in secrets.items():
        if column not in kept or not secret:
            setattr(row, column, _token(secret))
    row.binding_mac = _binding(row, known_keys()[row.key_id])


def _secrets(settings: SmtpSettings) -> dict[str, Secret]:
    return {column: getattr(settings, setting) for column, setting in SECRETS.items()}


def _token(secret: Secret) -> str:
    return encrypt_smtp_password(secret.reveal()) if secret else ""


def current_seal(stored: StoredConfig) -> Seal:
    """The seal that the current key puts on a good row: the same secrets, and a mark of a test stays good."""
    row, settings = stored.row, stored.settings
    tokens = {column: _token(secret) for column, secret in _secrets(settings).items()}
    # Whether its account is an administrator is of no matter here: the mark stays what it is.
    readings = settings, replace(settings, is_personal=not settings.is_personal)
    marks = (fingerprint(each, reach=reach) for each in readings if (reach := marked_reach(row, each)))
    return Seal(
        **tokens,
        key_id=current_key_id(),
        binding_mac=_binding(row, get_fernet_key(), tokens),
        verified_fingerprint=next(marks, row.verified_fingerprint),
    )


def are_stored(settings: SmtpSettings, stored: StoredConfig) -> bool:
    """Whether these are exactly the stored values, as far as a test exercises them."""
    return stored.is_usable and fingerprint(stored.settings) == fingerprint(settings)


def fingerprint(settings: SmtpSettings, key: bytes | None = None, *, reach: Reach = Reach.EVERYWHERE) -> str:
    """A digest of every value that a test exercises, the password included, keyed with the current key or this one.

    It is another one where the test has ``reach``ed less than everywhere.
    """
    values = [getattr(settings, name) for name in TESTED_FIRST]
    # Where nothing is given for a newer field, the digest is as it was before there was one.
    values += [value for name in TESTED_LATER if (value := getattr(settings, name))]
    values += ["personal"] if settings.is_personal else []
    # Whoever agrees anew may be another, and for what is new nothing is known of the server yet.
    values += ["token", settings.bearer.grant] if settings.bearer else []
    texts = [value.reveal() if isinstance(value, Secret) else str(value) for value in values]
    return mac(FINGERPRINTS[reach], texts, key)


def marks_of(settings: SmtpSettings) -> dict[str, Reach]:
    """Every mark that a test of these values can have left, under the current key or a previous one."""
    keys = known_keys().values()
    return {fingerprint(settings, key, reach=reach): reach for reach in FINGERPRINTS for key in keys}


def marked_reach(row: SmtpConfig | StoredRow, settings: SmtpSettings) -> Reach:
    """To whom mail went in the test whose mark the row has, if that is of these values."""
    return marks_of(settings).get(row.verified_fingerprint or "", Reach.UNSEEN)


def issue_proof(settings: SmtpSettings, reach: Reach = Reach.EVERYWHERE) -> str:
    """A signed statement that these values passed a test now, for a save within the hour; "" where none is proven."""
    if reach not in FINGERPRINTS:
        return ""
    moment = str(int(time.time()))
    return f"{moment}.{mac(PROOF, [moment, fingerprint(settings, reach=reach)])}"


def note_proof(row: SmtpConfig, settings: SmtpSettings, proof: str) -> None:
    """Mark what was tested on screen and is now saved; any other change of tested values takes the mark away."""
    if digest := _proven(proof, settings):
        row.verified_at = datetime.fromtimestamp(int(proof.partition(".")[0]), UTC)
        row.verified_fingerprint, row.last_error = digest, None
    elif not marked_reach(row, settings):
        row.verified_at = row.verified_fingerprint = row.last_error = None


def is_proof(proof: str, settings: SmtpSettings) -> bool:
    """Whether it says that these values passed a test within the hour."""
    return bool(_proven(proof, settings))


def _proven(proof: str, settings: SmtpSettings) -> str:
    """The mark of the test that a proof tells of, if that was of these values, within the hour; or ""."""
    moment, _, signature = proof.partition(".")
    digests = [fingerprint(settings, reach=reach) for reach in FINGERPRINTS]
    signed = [each for each in digests if _signs(signature, moment, each)]
    return signed[0] if signed and time.time() - int(moment) <= PROOF_SECONDS else ""


def _signs(signature: str, moment: str, digest: str) -> bool:
    return hmac.compare_digest(signature.encode(), mac(PROOF, [moment, digest]).encode())

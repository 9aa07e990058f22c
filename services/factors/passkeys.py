"""Passkeys: made and used after the device has verified its person, which is both factors in one.

A challenge is the server's, counts once, for five minutes and in the browser that it was made for.
"""

import base64
import json
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

import structlog
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from database import passkey_db
from database.engine import reading, transaction
from database.passkey_db import LONGEST_NAME, Passkey, PasskeyChallenge
from services import audit
from services.accounts import accounts, sessions
from services.accounts.accounts import Person
from services.audit import Action
from services.factors import enrolment, recovery
from services.factors.relying_party import RelyingParty, relying_party
from utils import clock, late
from utils.encryption_utils import digest, mac
from utils.env_utils import get_settings
from utils.errors import Conflict, InvalidInput, NotFound
from utils.log_utils import printable
from utils.same_names import shared

log = structlog.get_logger(__name__)

CHALLENGE_LIFE: Final = timedelta(minutes=5)
LONGEST_ANSWER: Final = 16_384  # characters; without an attestation, for which nobody is asked, it has about a thousand
MOST: Final = 20  # of one account
_CHALLENGE_BYTES: Final = 32
_USER_PURPOSE: Final = "passkey-user-v1"
FIELD: Final = "passkey"
REFUSED: Final = "This passkey was not accepted. Try again; if it is refused again, sign in another way."
TOO_LONG: Final = "What the browser sent is too long to be a passkey. Try another device."
OVER: Final = "This took more than five minutes, or was begun in another browser. Try again."
_UNNAMED: Final = "Passkey"


class Purpose(StrEnum):
    """What a challenge is for."""

    CREATE = "create"
    SIGN_IN = "sign_in"
    CONFIRM = "confirm"


@dataclass(frozen=True)
class PasskeyInfo:
    """A passkey as its owner sees it."""

    id: int
    name: str
    created_at: datetime
    last_used_at: datetime | None
    count_fell_at: datetime | None


def why_not() -> str:
    """Why there can be no passkeys here; "" if there can."""
    here = relying_party()
    return here if isinstance(here, str) else ""


def of_account(account_id: int) -> list[PasskeyInfo]:
    with reading() as session:
        return [PasskeyInfo(**shared(PasskeyInfo, each)) for each in passkey_db.of_account(session, account_id)]


def options_to_create(account_id: int, bound_to: str) -> str:
    """What a browser needs for making a passkey, as JSON. Raises Conflict where there can be none."""
    here, webauthn, structs = _here(), late.load("webauthn"), late.load("webauthn.helpers.structs")
    with reading() as session:
        known = [each.credential_id for each in passkey_db.of_account(session, account_id)]
    if len(known) >= MOST:
        raise Conflict(f"An account can have {MOST} passkeys. Remove one first.")
    person = accounts.get(account_id)
    options = webauthn.generate_registration_options(
        rp_id=here.id,
        rp_name=get_settings().app_name,
        user_id=bytes.fromhex(mac(_USER_PURPOSE, [str(account_id)])),
        user_name=person.username,
        challenge=_new_challenge(bound_to, Purpose.CREATE),
        timeout=int(CHALLENGE_LIFE.total_seconds() * 1000),
        authenticator_selection=structs.AuthenticatorSelectionCriteria(
            resident_key=structs.ResidentKeyRequirement.REQUIRED,
            user_verification=structs.UserVerificationRequirement.REQUIRED,
        ),
        exclude_credentials=[structs.PublicKeyCredentialDescriptor(id=_bytes_of(each)) for each in known],
    )
    return str(webauthn.options_to_json(options))


def options_to_use(bound_to: str, purpose: Purpose) -> str:
    """What a browser needs for signing with a passkey, whichever its person chooses. Raises Conflict."""
    here, webauthn, structs = _here(), late.load("webauthn"), late.load("webauthn.helpers.structs")
    options = webauthn.generate_authentication_options(
        rp_id=here.id,
        challenge=_new_challenge(bound_to, purpose),
        timeout=int(CHALLENGE_LIFE.total_seconds() * 1000),
        user_verification=structs.UserVerificationRequirement.REQUIRED,
    )
    return str(webauthn.options_to_json(options))


def add(account_id: int, name: str, answer: str, *, bound_to: str, but: str) -> list[str]:
    """Take a passkey into use: recovery codes, if it is the account's first factor.

    ``answer`` is the browser's, as JSON; ``but`` the key of the session that goes on. Raises InvalidInput with the
    field passkey, Conflict.
    """
    here = _here()
    challenge = _answered(answer, bound_to, Purpose.CREATE)
    made = _verified("verify_registration_response", answer, here, challenge)
    new, now = recovery.new_codes(), clock.now()
    row = Passkey(
        account_id=account_id,
        credential_id=_text_of(made.credential_id),
        public_key=made.credential_public_key,
        sign_count=made.sign_count,
        name=printable(name, LONGEST_NAME).strip() or _UNNAMED,
        created_at=now,
    )
    try:
        with transaction() as session:
            account = sessions.held(session, account_id)
            session.add(row)
            session.flush()
            return enrolment.enrolled(session, account, f"passkey “{row.name}”", new, but)
    except IntegrityError:
        raise Conflict("This passkey is in use already.") from None


def sign_in(answer: str, *, bound_to: str) -> Person:
    """Whose passkey answers. Raises InvalidInput with the field passkey."""
    return _used(answer, bound_to, Purpose.SIGN_IN, None)


def confirm(account_id: int, answer: str, *, bound_to: str) -> None:
    """Whoever is at this session proves it by a passkey of the account. Raises InvalidInput with the field passkey."""
    _used(answer, bound_to, Purpose.CONFIRM, account_id)


def remove(account_id: int, passkey_id: int, *, but: str) -> str:
    """Give a passkey up; its name. Raises NotFound."""
    with transaction() as session:
        account = sessions.held(session, account_id)
        name = passkey_db.delete_one(session, account_id, passkey_id)
        if name is None:
            raise NotFound("No such passkey, or it is already removed.")
        enrolment.removed(session, account, f"passkey “{name}”", but)
    return name


def _used(answer: str, bound_to: str, purpose: Purpose, account_id: int | None) -> Person:
    here = _here()
    challenge = _answered(answer, bound_to, purpose)
    with reading() as session:
        found = passkey_db.find(session, _credential_in(answer))
    if found is None or found[1].disabled_at or account_id not in (None, found[1].id):
        _fail(sessions.subject_of(found[1]) if found else accounts.UNKNOWN)
        raise InvalidInput({FIELD: [REFUSED]})
    row, account = found
    try:
        # Of a count that falls we only warn: passkeys that are synchronised count nothing, or each device for itself.
        used = _verified(
            "verify_authentication_response",
            answer,
            here,
            challenge,
            credential_public_key=row.public_key,
            credential_current_sign_count=0,
        )
    except InvalidInput:
        _fail(sessions.subject_of(account))
        raise
    with transaction() as session:
        _note_use(session, row.id, used.new_sign_count, sessions.subject_of(account))
    return accounts.person_of(account)


def _note_use(session: Session, passkey_id: int, sign_count: int, subject: str) -> None:
    row, now = passkey_db.lock(session, passkey_id), clock.now()
    if row is None:
        raise InvalidInput({FIELD: [REFUSED]})
    if sign_count <= row.sign_count and (sign_count or row.sign_count):
        row.count_fell_at = now
        log.warning("passkey_count_fell", account_id=row.account_id, passkey_id=row.id)
        audit.record(session, Action.PASSKEY_COUNT_FELL, subject, [f"passkey “{row.name}”"])
    row.sign_count, row.last_used_at = sign_count, now


def _fail(subject: str) -> None:
    audit.note(Action.SECOND_FACTOR_FAILED, subject, ["passkey"])


def _here() -> RelyingParty:
    here = relying_party()
    if isinstance(here, str):
        raise Conflict(here)
    return here


def _new_challenge(bound_to: str, purpose: Purpose) -> bytes:
    challenge, now = secrets.token_bytes(_CHALLENGE_BYTES), clock.now()
    row = PasskeyChallenge(
        challenge_hash=digest(_text_of(challenge)), bound_to=digest(bound_to), purpose=purpose, made_at=now
    )
    with transaction(durable=False) as session:
        passkey_db.delete_challenges_before(session, now - CHALLENGE_LIFE)
        session.add(row)
    return challenge


def _answered(answer: str, bound_to: str, purpose: Purpose) -> bytes:
    """The challenge that this answers, which is used up by that. Raises InvalidInput."""
    if len(answer) > LONGEST_ANSWER:
        raise InvalidInput({FIELD: [TOO_LONG]})
    try:
        said = json.loads(_bytes_of(json.loads(answer)["response"]["clientDataJSON"]))
        challenge = _bytes_of(said["challenge"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise InvalidInput({FIELD: [REFUSED]}) from None
    since = clock.now() - CHALLENGE_LIFE
    with transaction() as session:
        is_ours = passkey_db.use_challenge(session, digest(_text_of(challenge)), digest(bound_to), purpose, since)
    if not is_ours:
        raise InvalidInput({FIELD: [OVER]})
    return challenge


def _verified(check: str, answer: str, here: RelyingParty, challenge: bytes, **of_it: object) -> Any:  # noqa: ANN401
    """What the library makes of an answer. Raises InvalidInput for whatever it stumbles over: it is a stranger's."""
    try:
        return getattr(late.load("webauthn"), check)(
            credential=answer,
            expected_challenge=challenge,
            expected_rp_id=here.id,
            expected_origin=here.origin,
            require_user_verification=True,
            **of_it,
        )
    except Exception as error:  # it parses CBOR and keys, whose ways to fail are many
        log.info("passkey_refused", kind=type(error).__name__)
        raise InvalidInput({FIELD: [REFUSED]}) from None


def _credential_in(answer: str) -> str:
    """The id of the passkey that answers, in the one spelling that is stored."""
    try:
        return _text_of(_bytes_of(json.loads(answer)["id"]))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise InvalidInput({FIELD: [REFUSED]}) from None


def _bytes_of(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _text_of(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()

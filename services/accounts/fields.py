"""The one check of an account's fields, for the set-up page, one's own page and the command line alike."""

import unicodedata
from dataclasses import dataclass
from typing import Final

from database import user_db
from database.user_db import Account, comparable
from services.accounts import passwords
from utils.addresses import InvalidAddress, parse_recipient
from utils.env_utils import get_settings
from utils.errors import InvalidInput

LONGEST_USERNAME: Final = 64


@dataclass(frozen=True)
class CheckedNames:
    """What an account is called, fit to be stored."""

    username: str
    email: str


@dataclass(frozen=True)
class CheckedFields(CheckedNames):
    """The same with the password, which is hashed already."""

    password_hash: str


def check(username: str, email: str, password: str, errors: dict[str, list[str]] | None = None) -> CheckedFields:
    """Check the fields of a new account, all of them at once; ``errors`` are those found before.

    Raises InvalidInput with the fields username, email and password.
    """
    errors = dict(errors or {})
    try:
        names = check_names(username, email)
        username, email = names.username, names.email
    except InvalidInput as refused:
        errors |= refused.errors
    refusal = _password_refusal(password, username, email)
    if refusal:
        errors["password"] = [refusal]
    if errors:
        raise InvalidInput(errors)
    return CheckedFields(username, email, passwords.hash_password(password))


def check_names(username: str, email: str) -> CheckedNames:
    """Check what an account is called, both at once. Raises InvalidInput with the fields username and email."""
    errors = {}
    fault = _username_fault(username)
    if fault:
        errors["username"] = [fault]
    try:
        email = email_and_key(email)[0]
    except InvalidInput as refused:
        errors |= refused.errors
    if errors:
        raise InvalidInput(errors)
    return CheckedNames(unicodedata.normalize("NFC", username), email)


def email_and_key(text: str) -> tuple[str, str]:
    """The normalised address and the form to look it up by. Raises InvalidInput with the field email."""
    try:
        address = parse_recipient(text)
    except InvalidAddress as refused:
        raise InvalidInput({"email": [str(refused)]}) from None
    key = comparable(address)
    if len(key) > user_db.LONGEST_EMAIL_KEY:
        raise InvalidInput({"email": ["The address is too long."]})
    return address, key


def login_key(login: str) -> str:
    """The key of a user name or an address; "", which nobody has, for what can be neither."""
    login = login.strip()
    try:
        if "@" in login:
            return comparable(parse_recipient(login))
    except InvalidAddress:
        return ""
    return comparable(login) if len(login) <= LONGEST_USERNAME and login.isprintable() else ""


def is_named(login: str, username: str, email: str) -> bool:
    """Whether this is the user name or the address of an account that is called so."""
    key = login_key(login)
    return bool(key) and key in (comparable(username), comparable(email))


def new_password_hash(account: Account, password: str) -> str:
    """The hash of a new password. Raises InvalidInput with the field password if it is not accepted."""
    refusal = _password_refusal(password, account.username, account.email)
    if refusal:
        raise InvalidInput({"password": [refusal]})
    return passwords.hash_password(password)


def _username_fault(username: str) -> str | None:
    if not username:
        return "Enter a user name."
    if len(username) > LONGEST_USERNAME or len(comparable(username)) > user_db.LONGEST_USERNAME_KEY:
        return f"Use at most {LONGEST_USERNAME} characters."
    if not username.isprintable():
        return "Remove line breaks and invisible characters from the user name."
    if username != username.strip():
        return "Remove the spaces around the user name."
    if "@" in comparable(username):  # one signs in with either, so they must not be mistaken
        return "A user name cannot contain @. The email address has its own field."
    return None


def _password_refusal(password: str, username: str, email: str) -> str | None:
    return passwords.refusal(password, (username, email, get_settings().app_name))

"""Sealing is the specification's, byte for byte; every other purpose has a key of its own."""

import base64
import hashlib
import pickle

import pytest
from cryptography.fernet import Fernet
from flask import Flask

from tests.conftest import APP_KEY
from utils.encryption_utils import (
    CannotDecrypt,
    decrypt_smtp_password,
    encrypt_smtp_password,
    mac,
    subkey,
)
from utils.env_utils import get_base_url, get_fernet_key
from utils.secret import Secret

SPECIFIED_KEY = base64.urlsafe_b64encode(hashlib.sha256(APP_KEY.encode()).digest())


def test_the_key_is_the_specified_one(app: Flask) -> None:
    assert get_fernet_key() == SPECIFIED_KEY


def test_the_specified_decryption_opens_our_tokens(app: Flask) -> None:
    assert Fernet(SPECIFIED_KEY).decrypt(encrypt_smtp_password("pä$$ word ").encode()).decode() == "pä$$ word "


def test_we_open_tokens_of_the_specified_encryption(app: Flask) -> None:
    assert decrypt_smtp_password(Fernet(SPECIFIED_KEY).encrypt(b"secret").decode()) == "secret"


FOREIGN = "gAAAAABrAFn_A2aExNZ4r_PmViF9y5u6F2Hdc-d5R_oMMBYK2a6oGrkudmK8zq5VRnk65DUCR6qZzG8LAHWEp4a-PqCc_n3R-Q=="


@pytest.mark.parametrize("token", ["", "rubbish", "gAAAAA", "ü", FOREIGN])
def test_what_cannot_be_opened_says_so_without_the_token(app: Flask, token: str) -> None:
    with pytest.raises(CannotDecrypt) as caught:
        decrypt_smtp_password(token)
    assert not token or token not in str(caught.value)
    assert caught.value.__cause__ is None


def test_purposes_have_keys_of_their_own(app: Flask) -> None:
    keys = {subkey("session-v1"), subkey("csrf-v1"), subkey("smtp-binding-v1"), get_fernet_key()}
    assert len(keys) == 4


def test_a_mac_tells_apart_lists_that_join_to_the_same_text(app: Flask) -> None:
    assert mac("x", ["ab", "c"]) != mac("x", ["a", "bc"])


def test_base_url_is_the_configured_one(app: Flask) -> None:
    assert get_base_url() == "http://localhost:5000"


@pytest.mark.parametrize("shown", [repr, str, "{}".format, "%s".__mod__])
def test_a_secret_does_not_print(shown: object) -> None:
    assert "hunter2" not in shown(Secret("hunter2"))  # type: ignore[operator]


def test_a_secret_does_not_pickle() -> None:
    with pytest.raises(TypeError):
        pickle.dumps(Secret("hunter2"))

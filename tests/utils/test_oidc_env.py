"""What is said of the provider that people sign in with, and what stops the start."""

import pytest

from utils.env_reader import ConfigurationError, Reader
from utils.oidc_env import OidcSettings, named_by

USUAL = {"OIDC_ISSUER": "https://id.example.com", "OIDC_CLIENT_ID": "sealpost"}


def read(*, is_production: bool = True, **more: str) -> OidcSettings | None:
    return named_by(Reader(USUAL | more), is_production=is_production)


def test_nothing_but_the_issuer_and_the_client_is_needed() -> None:
    found = read()
    assert found
    assert (found.name, found.scopes) == ("id.example.com", ("openid", "profile", "email"))
    assert (found.is_only, found.creates_accounts, found.admin_claim) == (False, False, "")


def test_without_an_issuer_there_is_none() -> None:
    assert named_by(Reader({}), is_production=True) is None


def test_the_secret_is_not_printed() -> None:
    assert "s3cret" not in repr(read(OIDC_CLIENT_SECRET="s3cret"))


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"OIDC_ISSUER": ""}, "OIDC_CLIENT_ID is set and OIDC_ISSUER is not"),
        ({"OIDC_ISSUER": "http://id.example.com"}, "OIDC_ISSUER must be"),
        ({"OIDC_ISSUER": "http://localhost:8080"}, "OIDC_ISSUER must be"),
        ({"OIDC_ISSUER": "https://id.example.com/?a=b"}, "OIDC_ISSUER must be"),
        ({"OIDC_ISSUER": "https://user@id.example.com"}, "OIDC_ISSUER must be"),
        ({"OIDC_ISSUER": "id.example.com"}, "OIDC_ISSUER must be"),
        ({"OIDC_CLIENT_ID": ""}, "OIDC_CLIENT_ID is not set"),
        ({"OIDC_CLIENT_SECRET": "gehe\u00efm"}, "OIDC_CLIENT_SECRET must be printable ASCII"),
        ({"OIDC_SCOPES": "profile email"}, "openid among them"),
        ({"OIDC_ADMIN_CLAIM": "groups"}, "OIDC_ADMIN_VALUE is not set"),
        ({"OIDC_ADMIN_VALUE": "admins"}, "OIDC_ADMIN_CLAIM is not set"),
        ({"OIDC_ONLY": "perhaps"}, "OIDC_ONLY must be true or false"),
        ({"OIDC_RECHECK_MINUTES": "-1"}, "OIDC_RECHECK_MINUTES"),
        ({"OIDC_NAME": "n" * 41}, "OIDC_NAME must be"),
    ],
)
def test_what_is_not_understood_stops_the_start(variables: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        named_by(Reader(USUAL | variables), is_production=True)


def test_in_development_a_provider_of_this_machine_may_go_without_tls() -> None:
    assert read(is_production=False, OIDC_ISSUER="http://localhost:8080")

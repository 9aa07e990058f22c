"""Single sign-on at a provider that others wrote, from the first sign-in to the last."""

import re
from collections.abc import Iterator
from html import unescape
from urllib.parse import parse_qs, urlsplit

import pytest
from werkzeug.test import TestResponse

from services.accounts import accounts
from services.single_sign_on import provider as known
from tests.peers.oidc_peer import OidcPeer
from tests.visitors import Visitor

ADA = {"preferred_username": "ada", "email": "ada@example.com", "email_verified": True}


@pytest.fixture
def peer() -> Iterator[OidcPeer]:
    known.forget_all()
    with OidcPeer() as running:
        yield running
    known.forget_all()


@pytest.fixture
def environment(environment: dict[str, str], peer: OidcPeer) -> dict[str, str]:
    return environment | {
        "OIDC_ISSUER": peer.url,
        "OIDC_CLIENT_ID": "sealpost",
        "OIDC_CLIENT_SECRET": "cl1ent-s3cret",
        "OIDC_ADMIN_CLAIM": "groups",
        "OIDC_ADMIN_VALUE": "mail-admins",
        "OIDC_CREATE_ACCOUNTS": "true",
    }


def test_somebody_comes_in_loses_the_group_signs_out_there_and_comes_in_by_nothing_else(
    client: Visitor, peer: OidcPeer
) -> None:
    def sign_in(subject: str) -> TestResponse:
        back = urlsplit(peer.come_back(client.get("/login/oidc").headers["Location"], subject))
        return client.get(f"{back.path}?{back.query}")

    peer.says_of("subject-of-ada", groups=["staff", "mail-admins"], **ADA)
    assert sign_in("subject-of-ada").headers["Location"] == "/"
    assert client.get("/settings/accounts").status_code == 200

    peer.says_of("subject-of-ada", groups=["staff"], **ADA)
    assert sign_in("subject-of-ada").headers["Location"] == "/account"
    assert client.get("/settings/accounts").status_code == 403

    assert client.post_form("/logout").headers["Location"] == "/signed-out"
    found = re.search(r'href="([^"]+end_session[^"]+)"', client.get("/signed-out").text)
    assert found and peer.page(unescape(found[1])) == 200
    assert parse_qs(urlsplit(unescape(found[1])).query)["post_logout_redirect_uri"] == [
        "http://localhost:5000/signed-out"
    ]

    peer.says_of("another-subject", groups=["mail-admins"], **ADA)
    refused = sign_in("another-subject")
    assert refused.status_code == 401 and "another account’s here" in refused.text
    assert [(person.username, person.is_admin) for person in accounts.everybody()] == [("ada", False)]

"""What a token service says over real HTTP leads to the advice for it."""

from typing import Final

import pytest

from services.diagnosis.diagnosis import diagnose
from services.diagnosis.picture import Picture
from services.oauth import grants
from services.oauth.client import OAuthClient, TokenPolicy
from services.oauth.failures import TokenFailure, as_delivery_error
from services.oauth.providers import Grant, TokenProvider
from tests import oauth_faults
from tests.oauth_provider import OAuthProviderServer
from tests.smtp_clients import shop_settings
from utils.secret import Secret

PICTURE: Final = Picture(settings=shop_settings())
SAMPLE: Final = (
    (oauth_faults.aadsts(7000222, "invalid_client"), "AADSTS7000222"),
    (oauth_faults.aadsts(7000215, "invalid_client"), "AADSTS7000215"),
    (oauth_faults.aadsts(700082), "AADSTS700082"),
    (oauth_faults.aadsts(50173), "AADSTS50173"),
    (oauth_faults.aadsts(53003), "AADSTS53003"),
    (oauth_faults.aadsts(50076, "interaction_required"), "AADSTS50076"),
    (oauth_faults.error("invalid_grant", "Token has been expired or revoked."), "expired_or_revoked"),
    (oauth_faults.error("invalid_grant", "reauth related error", error_subtype="invalid_rapt"), "reauthentication"),
    (oauth_faults.error("invalid_grant", "Bad Request"), "invalid_grant"),
    (oauth_faults.error("deleted_client", "The OAuth client was deleted.", 401), "client_not_found"),
    (oauth_faults.error("org_internal", status=403), "org_internal"),
    (oauth_faults.error("made_up", "<b>Do this</b>"), "other"),
    (oauth_faults.page(), "bad_answer"),
    (oauth_faults.page(502), "unavailable"),
    (oauth_faults.megabyte(), "bad_answer too_large"),
    (oauth_faults.redirect("https://elsewhere.example/"), "redirected"),
    (oauth_faults.Dropped(), "unreachable closed"),
    (oauth_faults.saying({"error": "temporarily_unavailable"}, 503), "temporarily_unavailable"),
)


def test_what_a_token_service_really_says_leads_to_its_advice(
    server: OAuthProviderServer, microsoft: TokenProvider, client: OAuthClient, policy: TokenPolicy
) -> None:
    for answer, name in SAMPLE:
        server.next("token", answer)
        with pytest.raises(TokenFailure) as caught:
            grants.refresh(microsoft, client, Grant.CODE, Secret("refresh"), policy)
        found = diagnose(as_delivery_error(caught.value), PICTURE)
        assert found.rule == f"token:{name}"
        assert "Do this" not in " ".join((found.title, found.meaning, found.cause, found.remedy))

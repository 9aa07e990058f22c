"""What is registered at a provider so that a server can be signed in to by token, as a value."""

from dataclasses import dataclass, replace
from datetime import date
from typing import Final

from services.oauth import providers
from services.oauth.client import OAuthClient, ServiceAccount, service_account
from services.oauth.providers import CLOUDS, Grant, OAuthProvider, TokenProvider, UnusableProvider
from services.smtp.settings import Identity
from utils.secret import Secret

NONE: Final = Secret("")
DEFAULT_TENANT: Final = "organizations"


@dataclass(frozen=True, kw_only=True)
class Registration:
    """An application at a provider, and the way in which it gets tokens.

    ``service_account`` is the whole JSON file of its key. What a provider knows no use for is "".
    """

    provider: OAuthProvider
    way: Grant
    tenant: str = ""
    cloud: str = ""
    authority: str = ""
    authorize_url: str = ""
    token_url: str = ""
    device_url: str = ""
    revoke_url: str = ""
    issuer: str = ""
    scope: str = ""
    client_id: str = ""
    client_certificate: str = ""
    client_secret: Secret = NONE
    client_key: Secret = NONE
    service_account: Secret = NONE
    secret_ends_on: date | None = None
    is_testing: bool = False

    def token_provider(self, smtp_host: str, *, may_be_plain: bool = False) -> TokenProvider:
        """Where its tokens are from, and to which mail servers they may go. Raises UnusableProvider."""
        if self.provider is OAuthProvider.GOOGLE:
            found = providers.google()
        elif self.provider is OAuthProvider.FASTMAIL:
            found = providers.fastmail()
        elif self.provider is OAuthProvider.MICROSOFT:
            found = providers.microsoft(
                self.tenant or DEFAULT_TENANT,
                cloud=CLOUDS.get(self.cloud, providers.WORLDWIDE),
                authority=self.authority,
                scope=self.scope,
                may_be_plain=may_be_plain,
            )
        else:
            found = providers.custom(
                token_url=self.token_url,
                scope=self.scope,
                smtp_host=smtp_host,
                authorize_url=self.authorize_url,
                device_url=self.device_url,
                revoke_url=self.revoke_url,
                issuer=self.issuer,
                may_be_plain=may_be_plain,
            )
        if not found.takes_token(smtp_host):
            raise UnusableProvider("This provider’s tokens are for its own mail servers only. Check the server name.")
        return found

    @property
    def client(self) -> OAuthClient:
        """The application as it shows itself."""
        identity = Identity(self.client_certificate, self.client_key) if self.client_certificate else None
        return OAuthClient(client_id=self.client_id, secret=self.client_secret or None, certificate=identity)

    @property
    def account(self) -> ServiceAccount:
        """The service account. Raises UnusableKey."""
        return service_account(self.service_account.reveal())

    @property
    def is_app_only(self) -> bool:
        """Whether nobody signs in: the application gets a token by itself."""
        return self.way in (Grant.CLIENT_CREDENTIALS, Grant.SERVICE_ACCOUNT)

    def without_secrets(self) -> "Registration":
        """The same, to be shown."""
        return replace(self, client_secret=NONE, client_key=NONE, service_account=NONE)

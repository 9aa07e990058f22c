"""What the page that connects a server may load, and where its form may lead."""

from typing import Final

from services.oauth.registration import Registration

# A sign-in leads on to the provider, and from there to whoever its organisation signs in with: Chromium applies
# form-action to all of that.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; frame-src 'self'; form-action 'self' https:{more}; base-uri 'none'; frame-ancestors 'none'; "
    "object-src 'none'"
)


def for_page(registration: Registration | None) -> str:
    """The Content-Security-Policy of the page, with what is registered for the server."""
    return _POLICY.format(more=_plain_origin(registration))


def _plain_origin(registration: Registration | None) -> str:
    """Of a provider on this machine, in development."""
    url = (registration.authority or registration.authorize_url) if registration else ""
    parts = url.split("/")
    return f" {parts[0]}//{parts[2]}" if url.startswith("http://") and len(parts) > 2 and "@" not in parts[2] else ""  # noqa: PLR2004

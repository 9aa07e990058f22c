"""An application whose people may sign in at a provider of the tests."""

from tests.oidc_people import environment, more, provider

__all__ = ["environment", "more", "provider"]

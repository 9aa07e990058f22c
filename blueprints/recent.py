"""What asks for a recent sign-in, so that a browser that was left open is no way to more than it shows."""


def require_recent_sign_in() -> None:
    """Nothing yet."""

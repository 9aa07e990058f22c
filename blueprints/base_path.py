"""Everything below the path of ``BASE_URL``, whether the proxy in front passes that path on or takes it off."""

from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment


class BelowPath:
    """Tells the application inside where it is mounted (PEP 3333: SCRIPT_NAME); whoever asks directly need not know."""

    def __init__(self, inside: WSGIApplication, path: str) -> None:
        self._inside = inside
        self._path = path

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        asked = environ.get("PATH_INFO", "")
        if asked == self._path or asked.startswith(f"{self._path}/"):
            # Never "", for which Werkzeug would redirect to the request's own Host.
            environ["PATH_INFO"] = asked.removeprefix(self._path) or "/"
        environ["SCRIPT_NAME"] = self._path
        return self._inside(environ, start_response)

"""Modules that are imported when they are first needed, because most processes never need them. The only such place.

Everything else is imported at the top of its file. A name of ours in this list is an arrow like any other import, and
the architecture test reads it as one.
"""

import importlib
import sys
from typing import Any, Final

LATE: Final = {
    "services.worker.celery_tasks": "slower to load than all of ours, and only users of a broker need it",
    "services.alerts.tasks": "imports Celery, likewise",
    "services.oauth.session": "Authlib and requests, 27 MiB that only whoever asks for a token needs",
    "services.single_sign_on.id_token": "imports joserfc, which only whoever is signed in by a provider needs",
    "services.inbox_listening": "aiosmtpd and attrs, 1 MiB that only development needs",
    "services.message.html_text": "lxml and Inscriptis, 5 MiB that only mail without a text of its own needs",
    "blueprints.cli.register": "2 MiB with the gateway; a server has no commands",
    "css_inline": "2 MiB that only whoever writes mail of a template needs",
    "dns": "3 MiB that only whoever asks the DNS for more than an address needs",
    "dns.resolver": "likewise",
    "prometheus_client.core": "only whoever is scraped needs it",
    "prometheus_client.exposition": "likewise",
    "opentelemetry.trace": "only where spans are made",
    "opentelemetry.context": "likewise",
    "opentelemetry.sdk.trace": "likewise",
    "opentelemetry.sdk.trace.export": "likewise",
    "opentelemetry.sdk.resources": "likewise",
    "opentelemetry.exporter.otlp.proto.http.trace_exporter": "likewise",
    "webauthn": "pyOpenSSL and CBOR, which only whoever uses a passkey needs",
    "webauthn.helpers.structs": "likewise",
    "segno": "only whoever sets up an authenticator app is shown a QR code",
    "flask_migrate": "Alembic and Mako; only whoever migrates needs them",
    "flask_migrate.cli": "likewise",
    "blueprints.under_gunicorn": "imports gunicorn, which only whoever is served by it needs",
    "redis.backoff": "the whole of redis; only who counts mails there needs it",
    "redis.retry": "likewise",
}


def load(module: str) -> Any:  # noqa: ANN401 - what a type checker sees of a module is its file's imports
    """The module with this name, imported now if it has not been yet. It must stand in LATE, with its reason."""
    if module not in LATE:
        raise LookupError(f"{module} is not in utils.late.LATE")
    return importlib.import_module(module)


def loaded(module: str) -> Any:  # noqa: ANN401
    """The module with this name if something else in this process has imported it, whole; None if nothing has.

    Another thread may be in the midst of importing it: that is waited for.
    """
    if module not in sys.modules:
        return None
    try:
        return importlib.import_module(module)
    except ImportError:  # the other import failed
        return None

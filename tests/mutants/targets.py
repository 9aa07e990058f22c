"""The modules whose tests are put to the proof, and the tests that concern each."""

from typing import Final

_SMTP: Final = "tests/services/smtp/test_smtp_client"

TARGETS: Final[dict[str, tuple[str, ...]]] = {
    "services/delivery/retry_policy.py": (
        "tests/services/delivery/test_retry_policy.py",
        "tests/services/delivery/test_verdicts.py",
        "tests/services/diagnosis/test_retry_hints.py",
        "tests/services/worker/test_settling.py",
        "tests/services/worker/test_whose_fault.py",
    ),
    "services/worker/settling.py": (
        "tests/services/worker/test_settling.py",
        "tests/services/worker/test_outbox_work.py",
        "tests/services/worker/test_our_faults.py",
        "tests/services/worker/test_whose_fault.py",
    ),
    "services/settings/sealing.py": (
        "tests/services/settings/test_sealing.py",
        "tests/services/settings/test_stored_rows.py",
        "tests/services/settings/test_smtp_configs.py",
        "tests/services/settings/test_key_rotation.py",
        "tests/services/settings/test_client_certificate_stored.py",
        "tests/services/settings/test_named_configs.py",
        "tests/blueprints/pages/test_verified.py",
    ),
    "blueprints/access.py": (
        "tests/blueprints/test_access.py",
        "tests/blueprints/test_acting.py",
        "tests/blueprints/api/test_bearer.py",
        "tests/blueprints/pages/test_auth.py",
        "tests/blueprints/pages/test_account.py",
    ),
    "services/message/headers.py": (
        "tests/services/message/test_headers.py",
        "tests/services/message/test_composing_headers.py",
        "tests/services/message/test_composing_properties.py",
        "tests/services/message/test_composing.py",
        "tests/services/message/test_mailboxes.py",
    ),
    "services/delivery/circuit.py": (
        "tests/services/delivery/test_circuit.py",
        "tests/services/worker/test_whose_fault.py",
        "tests/services/delivery/test_failover.py",
    ),
    "services/delivery/standing.py": (
        "tests/services/delivery/test_circuit.py",
        "tests/services/worker/test_whose_fault.py",
        "tests/services/worker/test_outbox_work.py",
    ),
    "services/smtp/standing.py": (
        "tests/services/smtp/test_smtp_pool.py",
        f"{_SMTP}_sending.py",
        f"{_SMTP}_pipelined.py",
        f"{_SMTP}_chunking.py",
    ),
    "services/smtp/prologue.py": (
        f"{_SMTP}_opening.py",
        f"{_SMTP}_sign_in.py",
        f"{_SMTP}_steps.py",
        f"{_SMTP}_tls.py",
        f"{_SMTP}_hostile.py",
    ),
    "services/smtp/exchange.py": (
        f"{_SMTP}_sending.py",
        f"{_SMTP}_pipelined.py",
        f"{_SMTP}_chunking.py",
        f"{_SMTP}_odd_replies.py",
        f"{_SMTP}_hostile.py",
        "tests/services/smtp/test_smtp_pool.py",
    ),
}

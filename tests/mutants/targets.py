"""The modules whose tests are put to the proof, and the tests that concern each."""

from typing import Final

_SMTP: Final = "tests/services/smtp"

TARGETS: Final[dict[str, tuple[str, ...]]] = {
    "services/delivery/retry_policy.py": (
        "tests/services/delivery/test_retry_policy.py",
        "tests/services/delivery/test_every_verdict.py",
        "tests/services/delivery/test_verdicts.py",
        "tests/services/delivery/test_verdicts_by_words.py",
        "tests/services/diagnosis/test_reply_classes.py",
        "tests/services/diagnosis/test_retry_hints.py",
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
        "tests/blueprints/test_client_limits.py",
        "tests/blueprints/test_local_paths.py",
        "tests/blueprints/test_acting.py",
        "tests/blueprints/api/test_bearer.py",
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
        "tests/services/delivery/test_standing.py",
        "tests/services/delivery/test_circuit.py",
        "tests/services/worker/test_whose_fault.py",
        "tests/services/worker/test_outbox_work.py",
    ),
    "services/smtp/standing.py": (
        f"{_SMTP}/test_smtp_standing.py",
        f"{_SMTP}/test_server_habits.py",
        f"{_SMTP}/test_smtp_pool.py",
        f"{_SMTP}/test_smtp_client_chunking.py",
        f"{_SMTP}/test_smtp_client_pipelined.py",
    ),
    "services/smtp/prologue.py": (
        f"{_SMTP}/test_smtp_prologue.py",
        f"{_SMTP}/test_smtp_standing.py",
        f"{_SMTP}/test_server_habits.py",
        f"{_SMTP}/test_smtp_pool.py",
        f"{_SMTP}/test_smtp_client_sending.py",
        f"{_SMTP}/test_smtp_client_extensions.py",
        f"{_SMTP}/test_smtp_client_pipelined.py",
        f"{_SMTP}/test_smtp_client_chunking.py",
    ),
    "services/smtp/exchange.py": (
        f"{_SMTP}/test_smtp_prologue.py",
        f"{_SMTP}/test_smtp_standing.py",
        f"{_SMTP}/test_server_habits.py",
        f"{_SMTP}/test_smtp_pool.py",
        f"{_SMTP}/test_smtp_client_sending.py",
        f"{_SMTP}/test_smtp_client_pipelined.py",
        f"{_SMTP}/test_smtp_client_chunking.py",
        f"{_SMTP}/test_smtp_client_steps.py",
        f"{_SMTP}/test_smtp_client_odd_replies.py",
        f"{_SMTP}/test_smtp_client_hostile.py",
    ),
}

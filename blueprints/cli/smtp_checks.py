"""`flask smtp test`, `route`, `validate` and `domain`: what is tried and looked at, with an exit code for scripts."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict
from typing import Any, Final, NoReturn

import click

from blueprints import smtp_tests
from blueprints.cli.accounts import named as account_named
from blueprints.cli.frame import DONE, NOT_WELL, answer, command, leave, print_json, table
from blueprints.cli.smtp import named, where_mail_goes
from services.checks import connection_test, noting, validation
from services.checks.connection_test import TestResult, Waiting
from services.checks.validation import Check, Mark, Told
from services.diagnosis import diagnosis
from services.diagnosis.mending import Mend
from services.domain import check as domain_check
from services.domain.check import DomainReport
from services.domain.records import DnsRecord, Grade
from services.settings import health, protection
from services.settings import route as smtp_route
from services.settings.fields import parse_address_field
from services.settings.health import Health, HealthData
from services.settings.personal_route import INSTEAD, UnusableAccount
from services.settings.route import RouteStep
from services.smtp.client import Step
from services.smtp.settings import SmtpSettings
from utils.errors import AppError, Conflict, Phase
from utils.json_shapes import json_of
from utils.log_utils import printable
from utils.version import VERSION

# Documented, so never changed: scripts go by them.
_EXITS: Final = (
    (10, "settings: no server that can be tested", (Phase.SETTINGS,)),
    (11, "DNS: the server's name was not found", (Phase.DNS,)),
    (12, "connect", (Phase.CONNECT,)),
    (13, "greeting", (Phase.GREETING,)),
    (14, "EHLO", (Phase.EHLO,)),
    (15, "encryption: TLS, or the certificate", (Phase.ENCRYPTION,)),
    (16, "sign-in", (Phase.SIGN_IN,)),
    (17, "sender address", (Phase.SENDER,)),
    (18, "recipient", (Phase.RECIPIENT,)),
    (19, "message", (Phase.DATA, Phase.MESSAGE, Phase.QUIT)),
)
_TEST_EXITS: Final = {DONE: "the test passed", **{code: told for code, told, _ in _EXITS}}
EXIT_OF_PHASE: Final = {phase: code for code, _, phases in _EXITS for phase in phases}
ENV_NAME: Final = ".env"
DELIVER: Final = "To deliver it anyway, add --yes."
_AND_TEST: Final = " and test again"  # here it is another command
_SIGNS: Final = {"ok": "✓", "warning": "!", "failed": "✗", "skipped": "-"}
_GRADES: Final = {Grade.GOOD: "✓", Grade.CHANGE: "✗", Grade.OPEN: "?"}
_LONGEST: Final = 4096  # characters of a DNS record
_MARKS: Final = {Mark.OK: "✓", Mark.FAILED: "✗", Mark.INFO: "ℹ"}


@command(None, "test", exits=_TEST_EXITS, needs_tables=False)
@click.argument("name", required=False)
@click.option("--to", default="", metavar="ADDRESS", help="Also send a test email.")
@click.option("--rcpt", default="", metavar="ADDRESS", help="Recipient to name. Default: the first administrator.")
@click.option("--yes", is_flag=True, help="Deliver it even though MAIL_SUPPRESS_SEND is on.")
def test(name: str | None, *, to: str, rcpt: str, yes: bool, as_json: bool) -> None:
    """Test a mail server; without NAME the one in use.

    NAME can also be its id, or .env for the server that is set there. Prints each step as it happens. Without --to it
    goes as far as the recipient, and sends no email.
    """
    to = parse_address_field("--to", to) if to else ""
    rcpt = parse_address_field("--rcpt", rcpt) if rcpt else ""
    if to:
        smtp_tests.check_delivery("--to", DELIVER, is_confirmed=yes)
    server = _to_test(name)
    if server.settings is None:
        _not_testable(server.reason, as_json)
    result = tested(server, server.settings, to, rcpt, is_quiet=as_json)
    told = smtp_tests.course(result) | smtp_tests.failure(result)
    answer(as_json, {"ok": result.ok, "message": result.headline, **told}, *result_lines(result, to))
    leave(EXIT_OF_PHASE[result.error.phase] if result.error else DONE)


test.__test__ = False  # type: ignore[attr-defined]


def tested(
    server: RouteStep,
    settings: SmtpSettings,
    to: str = "",
    rcpt: str = "",
    *,
    is_quiet: bool = False,
    err: bool = False,
) -> TestResult:
    """Test a server and note the result; its steps are printed as they happen, on standard error with ``err``."""
    administrator = validation.first_administrator()
    prepared = connection_test.plan(
        settings, to=to, rcpt=rcpt, also=administrator, config_name=server.name, server=server
    )
    with closing(connection_test.listen(prepared)) as items:
        for item in items:
            if isinstance(item, TestResult):
                noting.note_test(settings, item, server.config_id)
                return item
            if item and not is_quiet:
                click.echo(_step_line(item) if isinstance(item, Step) else _waiting_line(item), err=err)
    raise AssertionError("a test ends with its result")


@command(None, "route", exits={DONE: "mail can be sent", NOT_WELL: "no server can be used"}, needs_tables=False)
@click.argument("account", required=False)
def route(account: str | None, *, as_json: bool) -> None:
    """Show which server is in use, and why.

    Each server is in use, standby, or skipped with the reason. Pass the user name or address of an ACCOUNT to see which
    server sends that account's mail.
    """
    account_id = account_named(account).id if account is not None else None
    try:
        steps = list(smtp_route.steps(account_id))
    except UnusableAccount as refused:
        raise Conflict(refused.reason) from None
    used = smtp_route.first_of(steps)
    withheld = protection.standing(steps)
    known = [health.of_step(step) if step.settings and not step.is_local_inbox else None for step in steps]
    told = [
        _step_dict(step, used, withheld.get(step.source, ""), found) for step, found in zip(steps, known, strict=True)
    ]
    rows = [
        (
            str(place),
            each["name"],
            each["server"],
            each["status"],
            f"{each['reason']} {found.sentence if found else ''}".strip(),
        )
        for place, (each, found) in enumerate(zip(told, known, strict=True), 1)
    ]
    lines = table(("", "Server", "Address", "Status", "Why"), rows)
    data = {"used": used.name if used else None, "suppressed": smtp_route.is_suppressed(), "steps": told}
    answer(as_json, data, *lines, f"\n{where_mail_goes(steps)}")
    leave(DONE if used else NOT_WELL)


@command(None, "validate", exits={DONE: "every check passed", NOT_WELL: "a check failed"}, needs_tables=False)
@click.option(
    "--test-email",
    is_flag=False,
    flag_value="",
    default=None,
    metavar="[ADDRESS]",
    help="Also send a test email; without ADDRESS to the first administrator.",
)
@click.option("--yes", is_flag=True, help="Send it even though MAIL_SUPPRESS_SEND is on.")
def validate(*, test_email: str | None, yes: bool, as_json: bool) -> None:
    """Check everything that sending depends on.

    For deploy scripts: the exit code is 0 only if every check passes. It checks the server in use, with a connection
    test that sends no email unless you pass --test-email; APP_KEY and what it unseals; the route; BASE_URL; the
    server's name in DNS; and waiting email.
    """
    if test_email is not None:
        smtp_tests.check_delivery("--test-email", DELIVER, is_confirmed=yes)
    checks = validation.checks(test_email)
    leave(run_all(checks, as_json=as_json))


@command(
    None,
    "domain",
    exits={DONE: "no record needs a change", NOT_WELL: "a record is missing or wrong"},
    needs_tables=False,
)
@click.argument("domain", default="")
@click.option("--server", default="", metavar="HOST", help="The mail server that must be allowed to send.")
def domain(domain: str, *, server: str, as_json: bool) -> None:
    """Check SPF, DKIM, DMARC and MX of a From domain.

    Without DOMAIN, the From domain of the server in use. Prints the records found, and those to add.
    """
    if not domain:
        domain, current = domain_check.sending_now()
        server = server or current
    if not domain:
        raise AppError(f"{diagnosis.NOT_CONFIGURED}. Pass a domain: flask smtp domain example.com --server HOST")
    report = domain_check.check(domain, server)
    through = f", sent through {report.provider or report.server}" if report.server else ""
    lines = [f"{report.domain}{through}"]
    for finding in report.findings:
        lines.append(f"\n{_GRADES[finding.outcome]} {finding.subject}: {printable(finding.text, _LONGEST)}")
        lines += [f"  Found: {printable(seen, _LONGEST)}" for seen in finding.seen]
        lines += [_line_of(record) for record in finding.add]
    answer(as_json, json_of(DomainReport, report), *lines)
    leave(NOT_WELL if report.outcome is Grade.CHANGE else DONE)


def _line_of(record: DnsRecord) -> str:
    value = printable(record.value, _LONGEST) or "(as your provider shows)"
    return f"  {'Replace it with' if record.instead else 'Add'}: {record.host}  {record.kind}  {value}"


def run_all(checks: Sequence[Check], *, as_json: bool, **more: object) -> int:
    """Print each check as it is made, or all as JSON with ``more`` beside them; gives the exit code."""
    told = [(check, _run(number, check, as_json)) for number, check in enumerate(checks, 1)]
    holds = all(finding.mark is not Mark.FAILED for _, findings in told for finding in findings)
    if as_json:
        print_json({"ok": holds, **more, "checks": [_check_dict(check, findings) for check, findings in told]})
    return DONE if holds else NOT_WELL


def _run(number: int, check: Check, as_json: bool) -> list[Told]:
    if not as_json:
        click.echo(f"{'' if number == 1 else chr(10)}{number}. Checking {check.title}...")
    findings = []
    for finding in check.findings():
        findings.append(finding)
        if not as_json:
            _print_finding(finding)
    return findings


def _print_finding(finding: Told) -> None:
    text = printable(finding.text, 500)
    click.echo(f"\n   {text}" if finding.mark is Mark.BEGUN else f"   {_MARKS[finding.mark]} {text}")
    if finding.remedy:
        click.echo(f"     {printable(finding.remedy, 1000)}")


def _check_dict(check: Check, findings: list[Told]) -> dict[str, Any]:
    return {
        "title": check.title,
        "ok": all(finding.mark is not Mark.FAILED for finding in findings),
        "findings": [asdict(finding) for finding in findings if finding.mark is not Mark.BEGUN],
    }


def _to_test(name: str | None) -> RouteStep:
    """The server that is asked for; without settings, and with the reason, if it cannot be tested."""
    if name is not None:
        return smtp_route.without_database() if name == ENV_NAME else smtp_route.step_of(named(name))
    steps = list(smtp_route.steps())
    reason = " ".join(step.reason for step in steps)
    return smtp_route.first_of(steps) or RouteStep(source="", name="", reason=reason)


def _not_testable(reason: str, as_json: bool) -> NoReturn:
    told = {"ok": False, "message": diagnosis.NOT_CONFIGURED, "remedy": reason, "steps": []}
    answer(as_json, told, f"✗ {diagnosis.NOT_CONFIGURED}\n  {reason}")
    leave(EXIT_OF_PHASE[Phase.SETTINGS])


def _step_line(step: Step) -> str:
    label = diagnosis.STEP_LABELS[step.name]
    return f"{_SIGNS[step.status]} {label:<11}{step.ms:>6} ms  {printable(step.fact, 500)}"


def _waiting_line(waiting: Waiting) -> str:
    return f"… {diagnosis.STEP_LABELS[waiting.name]:<11}waiting for a reply, {waiting.seconds} s"


def result_lines(result: TestResult, to: str) -> Iterator[str]:
    yield from _verdict_lines(result, to)
    if result.habits:
        yield f"  Known of the server: it {'; it '.join(result.habits)}."
    yield f"  Sealpost {VERSION}"


def _verdict_lines(result: TestResult, to: str) -> Iterator[str]:
    if result.ok:
        yield f"\n✓ {result.headline}{f': test email sent to {to}' if to else '; no email was sent'}"
        if result.caveat:
            yield f"  {result.caveat}"
        return
    yield f"\n✗ {result.message}"
    if told := result.diagnosis:
        ways = [_way(action) for action in told.actions if not action.retype]
        texts = (f"{told.title}. {told.meaning}", told.cause, told.remedy, told.pause, *ways, told.docs_url)
        yield from (f"  {text}" for text in texts if text)
    if result.server_line:
        yield f"  The server said: {result.server_line}"


def _way(action: Mend) -> str:
    command = ", with: flask smtp connect" if action.leads_to else ""
    return f"Or: {action.label.removesuffix(_AND_TEST)}{command}"


def _status(step: RouteStep, used: RouteStep | None) -> str:
    if step is used:
        return "in use"
    return "standby" if step.settings and _may_stand_in(step, used) else "skipped"


def _may_stand_in(step: RouteStep, used: RouteStep | None) -> bool:
    return not used or not used.is_personal or used.failover


def _reason(step: RouteStep, used: RouteStep | None) -> str:
    """Behind an account's own server it is the policy that tells when another sends."""
    is_behind = used is not None and used.is_personal and step is not used and step.settings
    return INSTEAD[used.falls_back] if used and is_behind else step.reason


def _step_dict(step: RouteStep, used: RouteStep | None, withheld: str, known: Health | None) -> dict[str, Any]:
    """``withheld`` is why it would not take over from those before it, or not for every mail."""
    return {
        "source": step.source,
        "name": step.name,
        "config_id": step.config_id,
        "server": f"{step.settings.host}:{step.settings.port}" if step.settings else "",
        "status": _status(step, used),
        "reason": f"{_reason(step, used)} {withheld}".strip(),
        **({"health": json_of(HealthData, health.data(known))} if known else {}),
    }

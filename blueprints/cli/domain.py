"""`flask smtp domain`: what receivers find in the DNS about the From domain, with an exit code for scripts."""

from typing import Final

import click

from blueprints.cli.frame import DONE, NOT_WELL, command, leave, print_json
from blueprints.cli.smtp_checks import smtp
from services.diagnosis.diagnosis import NOT_CONFIGURED
from services.domain import check
from services.domain.records import DnsRecord, Finding, Grade
from utils.errors import AppError
from utils.log_utils import printable

__all__ = ["smtp"]  # with what is added to it here

_SIGNS: Final = {Grade.GOOD: "✓", Grade.CHANGE: "✗", Grade.OPEN: "?"}
_LONGEST: Final = 4096  # characters of a record


@command(smtp, "domain", exits={DONE: "no record needs a change", NOT_WELL: "a record is missing or wrong"})
@click.argument("domain", default="")
@click.option("--server", default="", metavar="HOST", help="The server whose permission to check.")
def domain(domain: str, *, server: str, as_json: bool) -> None:
    """Check SPF, DKIM, DMARC and MX of a From domain.

    Without DOMAIN that of the server which sends now. Prints the records seen, and those to add.
    """
    if not domain:
        domain, current = check.sending_now()
        server = server or current
    if not domain:
        raise AppError(f"{NOT_CONFIGURED}. Give a domain: flask smtp domain example.com --server HOST")
    report = check.check(check.parse_domain(domain), check.parse_server(server))
    if as_json:
        print_json(report.public_dict())
    else:
        through = f", sent through {report.provider or report.server}" if report.server else ""
        click.echo(f"{report.domain}{through}")
        for finding in report.findings:
            _print_finding(finding)
    leave(NOT_WELL if report.outcome is Grade.CHANGE else DONE)


def _print_finding(finding: Finding) -> None:
    click.echo(f"\n{_SIGNS[finding.outcome]} {finding.subject}: {printable(finding.text, _LONGEST)}")
    for seen in finding.seen:
        click.echo(f"  Seen: {printable(seen, _LONGEST)}")
    for record in finding.add:
        _print_record(record)


def _print_record(record: DnsRecord) -> None:
    verb = "Replace it" if record.instead else "Add"
    click.echo(
        f"  {verb}: {record.host}  {record.kind}  {printable(record.value, _LONGEST) or '(as your provider shows)'}"
    )

"""The active configuration changes to and fro under load: nothing is lost, and no password gets to the other (F10)."""

from services.settings import named
from tests.faults import figures
from tests.faults.child import Place
from tests.faults.sink import Event, Manners
from tests.faults.storm import DRAIN_SECONDS, Sink, Storm, configure, open_mails
from tests.long_run import ALL

FLIPS = 200 if ALL else 10
MAILS = 2000 if ALL else 300  # enough for the last flip to find some still to be sent
PASSWORDS = {"Sink": "s3cret-of-the-first", "Other": "s3cret-of-the-other"}


def test_flips_between_two_servers_lose_no_mail_and_mix_no_passwords(place: Place) -> None:
    logins = {name: Manners(seed=10, username="shop", password=password) for name, password in PASSWORDS.items()}
    with Storm(place=place, seed=10, mails=MAILS, manners=logins["Sink"]) as storm:
        other = Sink(logins["Other"], place.folder / "other-ledger")
        try:
            configure(other.port, "Other", smtp_username="shop", smtp_password=PASSWORDS["Other"], is_active=False)
            for flip in range(FLIPS):
                storm.wait_for((flip + 0.5) / (FLIPS + 1), and_on=other)
                named.activate_config(("Other", "Sink")[flip % 2])
            for name in ("Sink", "Other") * 10:  # what one of them may have got is for that one alone to get again
                named.activate_config(name)
                storm.drain(within=DRAIN_SECONDS / 20)
                if not open_mails():
                    break
        finally:
            other.end()
    verdict = storm.verdict(bound=0, others=[other])
    figures.settle("another server", storm, verdict, faults=FLIPS)
    for sink, name in ((storm.sink, "Sink"), (other, "Other")):
        said = {entry["password"] for entry in sink.entries() if entry["event"] == Event.LOGIN}
        assert said == {PASSWORDS[name]}
        assert any(entry["event"] == Event.TAKEN for entry in sink.entries())

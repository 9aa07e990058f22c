"""A connection that breaks at any octet, or dawdles, leaves no mail sent that is not and none twice (F13)."""

from collections.abc import Iterator

import pytest

from services.smtp.client import Envelope, Parcel, Receipt
from services.smtp.pool import Pool
from tests.faults.cutter import Cutter
from tests.long_run import ALL
from tests.smtp_clients import RECIPIENT, SENDER, policy, settings_for
from utils.errors import DeliveryError

SLICED = 200 if ALL else 10
MAILS = [
    Parcel(
        envelope=Envelope(sender=SENDER, recipients=(RECIPIENT,)),
        content=b"Message-ID: <%d@sender.example>\r\nSubject: %d\r\n\r\n.\r\nGood morning.\r\n" % (number, number),
        tag=f"<{number}@sender.example>",
    )
    for number in range(4)
]


@pytest.fixture(params=[(True, True), (True, False), (False, False)], ids=["CHUNKING", "PIPELINING", "neither"])
def cutter(request: pytest.FixtureRequest) -> Iterator[Cutter]:
    pipelining, chunking = request.param
    with Cutter(pipelining=pipelining, chunking=chunking) as cutter:
        yield cutter


def send(cutter: Cutter) -> dict[str, Receipt | DeliveryError | None]:
    """What the pool says became of each mail, the rest of them over a second connection."""
    pool = Pool()
    sent = pool.send_all(settings_for(cutter), policy(), MAILS, owner="cutter")
    results = {str(parcel.tag): result for parcel, result in sent}
    pool.close()
    return results


def lies(cutter: Cutter) -> list[str]:
    """Where what we say of a mail is not what has become of it."""
    found = []
    for message_id, result in send(cutter).items():
        arrived = cutter.taken[message_id]
        may_have_arrived = isinstance(result, Receipt) or (result is not None and result.may_have_been_sent)
        if arrived > 1 or (isinstance(result, Receipt) and not arrived) or (arrived and not may_have_arrived):
            found.append(f"{message_id} arrived {arrived} times, and we say {result!r}")
    return found


def test_a_connection_that_lasts_carries_all_mails(cutter: Cutter) -> None:
    assert all(isinstance(result, Receipt) for result in send(cutter).values())
    assert cutter.taken == dict.fromkeys((parcel.tag for parcel in MAILS), 1)


def test_a_cut_on_the_way_to_the_server_is_told_truly_wherever_it_is(cutter: Cutter) -> None:
    send(cutter)
    for place in range(1, cutter.heard):
        cutter.cut(heard=place)
        assert lies(cutter) == [], f"cut after {place} octets"


def test_a_cut_on_the_way_from_the_server_is_told_truly_wherever_it_is(cutter: Cutter) -> None:
    send(cutter)
    for place in range(1, cutter.said):
        cutter.cut(said=place)
        assert lies(cutter) == [], f"cut after {place} octets"


def test_answers_that_come_in_slices_are_understood_like_any_others(cutter: Cutter) -> None:
    for seed in range(SLICED):
        cutter.dawdle(seed)
        assert all(isinstance(result, Receipt) for result in send(cutter).values()), f"with the seed {seed}"
        assert cutter.taken == dict.fromkeys((parcel.tag for parcel in MAILS), 1), f"with the seed {seed}"

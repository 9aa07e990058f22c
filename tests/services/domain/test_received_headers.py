"""Pasted headers of the usual receivers are read right, and hostile ones cost nothing and break nothing."""

from time import monotonic

import pytest
from hypothesis import given, settings
from hypothesis.strategies import lists, sampled_from, text

from services.domain import received
from services.domain.header_fields import are_aligned
from services.domain.received import HeaderReport
from tests.patience import stretched
from tests.services.domain.received_samples import AMAZON, FASTMAIL, FORWARDED, GMAIL, MICROSOFT, POSTFIX
from utils.errors import InvalidInput

OWN = {"app.shop.example"}


def told(report: HeaderReport) -> dict[str, tuple[str, str]]:
    return {verdict.subject: (str(verdict.level), verdict.result) for verdict in report.verdicts}


def read(pasted: str) -> HeaderReport:
    return received.read(pasted, OWN)


@pytest.mark.parametrize(
    ("sample", "judge", "expected"),
    [
        (GMAIL, "mx.google.com", {"SPF": ("ok", "pass"), "DKIM": ("ok", "pass"), "DMARC": ("ok", "pass")}),
        (MICROSOFT, "", {"SPF": ("error", "softfail"), "DKIM": ("error", "not signed"), "DMARC": ("error", "fail")}),
        (
            FASTMAIL,
            "mx3.messagingengine.com",
            {"SPF": ("ok", "pass"), "DKIM": ("ok", "pass"), "DMARC": ("ok", "pass"), "ARC": ("info", "none")},
        ),
        (
            POSTFIX,
            "mail.receiver.example",
            {"SPF": ("warning", "no record"), "DKIM": ("error", "fail"), "DMARC": ("warning", "no policy")},
        ),
        (
            AMAZON,
            "mx.google.com",
            {
                "SPF": ("info", "pass for another domain"),
                "DKIM": ("warning", "pass for another domain"),
                "DMARC": ("error", "fail"),
            },
        ),
        (
            FORWARDED,
            "mx.google.com",
            {"SPF": ("warning", "fail"), "DKIM": ("ok", "pass"), "DMARC": ("ok", "pass"), "ARC": ("info", "pass")},
        ),
    ],
    ids=["gmail", "microsoft", "fastmail", "postfix", "amazon", "forwarded"],
)
def test_the_last_receivers_verdicts_are_read(sample: str, judge: str, expected: dict[str, tuple[str, str]]) -> None:
    report = read(sample)
    assert report.judge == judge
    assert told(report) == expected
    assert all(verdict.remedy for verdict in report.verdicts if verdict.level == "error")


@pytest.mark.parametrize(
    ("domain", "house"),
    [("gmail.com", "Google"), ("hotmail.it", "Outlook.com"), ("gmx.de", "GMX"), ("posteo.de", "Posteo")],
)
@pytest.mark.parametrize("result", ["fail", "softfail", "neutral", "none"])
def test_nobody_is_told_to_change_the_records_of_a_mailbox_provider(domain: str, house: str, result: str) -> None:
    pasted = (
        "Received: from mail.shop.example (mail.shop.example [203.0.113.9]) by mx.receiver.example; "
        "Sat, 28 Nov 2026 10:00:00 +0000\n"
        f"Authentication-Results: mx.receiver.example; spf={result} smtp.mailfrom={domain}; dkim=none; "
        f"dmarc={'none' if result == 'none' else 'fail'} header.from={domain}\n"
        f"From: Shop <shop@{domain}>\nSubject: x\n"
    )
    remedies = {verdict.remedy for verdict in read(pasted).verdicts}
    assert len(remedies) == 1
    assert remedies.pop().startswith(f"{domain} belongs to {house}, so you cannot add records there. Send from an")


def test_the_path_is_told_in_the_order_of_the_journey() -> None:
    path = read(GMAIL).path
    assert [hop.by for hop in path.hops] == ["smtp.provider.example", "mx.google.com", "2002:a05:6402:1a4d:b0:5cf:1:2"]
    assert [hop.encrypted for hop in path.hops] == [True, True, False]
    assert [hop.seconds for hop in path.hops] == [None, 2.0, 1.0]
    assert path.seconds == 3
    assert path.hops[1].address == "203.0.113.25"


def test_microsofts_stamps_are_read() -> None:
    path = read(MICROSOFT).path
    assert [hop.protocol for hop in path.hops] == ["Microsoft SMTP Server", "HTTPS"]
    assert [hop.encrypted for hop in path.hops] == [True, True]


def test_a_long_wait_and_a_wrong_clock_are_found() -> None:
    path = read(POSTFIX).path
    assert [hop.by for hop in path.skewed] == ["mail.receiver.example"]
    slow = read(FORWARDED).path
    assert slow.slowest is not None
    assert (slow.slowest.by, slow.slowest.seconds) == ("mx.google.com", 3600)


def test_our_message_is_known_by_its_id() -> None:
    assert read(GMAIL).is_ours
    assert not received.read(GMAIL, {"another.example"}).is_ours
    assert not read(AMAZON).is_ours


def test_encoded_texts_are_shown_decoded() -> None:
    report = read(GMAIL)
    assert report.subject == "Test email from Bücher"
    assert report.sender == "Bücher <noreply@shop.example>"
    assert (report.from_domain, report.is_return_path_aligned) == ("shop.example", True)


def test_a_return_path_elsewhere_is_not_aligned() -> None:
    assert not read(AMAZON).is_return_path_aligned


def test_spam_scores_are_shown() -> None:
    assert [score.name for score in read(POSTFIX).spam] == ["x-spamd-result"]
    assert any("SCL:5" in score.value and "spam level" in score.meaning for score in read(MICROSOFT).spam)


def test_only_the_last_receiver_is_believed() -> None:
    forged = "Authentication-Results: mx.google.com.evil.example; spf=pass; dkim=pass; dmarc=pass\n"
    assert told(read(MICROSOFT.rstrip() + "\n" + forged)) == told(read(MICROSOFT))


def test_received_spf_counts_where_nothing_else_speaks_of_it() -> None:
    pasted = "Received-SPF: Fail (no) client-ip=192.0.2.1; envelope-from=a@shop.example;\nFrom: a@shop.example\n"
    assert told(read(pasted))["SPF"] == ("error", "fail")


def test_headers_that_lost_their_indentation_are_read_the_same() -> None:
    flat = "\n".join(line.strip() for line in GMAIL.splitlines())
    assert told(read(flat)) == told(read(GMAIL))
    assert read(flat).path == read(GMAIL).path


def test_windows_line_ends_and_a_body_do_not_matter() -> None:
    pasted = GMAIL.strip().replace("\n", "\r\n") + "\r\n\r\nAuthentication-Results: x; spf=fail\r\n"
    assert told(read(pasted)) == told(read(GMAIL))


@pytest.mark.parametrize("comment", ["(a (nested) one)", r"(a \) quoted one)", "(a ; b=c)", "(never closed"])
def test_comments_are_no_results(comment: str) -> None:
    pasted = f"From: a@shop.example\nAuthentication-Results: mx.test; spf=pass smtp.mailfrom=shop.example {comment}\n"
    assert told(read(pasted))["SPF"] == ("ok", "pass")


@pytest.mark.parametrize("pasted", ["", "hello", "Dear Bob,\nhow are you?", "{}", "X-One: 1\nX-Two: 2", "\0"])
def test_what_is_no_headers_is_refused_with_what_to_do(pasted: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read(pasted)
    assert "copy from the top" in caught.value.errors["headers"][0]


def test_more_than_64_kib_is_refused() -> None:
    with pytest.raises(InvalidInput):
        read("Subject: " + "x" * 65_536)


@pytest.mark.parametrize(
    "bit",
    [
        "(",
        ")",
        '"',
        ";",
        "a=",
        "=",
        "\\",
        "=?utf-8?q?",
        "=?",
        "a.",
        "@",
        "[",
        "\n ",
        "from ",
        "<",
        "dkim=pass;",
        "-",
        "a",
        "i=1;",
    ],
)
@pytest.mark.parametrize("field", ["Authentication-Results", "Received", "From"])
def test_repetition_costs_little_time(field: str, bit: str) -> None:
    start = monotonic()
    read(f"Date: x\n{f'{field}: {bit * (8192 // len(bit))}' + chr(10)}" * 7)
    assert monotonic() - start < stretched(1)


BITS = sampled_from(
    [
        *("Received: from a by b with ESMTPS id c; ", "Authentication-Results: ", "From: ", "Received-SPF: ", "Date: "),
        *("spf=", "dkim=pass", "header.d=a.test", "=?utf-8?b?", "=?x?q?=FF?=", "Mon, 30 Feb 2026", "99:99:99", "-9999"),
        *("Fri, 20 Nov 2026 10:00:00 +0000", "Fri, 31 Dec 9999 23:59:59 -2359", "\x85", "\ud800"),
        *'\n\t ();"\\=.@<>[]',
    ]
)


@settings(max_examples=300, deadline=None)
@given(lists(BITS | text(max_size=5), max_size=60))
def test_nothing_pasted_breaks_the_reading(bits: list[str]) -> None:
    read("Date: now\n" + "".join(bits))


@pytest.mark.parametrize(
    ("one", "other", "aligned"),
    [
        ("shop.example", "shop.example", True),
        ("bounce.mail.shop.example", "shop.example", True),
        ("shop.co.uk", "mail.shop.co.uk", True),
        ("shop.co.uk", "other.co.uk", False),
        ("shop.example", "workshop.example", False),
        ("", "", False),
    ],
)
def test_domains_of_one_organisation_are_aligned(one: str, other: str, aligned: bool) -> None:
    assert are_aligned(one, other) is aligned

"""Messages: what is asked for arrives, read back with the standard library; mistakes are refused."""

import re
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

import pytest

from services.message.draft import Attachment, Draft, Sender, draft, serialise
from utils import clock

SENDER = Sender(email="noreply@example.com", name="OpenAlgo")


def make(to: Any = "jane@example.com", subject: Any = "Hello", body: Any = "Text\n", **more: Any) -> Draft:
    return draft(to, subject, body, message_id_domain="app.example.com", **more)


def read(message: bytes) -> EmailMessage:
    parsed = message_from_bytes(message, policy=policy.default)
    assert isinstance(parsed, EmailMessage)
    assert not [part.defects for part in parsed.walk() if part.defects]
    return parsed


def sent(sender: Sender = SENDER, **asked: Any) -> EmailMessage:
    return read(serialise(make(**asked), sender))


def test_a_text_mail_has_exactly_the_expected_header() -> None:
    assert sent().keys() == [
        *("From", "To", "Subject", "Date", "Message-ID"),
        *("MIME-Version", "Content-Type", "Content-Transfer-Encoding"),
    ]


def test_the_message_id_is_random_and_of_our_domain() -> None:
    first, second = make().message_id, make().message_id
    assert re.fullmatch(r"<[0-9a-f]{32}@app\.example\.com>", first)
    assert first != second


@pytest.mark.parametrize(
    ("domain", "right"),
    [
        ("localhost", "localhost"),
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "[IPv6:::1]"),
        ("bücher.example", "xn--bcher-kva.example"),
    ],
)
def test_the_message_id_domain_may_be_any_host(domain: str, right: str) -> None:
    made = draft("jane@example.com", "s", "b", message_id_domain=domain)
    assert made.message_id.endswith(f"@{right}>")
    assert read(serialise(made, SENDER))["Message-ID"] == made.message_id


def test_the_message_id_domain_cannot_inject() -> None:
    with pytest.raises(ValueError, match="host name"):
        draft("jane@example.com", "s", "b", message_id_domain="x.example>\r\nBcc: e@e.example")


def test_the_date_is_in_utc_and_of_rfc_5322(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: datetime(2026, 3, 1, 9, 5, 7, tzinfo=UTC))
    assert b"\r\nDate: Sun, 01 Mar 2026 09:05:07 +0000\r\n" in serialise(make(), SENDER)


def test_the_same_draft_and_sender_give_the_same_bytes() -> None:
    made = make(html_body="<p>Hi</p>", attachments=[Attachment("a.bin", b"\0")])
    assert serialise(made, SENDER) == serialise(made, SENDER)


def test_another_sender_keeps_message_id_and_date() -> None:
    made = make()
    other = Sender(email="b@y.example", name="B", reply_to="a@x.example")
    first, second = read(serialise(made, SENDER)), read(serialise(made, other))
    assert (first["Message-ID"], first["Date"]) == (second["Message-ID"], second["Date"])
    assert second["From"] == "B <b@y.example>"
    assert second["Reply-To"] == "a@x.example"


def test_the_drafts_own_reply_to_wins() -> None:
    assert sent(Sender(email="a@x.example", reply_to="b@x.example"), reply_to="c@x.example")["Reply-To"] == (
        "c@x.example"
    )


def test_bcc_is_in_the_envelope_and_never_in_the_message() -> None:
    made = make(cc=["c@x.example"], bcc=["hidden@x.example"])
    assert made.recipients == ("jane@example.com", "c@x.example", "hidden@x.example")
    assert b"hidden" not in serialise(made, SENDER)


def test_a_recipient_named_twice_is_in_the_envelope_once() -> None:
    made = make(to=["a@x.example", "a@X.example"], cc="a@x.example", bcc=["a@x.example", "b@x.example"])
    assert made.recipients == ("a@x.example", "b@x.example")
    assert b"To: a@x.example\r\n" in made.rest


def test_idn_domains_are_a_labels_in_envelope_and_header() -> None:
    made = make(to="jane@bücher.example")
    message = serialise(made, Sender(email="no@bücher.example", name="Bücher"))
    assert made.recipients == ("jane@xn--bcher-kva.example",)
    assert message.isascii()
    assert b"<no@xn--bcher-kva.example>" in message


def test_only_a_local_part_that_is_not_ascii_stands_in_utf8() -> None:
    made = make(to="jürgen@bücher.example", subject="Grüße", body="Grüße")
    message = serialise(made, SENDER)
    assert "To: jürgen@xn--bcher-kva.example\r\n".encode() in message
    assert message.replace("ü".encode(), b"").isascii()
    assert not made.recipients[0].isascii()


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("one\ntwo\n", "one\ntwo\n"),
        ("one\r\ntwo\rthree\n", "one\ntwo\nthree\n"),
        ("", "\n"),
        ("no newline", "no newline\n"),
        ("trailing space \n\ttab\t\n", "trailing space \n\ttab\t\n"),
        (".\n..\n.leading\n", ".\n..\n.leading\n"),
        ("From here\n", "From here\n"),
        ("nul \0 bell \a vt \v ff \f\n", "nul \0 bell \a vt \v ff \f\n"),
        ("separators \u2028 \u2029 \x85 \x1c\n", "separators \u2028 \u2029 \x85 \x1c\n"),
        ("a lone \ud800 surrogate\n", "a lone ? surrogate\n"),
        ("Grüße ₹ 日本語 🚀\n", "Grüße ₹ 日本語 🚀\n"),
        ("=?utf-8?q?literal?= =3D\n", "=?utf-8?q?literal?= =3D\n"),
        ("x" * 998 + "\n", "x" * 998 + "\n"),
        ("x" * 2000 + "\n", "x" * 2000 + "\n"),
        ("ü" * 2000 + "\n", "ü" * 2000 + "\n"),
    ],
    ids=lambda text: ascii(text[:20]),
)
def test_a_body_arrives_as_it_was_given(body: str, expected: str) -> None:
    message = serialise(make(body=body), SENDER)
    assert read(message).get_content().replace("\r\n", "\n") == expected
    assert message.isascii()
    assert max(map(len, message.split(b"\r\n"))) <= 998
    assert message.count(b"\r\n") == message.count(b"\r") == message.count(b"\n")


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        ("plain text\n", "7bit"),
        ("x" * 999, "quoted-printable"),
        ("bell \a in a text of some length\n", "quoted-printable"),
        ("Price: ₹2500 for a hundred shares\n", "quoted-printable"),
        ("日本語のメールです\n", "base64"),
    ],
    ids=lambda text: ascii(text[:16]),
)
def test_a_body_takes_the_lightest_encoding(body: str, encoding: str) -> None:
    assert sent(body=body)["Content-Transfer-Encoding"] == encoding


def test_html_comes_after_the_text_it_is_an_alternative_to() -> None:
    message = sent(body="Text\n", html_body="<p>Hällo</p>\n")
    assert message.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]
    html = message.get_body(("html",))
    assert html is not None
    assert html.get_content().replace("\r\n", "\n") == "<p>Hällo</p>\n"


def test_empty_html_makes_a_text_mail() -> None:
    assert sent(html_body="").get_content_type() == "text/plain"


def test_a_boundary_in_the_body_does_not_end_the_part() -> None:
    first = sent(html_body="<p>x</p>")
    body = f"--{first.get_boundary()}\n--{first.get_boundary()}--\n"
    second = sent(body=body, html_body="<p>x</p>")
    assert first.get_boundary() != second.get_boundary()
    text = second.get_body(("plain",))
    assert text is not None
    assert text.get_content().replace("\r\n", "\n") == body


@pytest.mark.parametrize(
    "filename",
    [
        "report.pdf",
        'quoted "name".txt',
        "semi;colon, comma=equals.txt",
        "percent%20.txt",
        "=?utf-8?q?x?=.txt",
        "Rechnung März – 日本語 🚀.pdf",
        "x" * 255,
        "é" * 255,
        "apostrophe's.txt",
    ],
    ids=lambda name: ascii(name[:16]),
)
def test_an_attachment_arrives_with_its_name(filename: str) -> None:
    content = bytes(range(256)) * 40
    made = make(html_body="<p>x</p>", attachments=[Attachment(filename, content, "application/pdf")])
    message = serialise(made, SENDER)
    (attachment,) = read(message).iter_attachments()
    assert attachment.get_filename() == filename
    assert attachment.get_content_type() == "application/pdf"
    assert attachment.get_content() == content
    assert message.isascii()
    assert max(map(len, message.split(b"\r\n"))) <= 78


def test_attachments_follow_the_whole_text() -> None:
    message = sent(
        html_body="<p>x</p>",
        attachments=[
            Attachment("empty", b""),
            Attachment("a.ics", b"BEGIN", "text/calendar; method=REQUEST"),
        ],
    )
    assert message.get_content_type() == "multipart/mixed"
    assert [part.get_content_type() for part in message.iter_parts()] == [
        *("multipart/alternative", "application/octet-stream", "text/calendar"),
    ]
    assert [part.get_payload(decode=True) for part in message.iter_attachments()] == [b"", b"BEGIN"]


def test_five_thousand_mails_never_hold_anothers_canary() -> None:
    for number in range(5000):
        canary = f"canary{number:04}"
        address = f"{canary}@x.example"
        made = make(address, canary, canary, html_body=f"<p>{canary}</p>", headers={"X-Canary": canary})
        found = re.findall(rb"canary\d{4}", serialise(made, SENDER))
        assert set(found) == {canary.encode()}
        assert made.recipients == (address,)


def test_a_draft_does_not_print_its_content() -> None:
    shown = repr(make(subject="s3cret", body="s3cret", headers={"X-Token": "s3cret"}))
    assert "s3cret" not in shown


@pytest.mark.parametrize("to", ["", [], (), None, [""], "a@x, b@y", ["a@x, b@y"], "not an address"])
def test_no_valid_recipient_is_the_callers_mistake(to: Any) -> None:
    with pytest.raises(ValueError, match="to_email"):
        make(to=to)


@pytest.mark.parametrize("to", [5, b"a@x.example", {"a@x.example": 1}, {"a@x.example"}, [["a@x.example"]]])
def test_recipients_of_another_type_are_the_callers_mistake(to: Any) -> None:
    with pytest.raises(ValueError, match="to_email"):
        make(to=to)


@pytest.mark.parametrize("field", ["cc", "bcc", "reply_to"])
def test_an_invalid_address_is_reported_with_its_argument(field: str) -> None:
    with pytest.raises(ValueError, match=f"^{field}: "):
        make(**{field: "a@x.example\r\nBcc: b@y.example"})


def test_a_mail_has_at_most_a_hundred_recipients() -> None:
    people = [f"p{number}@x.example" for number in range(100)]
    assert len(make(to=people[:50], cc=people[50:]).recipients) == 100
    with pytest.raises(ValueError, match="at most 100"):
        make(to=people, bcc="one.more@x.example")
    with pytest.raises(ValueError, match="at most 100"):
        make(to=people + people)


@pytest.mark.parametrize(
    "attachment",
    [
        Attachment("", b""),
        Attachment("a\r\nBcc: b@y.example", b""),
        Attachment("a\0.txt", b""),
        Attachment("../../etc/passwd", b""),
        Attachment("C:\\secret.txt", b""),
        Attachment("invoice\u202efdp.exe", b""),
        Attachment("x" * 256, b""),
        Attachment("a.txt", "text"),  # type: ignore[arg-type]
        Attachment("a.txt", b"", "text"),
        Attachment("a.txt", b"", "text/plain\r\nBcc: b@y.example"),
        Attachment("a.txt", b"", "text/plain; name=\r\nx"),
        Attachment("a.txt", b"", "text/plain, text/html"),
        Attachment("a.txt", b"", "multipart/mixed; boundary=x"),
        Attachment("a.txt", b"", "message/rfc822"),
        Attachment("a.txt", b"", "text/" + "x" * 200),
        Attachment("a.txt", b"", "text/ü"),
        Attachment("a.txt", b"", None),  # type: ignore[arg-type]
        ("a.txt", b""),
    ],
    ids=lambda attachment: ascii(attachment)[:60],
)
def test_an_attachment_that_cannot_be_sent_is_the_callers_mistake(attachment: Any) -> None:
    with pytest.raises(ValueError, match="attachments"):
        make(attachments=[attachment])


@pytest.mark.parametrize("field", ["subject", "body", "html_body"])
def test_text_that_is_no_text_is_the_callers_mistake(field: str) -> None:
    with pytest.raises(ValueError, match=field):
        make(**{field: b"bytes"})

"""What a mail can hold beside text: images of its HTML, invitations, whole mails, files of any name."""

from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.message.disposition import plain_name
from services.message.draft import Attachment, serialise
from tests.services.message.test_composing import SENDER, make, read, sent

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
LOGO = Attachment("logo.png", PNG, "image/png", "logo")
INVITATION = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//Shop//EN
METHOD:REQUEST
BEGIN:VEVENT
UID:17@example.com
DTSTART:20261201T100000Z
SUMMARY:Übergabe – 日本語
END:VEVENT
END:VCALENDAR
"""
MAIL = b"From: a@x.example\r\nSubject: Inner\r\n\r\n.hello\r\nFrom here\r\n--b\r\n"


def shape(part: Any) -> Any:
    """The types of a mail as they are in each other."""
    kind = part.get_content_type().replace("multipart/", "")
    return [kind, *map(shape, part.iter_parts())] if part.is_multipart() and kind != "message/rfc822" else kind


def attached(message: EmailMessage) -> EmailMessage:
    (part,) = message.iter_attachments()
    assert isinstance(part, EmailMessage)
    return part


def test_an_image_of_the_html_goes_along_with_it() -> None:
    message = sent(html_body='<img src="cid:logo">', attachments=[LOGO])
    assert shape(message) == ["alternative", "text/plain", ["related", "text/html", "image/png"]]
    _, related = message.iter_parts()
    assert related["Content-Type"].params["type"] == "text/html"
    _, image = related.iter_parts()
    assert (image["Content-ID"], image.get_content_disposition()) == ("<logo>", "inline")
    assert (image.get_filename(), image.get_content()) == ("logo.png", PNG)


def test_files_invitation_and_images_each_have_their_place() -> None:
    files = [Attachment("a.pdf", b"pdf", "application/pdf"), LOGO, Attachment("b.pdf", b"pdf", "application/pdf")]
    message = sent(html_body="<img src='cid:logo'>", attachments=files, calendar=INVITATION)
    alternative = ["alternative", "text/plain", ["related", "text/html", "image/png"], "text/calendar"]
    assert shape(message) == ["mixed", alternative, "application/pdf", "application/pdf"]


@pytest.mark.parametrize("content_id", ["logo", "logo@example.com", "<logo@example.com>", "1", "a.b-c_d"])
def test_a_content_id_stands_in_angle_brackets_once(content_id: str) -> None:
    image = Attachment("l.png", PNG, "image/png", content_id)
    message = serialise(make(html_body="<p>x</p>", attachments=[image]), SENDER)
    assert f"\r\nContent-ID: <{content_id.strip('<>')}>\r\n".encode() in message


@pytest.mark.parametrize(
    "content_id", ["a b", "a\r\nX: y", "a>", "<a", "%41", "ü", "<>", "a\0", "x" * 201, "\u202ea", 5, b"a"], ids=ascii
)
def test_a_content_id_that_no_page_could_name_is_the_callers_mistake(content_id: Any) -> None:
    with pytest.raises(ValueError, match="content_id"):
        make(html_body="<p>x</p>", attachments=[Attachment("l.png", PNG, "image/png", content_id)])


def test_two_files_of_one_content_id_are_the_callers_mistake() -> None:
    with pytest.raises(ValueError, match="same content_id"):
        make(html_body="<p>x</p>", attachments=[LOGO, Attachment("m.gif", PNG, "image/gif", "<logo>")])


def test_an_image_without_html_is_a_file_like_others() -> None:
    message = sent(attachments=[LOGO])
    assert shape(message) == ["mixed", "text/plain", "image/png"]
    assert attached(message).get_content_disposition() == "attachment"


@pytest.mark.parametrize(
    "given", [INVITATION, INVITATION.replace("\n", "\r\n"), INVITATION.encode(), f"\ufeff{INVITATION}\n"]
)
@pytest.mark.parametrize("html", [None, "<p>Come</p>"])
def test_an_invitation_is_the_last_alternative(given: str | bytes, html: str | None) -> None:
    octets = serialise(make(body="Come\n", html_body=html, calendar=given), SENDER)
    message = read(octets)
    assert message.get_content_type() == "multipart/alternative"
    *_, invitation = message.iter_parts()
    assert invitation["Content-Type"].params == {"method": "REQUEST", "charset": "utf-8"}
    assert b"Content-Type: text/calendar; method=REQUEST; charset=utf-8\r\n" in octets
    assert invitation.get_content_disposition() is None
    assert invitation.get_payload(decode=True) == INVITATION.replace("\n", "\r\n").encode()
    assert octets.isascii()


@pytest.mark.parametrize("method", ["CANCEL", "REPLY", "request", "PUBLISH", "DECLINECOUNTER"])
def test_an_invitation_names_its_own_method(method: str) -> None:
    *_, invitation = sent(calendar=INVITATION.replace("REQUEST", method)).iter_parts()
    assert invitation["Content-Type"].params["method"] == method.upper()


def test_an_invitation_without_words_says_at_least_what_it_is_about() -> None:
    text, _ = sent(subject="Übergabe", body="", calendar=INVITATION).iter_parts()
    assert text.get_content() == "Übergabe\r\n"


@pytest.mark.parametrize(
    "calendar",
    [
        "Come at ten",
        INVITATION.replace("METHOD:REQUEST\n", ""),
        INVITATION.replace("METHOD:REQUEST", "METHOD:REQUEST\nMETHOD:CANCEL"),
        INVITATION.replace("REQUEST", 'REQUEST"; x="y'),
        INVITATION.replace("REQUEST", "REQUEST; charset=x"),
        INVITATION + INVITATION.replace("METHOD", "X"),
        INVITATION.replace("END:VCALENDAR", ""),
        INVITATION.encode("latin-1", "replace").replace(b"bergabe", b"\xfcbergabe"),
        5,
        ["BEGIN:VCALENDAR"],
    ],
    ids=lambda value: ascii(value)[-30:],
)
def test_what_no_calendar_could_read_is_the_callers_mistake(calendar: Any) -> None:
    with pytest.raises(ValueError, match="calendar"):
        make(calendar=calendar)


def test_a_whole_mail_goes_along_unencoded() -> None:
    octets = serialise(make(attachments=[Attachment("inner.eml", MAIL, "message/rfc822")]), SENDER)
    part = attached(read(octets))
    assert (part.get_content_type(), part["Content-Transfer-Encoding"]) == ("message/rfc822", "7bit")
    assert part.get_filename() == "inner.eml"
    assert b"\r\n\r\n" + MAIL + b"\r\n--=_" in octets
    assert octets.isascii()
    inner = part.get_content()
    assert (inner["Subject"], inner.get_content()) == ("Inner", MAIL.partition(b"\r\n\r\n")[2].decode())


def test_a_whole_mail_of_8_bits_makes_all_that_is_around_it_8_bit() -> None:
    mail = MAIL + "Grüße\r\n".encode()
    octets = serialise(make(html_body="<p>x</p>", attachments=[Attachment("i.eml", mail, "message/rfc822")]), SENDER)
    message = read(octets)
    assert message["Content-Transfer-Encoding"] == attached(message)["Content-Transfer-Encoding"] == "8bit"
    assert b"\r\n\r\n" + mail + b"\r\n--=_" in octets


@pytest.mark.parametrize("content", [MAIL.replace(b"\r\n", b"\n"), MAIL.replace(b"\r\n", b"\r"), MAIL])
def test_the_line_ends_of_a_whole_mail_become_those_of_the_wire(content: bytes) -> None:
    octets = serialise(make(attachments=[Attachment("i.eml", content, "message/rfc822")]), SENDER)
    assert MAIL in octets
    assert octets.count(b"\r\n") == octets.count(b"\r") == octets.count(b"\n")


@pytest.mark.parametrize("oddity", [b"x" * 999, b"nul \0"], ids=["a long line", "a NUL"])
def test_a_whole_mail_that_cannot_stand_in_another_goes_as_a_file(oddity: bytes) -> None:
    octets = serialise(make(attachments=[Attachment("i.eml", MAIL + oddity, "message/rfc822")]), SENDER)
    part = attached(read(octets))
    assert (part.get_content_type(), part.get_filename()) == ("application/octet-stream", "i.eml")
    assert part.get_content() == MAIL + oddity
    assert max(map(len, octets.split(b"\r\n"))) <= 998


@pytest.mark.parametrize("content", [b"", b"hello", b"\r\n\r\nbody", b"From a@x Mon\r\nSubject: x\r\n\r\n", b" : x"])
def test_a_whole_mail_has_a_header(content: bytes) -> None:
    with pytest.raises(ValueError, match="message/rfc822"):
        make(attachments=[Attachment("i.eml", content, "message/rfc822")])


@pytest.mark.parametrize(
    "kind", ["message/partial; id=x", "message/external-body", "message/rfc822x", "multipart/related"]
)
def test_no_other_composite_type_goes_along(kind: str) -> None:
    with pytest.raises(ValueError, match="content type"):
        make(attachments=[Attachment("i.eml", MAIL, kind)])


@settings(max_examples=80, deadline=None)
@given(st.binary(max_size=300))
def test_any_whole_mail_keeps_the_mail_around_it_whole(content: bytes) -> None:
    made = make(
        html_body="<p>x</p>", attachments=[Attachment("i.eml", b"Subject: x\r\n\r\n" + content, "message/rfc822")]
    )
    octets = serialise(made, SENDER)
    message = message_from_bytes(octets, policy=policy.default)
    assert len(list(message.iter_parts())) == 2
    assert octets.count(b"\r\n") == octets.count(b"\r") == octets.count(b"\n")
    assert max(map(len, octets.split(b"\r\n"))) <= 998


@pytest.mark.parametrize(
    ("filename", "plain"),
    [
        ("Rechnung März.pdf", "Rechnung Marz.pdf"),
        ("日本語.pdf", "file.pdf"),
        ("日本語", "file"),
        ("Ærø – 2026.tar.gz", "_r_ _ 2026.tar.gz"),
        ('say "hi" \u00bd.txt', "say _hi_ 1_2.txt"),
        ("x" * 200 + ".pdf", "x" * 56 + ".pdf"),
        ("name.日本", "name._"),
        ("🚀.日本", "file"),
        (".htaccess–", ".htaccess_"),
        ("e\u0301.txt", "e.txt"),
    ],
    ids=lambda text: ascii(text[:16]),
)
def test_a_file_name_has_a_plain_one_beside_it(filename: str, plain: str) -> None:
    octets = serialise(make(attachments=[Attachment(filename, b"x", "application/pdf")]), SENDER)
    assert f'\r\n filename="{plain}"\r\n'.encode() in octets
    assert b" filename*" in octets
    assert attached(read(octets)).get_filename() == filename


def test_a_plain_file_name_stands_there_once() -> None:
    octets = serialise(make(attachments=[Attachment("report 17.pdf", b"x", "application/pdf")]), SENDER)
    assert octets.count(b"filename") == 1


@settings(max_examples=150, deadline=None)
@given(st.text(min_size=1, max_size=255))
def test_any_plain_file_name_is_one_that_every_reader_takes(filename: str) -> None:
    plain = plain_name(filename)
    assert 0 < len(plain) <= 60
    assert plain.isascii()
    assert plain.isprintable()
    assert not set(plain) & set('"\\/%;')

"""The same message to a corrected address is a new one, and says what the old one said."""

import email
import re
from email import policy

import pytest
from flask import Flask

from services.message.draft import Attachment, Draft, draft
from services.message.readdressing import readdressed

pytestmark = pytest.mark.usefixtures("app")

WRONG, RIGHT = "ann@gmial.com", "ann@gmail.com"


def written(*to: str, **more: object) -> Draft:
    return draft(list(to), "Grüße", "Hällo", message_id_domain="example.com", **more)  # type: ignore[arg-type]


def fields_of(mail: Draft) -> list[str]:
    return re.split(r"\r\n(?![ \t])", mail.rest.partition(b"\r\n\r\n")[0].decode())


def names_of(mail: Draft, name: str) -> list[str]:
    parsed = email.message_from_bytes(mail.rest, policy=policy.SMTPUTF8)
    return [str(each) for each in parsed[name].addresses] if parsed[name] else []


def test_its_ids_and_recipient_are_new_and_all_else_is_as_it_was(app: Flask) -> None:
    headers = {"In-Reply-To": "<a@b>", "References": "<a@b> <c@d>", "X-Order": "17"}
    old = written(f"Ann <{WRONG}>", headers=headers, attachments=[Attachment("a.txt", b"file")], reply_to="r@e.com")
    new = readdressed(old, {WRONG: RIGHT})
    assert new.recipients == (RIGHT,)
    assert new.mail_id != old.mail_id
    assert new.message_id == f"<{new.mail_id}@example.com>"
    ours = ("To:", "Date:", "Message-ID:")
    assert [each for each in fields_of(new) if not each.startswith(ours)] == [
        each for each in fields_of(old) if not each.startswith(ours)
    ]
    assert f"Message-ID: {new.message_id}" in fields_of(new)
    assert names_of(new, "To") == [f"Ann <{RIGHT}>"]
    assert new.rest.partition(b"\r\n\r\n")[2] == old.rest.partition(b"\r\n\r\n")[2]
    assert (new.reply_to, new.kind, new.sender) == (old.reply_to, old.kind, old.sender)


@pytest.mark.parametrize(
    ("to", "cc", "shown"),
    [
        ([WRONG, "bob@example.com"], None, [RIGHT, "bob@example.com"]),
        ([f'"Comma, Ann" <{WRONG}>', "bob@example.com"], None, [f'"Comma, Ann" <{RIGHT}>', "bob@example.com"]),
        ([f"Jürgen Ärmel <{WRONG}>"], None, [f"Jürgen Ärmel <{RIGHT}>"]),
        ([WRONG, RIGHT], None, [RIGHT]),  # who is named already is so once
        ([f"x{WRONG}", WRONG], None, [f"x{WRONG}", RIGHT]),  # one address within another is another
        (["bob@example.com"], [WRONG], ["bob@example.com"]),
        ([f"u{number}@example.com" for number in range(40)] + [WRONG], None, None),
    ],
)
def test_to_and_cc_name_everybody_but_the_wrong_one(to: list[str], cc: list[str] | None, shown: list[str]) -> None:
    old = written(*to, cc=cc)
    new = readdressed(old, {WRONG: RIGHT})
    assert names_of(new, "To") == (shown or [*to[:-1], RIGHT])
    assert names_of(new, "Cc") == ([RIGHT] if cc else [])
    assert WRONG not in [each.split("<")[-1].rstrip(">") for each in names_of(new, "To") + names_of(new, "Cc")]
    assert max(map(len, new.rest.split(b"\r\n"))) <= 998


def test_a_blind_copy_stays_blind() -> None:
    new = readdressed(written("bob@example.com", bcc=[WRONG]), {WRONG: RIGHT})
    assert RIGHT.encode() not in new.rest
    assert new.recipients == (RIGHT,)


@pytest.mark.parametrize("html", ["<p>Hello</p>", "<p>" + "Grüße an alle " * 20 + "</p>", "<p>日本語</p>" * 9])
def test_a_tracked_one_has_a_pixel_of_its_own_where_it_can(html: str) -> None:
    old = written(WRONG, html_body=html, track_opens=True)
    new = readdressed(old, {WRONG: RIGHT}, pixel_id=old.pixel)
    parsed = email.message_from_bytes(new.rest, policy=policy.SMTPUTF8)
    body = parsed.get_body(("html",))
    assert body
    text = body.get_content()
    assert (new.pixel or old.pixel) in text
    assert not new.pixel or (new.pixel != old.pixel and old.pixel not in text)

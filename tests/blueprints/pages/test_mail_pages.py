"""The gallery of email templates, and the branding that they wear."""

import base64
import io
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any, Final

import pytest
from flask import Flask
from sqlalchemy import select
from werkzeug.test import TestResponse

from blueprints.access import limiter
from database.audit_db import AuditEvent
from database.engine import reading
from services.gallery import branding, showing
from services.message import own_templates, png, templates
from services.settings import configs
from services.settings.fields import parse_change
from tests.conftest import ADMIN_TOKEN
from tests.recording_server import RecordingServer
from tests.services.message.test_email_templates import Tags
from tests.visitors import Visitor
from utils.env_utils import EXTENSION

# Werkzeug leaves the files of a body that is too large to the garbage collector.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <_io.FileIO:pytest.PytestUnraisableExceptionWarning",
    "ignore:Exception ignored in. <function SpooledTemporaryFile:pytest.PytestUnraisableExceptionWarning",
)

BRANDING: Final = "/settings/branding"
API: Final = "/api/settings/branding"


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def a_png(width: int = 300, height: int = 60, *more: bytes) -> bytes:
    pixels = (b"\0" + b"\x10\x80\x60" * width) * height
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = (chunk(b"IHDR", header), *more, chunk(b"IDAT", zlib.compress(pixels)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def post(admin: Visitor, path: str = BRANDING, file: bytes | None = None, **changed: str) -> TestResponse:
    data: dict[str, Any] = {"name": "", "colour": "", "footer": "", "logo_url": "", "version": "0"} | changed
    data["csrf_token"] = admin.csrf_token()
    data["logo"] = (io.BytesIO(file or b""), "logo.png" if file is not None else "")
    return admin.post(path, data=data, content_type="multipart/form-data")


def errors_of(answer: TestResponse) -> dict[str, str]:
    """What each field of the form is refused for."""
    found = re.findall(r'id="(\w+)-error">.*?<span data-error-text>(.*?)</span>', answer.text, re.DOTALL)
    return {name: text for name, text in found if text}


@pytest.fixture
def folder(app: Flask, tmp_path: Path) -> Iterator[Path]:
    made = tmp_path / "mails"
    (made / "welcome").mkdir(parents=True)
    (made / "welcome" / "subject.txt").write_text("Welcome, {{ name }}")
    (made / "welcome" / "body.txt").write_text("Hello {{ name }}")
    app.extensions[EXTENSION] = replace(app.extensions[EXTENSION], mail_templates=made)
    yield made


def test_the_gallery_shows_every_template_and_what_is_broken(admin: Visitor, folder: Path) -> None:
    (folder / "password_reset").mkdir()
    (folder / "password_reset" / "body.html").write_text("\n{{ reset_urll }}")
    (folder / "odd name").mkdir()
    page = admin.get("/settings/mails").text
    for name in (*templates.built_in_names(), "welcome"):
        assert f'href="/settings/mails/{name}"' in page
    assert (
        "password_reset/body.html, line 2: &#39;reset_urll&#39; is undefined. The built-in one is sent instead." in page
    )
    assert "odd name: Its name has other characters" in page


def test_every_template_is_shown_in_both_themes_as_html_and_text(admin: Visitor, folder: Path) -> None:
    for name in (*templates.built_in_names(), "welcome"):
        page = admin.get(f"/settings/mails/{name}?theme=dark").text
        assert "<h2>Plain text</h2>" in page
        shown = showing.get(name)
        assert shown.mail is not None and shown.fault is None
        if not shown.mail.html:
            assert "iframe" not in page
            assert admin.get(f"/settings/mails/{name}/html").status_code == 404
            continue
        assert page.count('sandbox="" title="The email on a') == 2
        for theme, asked in (("light", "(max-width: 0)"), ("dark", "(min-width: 0)")):
            html = admin.get(f"/settings/mails/{name}/html?theme={theme}").text
            assert f"@media {asked}" in html
            assert "prefers-color-scheme" not in html
    assert admin.get("/settings/mails/no_such").status_code == 404
    assert admin.get("/settings/mails/..%2Fpassword_reset").status_code == 404


def test_the_frame_is_shut_off_from_everything(admin: Visitor) -> None:
    answer = admin.get("/settings/mails/password_reset/html")
    policy = answer.headers["Content-Security-Policy"]
    assert policy == ("default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox; frame-ancestors 'self'")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"


def test_a_template_without_sample_values_is_shown_with_their_names(admin: Visitor, folder: Path) -> None:
    page = admin.get("/settings/mails/welcome").text
    assert "Welcome, name" in page
    assert "It has no sample.json" in page
    (folder / "welcome" / "sample.json").write_text('{"name": "Jane"}')
    assert "Welcome, Jane" in admin.get("/settings/mails/welcome").text
    for broken in ("[1]", "{", "\ud83d".encode("utf-8", "surrogatepass").decode("latin-1"), "[" * 100_000):
        (folder / "welcome" / "sample.json").write_text(broken)
        assert "Welcome, name" in admin.get("/settings/mails/welcome").text


def test_what_jinja_does_not_understand_is_told_of_where_there_are_no_sample_values_too(
    admin: Visitor, folder: Path
) -> None:
    for source in ("{{ name|capitalise }}", "{% if name is fine %}x{% endif %}", "{{ 1" + " + 1" * 20_000 + " }}"):
        (folder / "welcome" / "body.txt").write_text(source)
        own_templates.environment(folder).cache.clear()  # type: ignore[union-attr]
        for path in ("/settings/mails", "/settings/mails/welcome"):
            answer = admin.get(path)
            assert (answer.status_code, "welcome" in answer.text) == (200, True), source[:30]
            assert "welcome/body.txt, line 1" in answer.text or "It includes itself." in answer.text, source[:30]


def test_a_sample_is_sent_to_whoever_asks_and_what_came_of_it_is_told(
    admin: Visitor, mail_server: RecordingServer, folder: Path
) -> None:
    answer = admin.post_form("/settings/mails/password_reset/send?theme=dark", {})
    assert answer.location == "/settings/mails/password_reset?theme=dark"
    assert "It was not sent to alice@example.com. SMTP not configured." in admin.get(answer.location).text
    values = {"name": "Primary", "smtp_server": "127.0.0.1", "smtp_port": mail_server.port, "use_tls": False}
    configs.create(parse_change({**values, "from_email": "a@example.com", "is_active": True}))
    answer = admin.post_form("/settings/mails/welcome/send", {})
    assert "Sent to alice@example.com through Primary." in admin.get(answer.location).text
    (mail,) = mail_server.mails
    assert "Subject: Sample: Welcome, name" in mail.content.decode()
    (folder / "welcome" / "body.txt").write_text("{% if %}")
    answer = admin.post_form("/settings/mails/welcome/send", {})
    assert "This template is broken. welcome/body.txt, line 1" in admin.get(answer.location).text
    answers = [admin.post_form("/settings/mails/welcome/send", {}).status_code for _ in range(10)]
    limiter.storage.reset()
    assert answers[-1] == 429


def test_the_branding_shows_in_every_mail_in_html_and_text(admin: Visitor) -> None:
    file = a_png(600, 100, chunk(b"tEXt", b"Comment\0secret"))
    answer = post(
        admin, file=file, name='A & B <"Shop">', colour="#ffd400", footer="A & B Ltd\r\n <b>1 High Street</b> "
    )
    assert answer.status_code == 303
    assert branding.saved().logo_width == 600
    for name in templates.built_in_names():
        mail = showing.get(name).mail
        assert mail is not None
        (image,) = Tags(mail.html).all("img")
        wanted = {"src": "cid:logo", "alt": 'A & B <"Shop">', "width": "240", "height": "40"}
        assert {key: image[key] for key in wanted} == wanted
        assert "A &amp; B Ltd<br>" in mail.html
        assert "&lt;b&gt;1 High Street&lt;/b&gt;" in mail.html
        assert mail.text.endswith("\n\n-- \nA & B Ltd\n<b>1 High Street</b>\n")
        assert "OpenAlgo" not in mail.subject + mail.text + mail.html
        assert "#4F46E5" not in mail.html
        assert [each.content_id for each in mail.attachments] == ["logo"]
    reset = showing.get("password_reset").mail
    assert reset is not None
    (button,) = [link for link in Tags(reset.html).all("a") if "display: inline-block" in str(link["style"])]
    assert all(rule in str(button["style"]) for rule in ("background-color: #FFD400", "color: black"))
    with reading() as session:
        event = session.scalars(select(AuditEvent).where(AuditEvent.action == "branding_saved")).one()
    assert (event.actor, event.details) == ("alice", "name, colour, footer, logo")


def test_the_logo_goes_along_with_a_mail_and_holds_nothing_but_the_picture(
    admin: Visitor, mail_server: RecordingServer
) -> None:
    post(admin, file=a_png(30, 20, chunk(b"eXIf", b"secret place")))
    values = {"name": "Primary", "smtp_server": "127.0.0.1", "smtp_port": mail_server.port, "use_tls": False}
    configs.create(parse_change({**values, "from_email": "a@example.com", "is_active": True}))
    admin.post_form("/settings/mails/password_reset/send", {})
    mail = message_from_bytes(mail_server.mails[0].content, policy=policy.default)
    (image,) = [part for part in mail.walk() if part.get_content_type() == "image/png"]
    assert image["Content-ID"] == "<logo>"
    assert image.get_content() == branding.logo() == png.clean(a_png(30, 20)).octets
    answer = admin.get(f"{BRANDING}/logo")
    assert (answer.data, answer.headers["Content-Type"]) == (branding.logo(), "image/png")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "data:image/png;base64," in admin.get(f"{BRANDING}/preview").text


REFUSED_FILES: Final = {
    "an SVG": b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
    "HTML behind": a_png() + b"<script>alert(1)</script>",
    "an animation": a_png(2, 2, chunk(b"acTL", bytes(8))),
    "nothing": b"",
    "a bomb": a_png(1, 1).replace(struct.pack(">II", 1, 1), struct.pack(">II", 60000, 60000)),
    "large": a_png() + bytes(png.LARGEST),
}
REFUSED_URLS: Final = (
    *("http://example.com/a.png", "data:image/png;base64,AAAA", "javascript:alert(1)", "//example.com/a.png", "a.png"),
    *("https://user:pass@example.com/a.png", "https://user@example.com/a.png", "https://localhost/a.png"),
    *("https://127.0.0.1/a.png", "https://10.0.0.1/a.png", "https://[::1]/a.png", "https://2130706433/", "https://0x7f.1/"),
    *("https://intranet/a.png", "https://printer.local/a.png", "https://8.8.8.8/a.png", "https://example.com:0/a.png"),
    *("https://example.com:99999/a.png", "https://exa mple.com/a.png", "https://example.com\\@evil.example/a.png"),
    *('https://example.com/a.png"onerror="x', "https://example.com/;script-src *", "https://example.com/a b.png"),
    *("https://", "https:example.com/a.png", "https://example.com/" + "a" * 1100, "HTTPS://[/a.png", "https://ex\u2028a.com/"),
)  # fmt: skip


def test_what_is_no_logo_is_refused_at_its_field_and_nothing_is_saved(admin: Visitor) -> None:
    found = {kind: post(admin, file=file, name="Typed") for kind, file in REFUSED_FILES.items()}
    assert {kind: answer.status_code for kind, answer in found.items()} == dict.fromkeys(found, 422)
    assert all(errors_of(answer).keys() == {"logo"} for answer in found.values())
    assert all('value="Typed"' in answer.text for answer in found.values())
    for url in REFUSED_URLS:
        answer = post(admin, logo_url=url)
        assert (url, answer.status_code, list(errors_of(answer))) == (url, 422, ["logo_url"])
    assert branding.saved().version == 0


def test_a_file_of_five_megabytes_is_refused_by_the_name_of_its_field(admin: Visitor) -> None:
    answer = post(admin, file=b"\x89PNG\r\n\x1a\n" + bytes(5_000_000))
    assert answer.status_code == 413
    assert png.TOO_LARGE in answer.text
    headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
    answer = admin.patch(API, json={"logo": "A" * 5_000_000}, headers=headers)
    assert (answer.status_code, answer.json["errors"]) == (413, {"logo": [png.TOO_LARGE]})  # type: ignore[index]


def test_odd_names_colours_and_footers_are_refused_at_their_fields(admin: Visitor) -> None:
    odd = {
        "name": ("x" * 65, "a\nb", "a\0b", "a\u202eb"),
        "colour": ("red", "#12345", "#fff;}body{", "url(x)"),
        "footer": ("x" * 601, "a\n" * 9 + "b", "a\0b", "a\u2028b"),
    }
    for name, texts in odd.items():
        for text in texts:
            assert list(errors_of(post(admin, BRANDING, None, **{name: text}))) == [name], text
    assert branding.saved().version == 0


def test_a_logo_is_a_file_or_a_url_and_either_replaces_the_other(admin: Visitor) -> None:
    answer = post(admin, file=a_png(), logo_url="https://example.com/logo.png")
    assert errors_of(answer) == {"logo": branding.ONE_LOGO}
    url = "https://example.com/logo.png?v=1"
    assert post(admin, logo_url=url).status_code == 303
    answer = admin.get("/settings/mails/password_reset/html")
    assert f'src="{url}"' in answer.text
    assert "img-src data: https://example.com/logo.png;" in answer.headers["Content-Security-Policy"]
    assert post(admin, file=a_png(), logo_url=url, version="1").status_code == 303  # the URL as it stood in the form
    assert (branding.saved().has_logo, branding.saved().logo_url) == (True, "")
    assert post(admin, version="2").status_code == 303
    assert branding.saved().has_logo
    assert post(admin, version=str(branding.saved().version), remove_logo="1").status_code == 303
    assert not branding.saved().has_logo
    assert admin.get(f"{BRANDING}/logo").status_code == 404


def test_a_preview_shows_what_was_typed_and_saves_nothing(admin: Visitor) -> None:
    answer = post(admin, f"{BRANDING}/preview", file=a_png(), name="Acme", colour="#ffd400", theme="dark")
    assert "data:image/png;base64," in answer.text
    assert "reset your Acme password" in answer.text
    assert "@media (min-width: 0)" in answer.text
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    refused = post(admin, f"{BRANDING}/preview", colour="<script>")
    assert refused.status_code == 422
    assert "Colour: Enter a colour" in refused.text
    assert "<script" not in refused.text
    assert branding.saved().version == 0


def test_of_two_who_save_the_second_sees_both_versions(admin: Visitor) -> None:
    assert post(admin, name="One").status_code == 303
    answer = post(admin, name="Two", version="0")
    assert answer.status_code == 409
    assert "Both versions" in answer.text
    assert 'value="Two"' in answer.text
    assert branding.saved().name == "One"
    assert post(admin, name="Two", version="1").status_code == 303


def test_programs_read_and_change_the_branding(admin: Visitor) -> None:
    headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
    usual = {"name": "", "colour": "", "footer": "", "logo_url": "", "has_logo": False}
    told = admin.get(API, headers=headers).json
    assert told == {"status": "success", "data": usual | {"logo_width": None, "logo_height": None, "version": 0}}
    change = {"name": "Acme", "logo": base64.b64encode(a_png(8, 4)).decode(), "version": 0}
    answer = admin.patch(API, json=change, headers=headers)
    assert answer.json is not None
    assert answer.json["data"] == usual | {
        "name": "Acme", "has_logo": True, "logo_width": 8, "logo_height": 4, "version": 1,
    }  # fmt: skip
    assert admin.patch(API, json=change, headers=headers).status_code == 409
    for wrong in ({"logo": "!"}, {"logo": 5}, {"logo": ""}, {"colour": 5}, {"logo_url": "http://x.example/"}, {"x": 1}):
        answer = admin.patch(API, json=wrong, headers=headers)
        assert (answer.status_code, list(answer.json["errors"])) == (422, list(wrong))  # type: ignore[index]
    assert admin.patch(API, json={"logo": None}, headers=headers).json["data"]["has_logo"] is False  # type: ignore[index]

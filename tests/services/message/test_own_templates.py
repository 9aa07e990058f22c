"""An installation's own templates: they stand in for ours, bring new ones, and cannot hurt a mail or the machine."""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from flask import Flask

from services.message import brand, own_templates, sandbox, templates
from services.message.own_templates import (
    LEADS_OUT,
    NO_BODY,
    NO_SUBJECT,
    NO_TEXT,
    ODD_NAME,
    TOO_LARGE,
    names,
)
from services.message.sandbox import NO_AUTOESCAPE, TOO_MUCH
from services.message.templates import BrokenTemplate, MissingValues, look_at, render, render_checked
from utils.env_reader import ConfigurationError
from utils.env_utils import EXTENSION, load_settings

RESET = {"reset_url": "https://app.example.com/reset-password?token=a&b=c"}
HOSTILE = "<b>x</b>\r\nBcc: e@e.example"

Write = Callable[[str, str], None]


@pytest.fixture
def folder(app: Flask, tmp_path: Path) -> Iterator[Path]:
    made = tmp_path / "mails"
    made.mkdir()
    app.extensions[EXTENSION] = replace(app.extensions[EXTENSION], mail_templates=made)
    templates._told.clear()
    with app.app_context():
        yield made


@pytest.fixture
def write(folder: Path) -> Write:
    def written(name: str, text: str) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)

    return written


def welcome(write: Write, text: str = "Hello {{ name }}", subject: str = "Welcome, {{ name }}") -> None:
    write("welcome/subject.txt", subject)
    write("welcome/body.txt", text)


def fault(name: str, /, **values: object) -> str:
    return str(look_at(name, values, brand.usual())[1] or "")


def test_a_part_of_ones_own_stands_in_for_the_built_in_one_and_the_others_stay(write: Write) -> None:
    write("password_reset/subject.txt", "{{ app_name }}: choose a new password\n")
    mail = render("password_reset", **RESET)
    assert mail.subject == "OpenAlgo: choose a new password"
    assert mail.text.startswith("Hello,\n\nYou requested")
    assert ">Reset Password</a>" in mail.html


def test_a_layout_of_ones_own_serves_every_mail(write: Write) -> None:
    write("_base.html", "<p>Ours</p>{% block content %}{% endblock %}")
    assert "<p>Ours</p>" in render("password_reset", **RESET).html


def test_a_change_of_a_file_shows_at_the_next_mail(write: Write, folder: Path) -> None:
    assert render("password_reset", **RESET).subject == "Reset Your OpenAlgo Password"
    write("password_reset/subject.txt", "One")
    assert render("password_reset", **RESET).subject == "One"
    write("password_reset/subject.txt", "Another")
    assert render("password_reset", **RESET).subject == "Another"
    (folder / "password_reset" / "subject.txt").unlink()
    assert render("password_reset", **RESET).subject == "Reset Your OpenAlgo Password"


def test_a_new_template_may_loop_over_what_it_is_given_and_needs_one_body_only(write: Write) -> None:
    welcome(write, "{% for each in rows %}{{ loop.index }} {{ each.what }}: {{ each.price + 1 }}\n{% endfor %}")
    mail = render("welcome", name="Jane", rows=[{"what": "Tea", "price": 2}, {"what": "Pot", "price": 9.5}])
    assert (mail.subject, mail.text, mail.html) == ("Welcome, Jane", "1 Tea: 3\n2 Pot: 10.5\n", "")


def test_prices_and_words_can_be_written_as_they_should_look(write: Write) -> None:
    written = "{{ '%.2f'|format(price) }} {{ '%5s%%|%03d'|format('a', 7) }} {{ name|replace('Ja', 'Su')|upper }}"
    more = " {{ price|round(1) }} {{ rows|map(attribute='n')|sum }} {{ rows|map(attribute='n')|join(', ') }}"
    welcome(write, written + more)
    text = render("welcome", name="Jane", price=9.5, rows=[{"n": 1}, {"n": 2}]).text
    assert text == "9.50     a%|007 SUNE 9.5 3 1, 2"


def test_values_are_escaped_in_html_at_any_depth_and_no_line_break_gets_into_a_subject(write: Write) -> None:
    welcome(write, subject="Hi\n{{ name }}\n\n{{ rows[0] }}")
    write(
        "welcome/body.html",
        '<p>{{ name }}{{ rows[0] }}{{ rows|join("<") }}{{ "<" ~ name }}</p><a href="{{ url }}">x</a>',
    )
    url = 'https://x.example/?a=1&b="2"'
    mail = render("welcome", name=HOSTILE, rows=[HOSTILE], url=url)
    assert mail.subject == "Hi <b>x</b> Bcc: e@e.example <b>x</b> Bcc: e@e.example"
    assert "<b>" not in mail.html
    assert 'href="https://x.example/?a=1&amp;b=&quot;2&quot;"' in mail.html
    assert len(mail.text.splitlines()) == 1


BROKEN = {
    "syntax": ("one\n{% if %}", "password_reset/body.txt, line 2"),
    "an unknown tag": ("{% frobnicate %}", "line 1"),
    "an unknown filter": ("\n\n{{ reset_url|frobnicate }}", "line 3"),
    "an unknown value": ("\n{{ reset_urll }}", "line 2: 'reset_urll' is undefined."),
    "an unknown attribute": ("{{ reset_url.x.y }}", "line 1"),
    "a division by nought": ("{{ 1 / 0 }}", "line 1: It fails with ZeroDivisionError."),
    "an include that is not there": ("{% include 'no_such.txt' %}", "line 1: There is no no_such.txt."),
    "an include from outside": ("{% include '../../../../etc/passwd' %}", "line 1: There is no"),
    "a macro that is not there": ('{% from "_macros.html" import nothing %}{{ nothing() }}', "line 1"),
    "itself": ("{% include 'password_reset/body.txt' %}", "It includes itself."),
    "escaping off": ("{% autoescape false %}x{% endautoescape %}", NO_AUTOESCAPE),
    "unescaped": ("{{ reset_url|safe }}", "line 1"),
    "the way to Python": ("{{ ''.__class__.__mro__ }}", "line 1"),
    "the way through a function": ("{{ range.__globals__ }}", "line 1"),
    "the way through a format": ("{{ '{0.__class__}'.format(1) }}", "line 1"),
    "a width that is not counted": ("{{ '{:>99}'.format(1) }}", f"line 1: {own_templates.NOT_ALLOWED}"),
    "widths of a list": ("{{ '{:>99}'.format_map(1) }}", f"line 1: {own_templates.NOT_ALLOWED}"),
    "the way through a filter": ("{{ ''|attr('__class__') }}", "line 1"),
    "a global": ("{{ self.__init__.__globals__ }}", "line 1"),
}
KEPT = "{% set n = namespace(x=FIRST) %}{% for a in range(99) %}{% set n.x = NEXT %}{% endfor %}{{ n.x == n.x }}"


def growing(first: str, following: str) -> str:
    return KEPT.replace("FIRST", first).replace("NEXT", following)


ENDLESS = {
    "loops": "{% for a in range(99999) %}" * 3 + "{% endfor %}" * 3,
    "filtered loops": "{% for a in range(99999) %}{% for b in range(99999) if false %}{% endfor %}{% endfor %}",
    "a long loop": "{% for a in range(10 ** 12) %}x{% endfor %}",
    "output": "{% for a in range(99999) %}{{ 'x' * 1000 }}{% endfor %}",
    "a text": "{{ 'x' * 10 ** 10 }}",
    "a list": "{{ ([1] * 10 ** 9)|length }}",
    "lists in lists": "{{ [['x' * 99999] * 99999] * 99999 }}",
    "numbers": "{{ 9 ** 9 ** 9 }}",
    "squares": growing("99", "n.x * n.x"),
    "doubling by ~": growing("'ab'", "n.x ~ n.x"),
    "doubling by +": growing("[1]", "n.x + n.x"),
    "doubling by lists": growing("1", "[n.x, n.x]"),
    "doubling by objects": growing("1", "{1: n.x, 2: n.x}"),
    "doubling by pairs": growing("1", "(n.x, n.x)"),
    "doubling by blocks": growing("'ab'", "n.x").replace(
        "{% set n.x", "{% set n.x %}{{ n.x }}{{ n.x }}{% endset %}{% set b"
    ),
    "kept lists": growing("[]", "n.x + [('a ' * 9999).split()]"),
    "macros": "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(60) }}",
    "includes": "{% set d = (d|default(60)) - 1 %}{% if d %}"
    + "{% include 'password_reset/body.txt' %}" * 2
    + "{% endif %}",
    "a wide format": "{{ '%999999999d'|format(1) }}",
    "replacing": "{{ ('a' * 999999)|replace('a', 'b' * 99999) }}",
    "replacing nothing": "{{ ('a' * 99999)|replace('', 'b' * 99999) }}",
    "rounding": "{{ 5|round(-(10 ** 9)) }}",
    "joining": "{{ range(99999)|join('x' * 999999) }}",
    "summing": "{{ ([[1] * 300] * 300)|sum(start=[]) }}",
}  # fmt: skip


def test_a_broken_template_is_named_with_its_line_once_and_the_built_in_one_serves(
    write: Write, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = {}
    for kind, (source, told) in BROKEN.items():
        caplog.clear()
        write("password_reset/body.txt", source)
        templates._told.clear()
        own_templates.environment(folder).cache.clear()  # type: ignore[union-attr]
        for _ in range(2):
            assert "You requested to reset your OpenAlgo password" in render("password_reset", **RESET).text
        assert [record.getMessage().count("'event': 'mail_template_broken'") for record in caplog.records] == [1], kind
        found[kind] = fault("password_reset", **RESET)
        assert told in found[kind], kind
    assert all(each.startswith("password_reset/body.txt") for each in found.values())


def test_a_template_without_an_end_is_stopped(write: Write, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "_MOST_SECONDS", 0.1)
    found = {}
    for kind, source in ENDLESS.items():
        write("password_reset/body.txt", source)
        own_templates.environment(folder).cache.clear()  # type: ignore[union-attr]
        found[kind] = fault("password_reset", **RESET)
    others = {kind for kind, told in found.items() if TOO_MUCH not in told}
    assert others <= {"summing", "includes", "a wide format"}, found
    assert all(found.values())


def test_what_a_value_says_stands_in_no_line_of_the_log(write: Write, caplog: pytest.LogCaptureFixture) -> None:
    for source in (
        "{{ reset_url|int + reset_url }}",
        "{{ reset_url() }}",
        "{{ [][reset_url] }}",
        "{{ {}[reset_url] }}",
    ):
        write("password_reset/body.txt", source)
        render("password_reset", reset_url="s3cret")
    assert caplog.records
    assert "s3cret" not in caplog.text


def test_a_broken_template_without_a_built_in_one_is_told_to_the_caller(write: Write) -> None:
    welcome(write, "fine\n{% for %}")
    with pytest.raises(BrokenTemplate, match=r"^template: This template is broken. welcome/body.txt, line 2: "):
        render("welcome", name="Jane")


def test_all_values_that_are_missing_are_named_and_optional_ones_are_not(write: Write) -> None:
    welcome(
        write,
        "{{ a }}{% if b is defined %}{{ b }}{% endif %}{{ c|default('x') }}"
        "{{ brand.name }}{{ d.e }}{{ range(1)|list }}",
    )
    with pytest.raises(MissingValues, match=r"^values: These are missing: a, d, name\.$"):
        render_checked("welcome", {"f": 1}, brand.usual())
    assert render_checked("welcome", {"a": 1, "d": {"e": 2}, "name": "J"}, brand.usual()).text == "1xOpenAlgo2[0]"
    with pytest.raises(MissingValues, match=r"^values: These are missing: reset_url\.$"):
        render_checked("password_reset", {}, brand.usual())
    with pytest.raises(MissingValues, match=r"^values: One of them is not as needed\. welcome/body.txt, line 1: "):
        render_checked("welcome", {"a": 1, "d": {}, "name": "J"}, brand.usual())


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../welcome", "welcome/", "/etc", "a b", "a\0b", "wel\ncome", "x" * 33, "-x", "ä"]
)
def test_an_odd_name_is_no_template(name: str, write: Write) -> None:
    welcome(write)
    with pytest.raises(ValueError, match=r"^template: There is no template of this name\.$"):
        render_checked(name, {"name": "Jane"}, brand.usual())


def test_nothing_outside_the_folder_is_read(write: Write, folder: Path) -> None:
    outside = folder.parent / "outside"
    outside.mkdir()
    (outside / "subject.txt").write_text("stolen")
    (outside / "body.txt").write_text("stolen")
    (folder / "linked").symlink_to(outside)
    welcome(write)
    (folder / "welcome" / "body.html").symlink_to(outside / "body.txt")
    (folder / "dangling").symlink_to(folder / "nowhere")
    (folder / "a b").mkdir()
    assert dict(names(folder)) == {"a b": ODD_NAME, "dangling": "", "linked": LEADS_OUT, "welcome": ""}
    assert fault("linked") == f"linked/subject.txt: {LEADS_OUT}"
    assert fault("welcome", name="Jane") == f"welcome/body.html: {LEADS_OUT}"
    (folder / "welcome" / "body.html").unlink()
    (folder / "welcome" / "body.html").symlink_to(folder / "welcome" / "body.txt")  # as a mounted ConfigMap has it
    assert fault("welcome", name="Jane") == ""


def test_what_is_no_template_file_is_refused(write: Write, folder: Path) -> None:
    write("welcome/body.txt", "x")
    assert fault("welcome") == f"welcome/subject.txt: {NO_SUBJECT}"
    write("welcome/subject.txt", "x")
    (folder / "welcome" / "body.txt").write_text("")
    assert fault("welcome") == f"welcome: {NO_BODY}"
    (folder / "welcome" / "body.txt").write_bytes(b"\xff\xfe")
    assert fault("welcome") == f"welcome/body.txt: {NO_TEXT}"
    (folder / "welcome" / "body.txt").write_bytes(b"x" * 200_000)
    assert fault("welcome") == f"welcome/body.txt: {TOO_LARGE}"
    (folder / "welcome" / "body.txt").unlink()
    os.mkfifo(folder / "welcome" / "body.txt")  # which nobody ever writes to
    assert "not a file" in fault("welcome")


def test_a_folder_that_is_not_there_stops_the_start(environment: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="MAIL_TEMPLATES is not a folder"):
        load_settings(environment | {"MAIL_TEMPLATES": str(tmp_path / "nowhere")})

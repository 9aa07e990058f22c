"""`/settings/smtp/headers`: pasted headers are read, shown as text, and kept nowhere."""

import pytest

from blueprints.pages.headers_page import spoken
from tests.services.domain.received_samples import AMAZON, GMAIL, MICROSOFT
from tests.visitors import Visitor

URL = "/settings/smtp/headers"


def pasted(admin: Visitor, headers: str) -> str:
    return admin.post_form(URL, {"headers": headers}, content_type="multipart/form-data").text


def test_the_verdicts_the_path_and_the_judge_are_shown(admin: Visitor) -> None:
    page = pasted(admin, GMAIL)
    for shown in ("Signed for shop.example", "mx.google.com", "3 hops, 3 s in total", "Encrypted"):
        assert shown in page


def test_what_failed_leads_to_the_check_of_the_domain(admin: Visitor) -> None:
    page = pasted(admin, MICROSOFT)
    assert "/settings/smtp/domain?domain=shop.example" in page
    assert "Add it: the domain check" in page


def test_headers_cannot_add_markup(admin: Visitor) -> None:
    hostile = "<script>alert(1)</script>"
    page = pasted(admin, AMAZON.replace("Shop", hostile).replace("mx.google.com", hostile))
    assert "<script>alert" not in page
    assert "&lt;script&gt;" in page


def test_what_is_no_headers_is_refused_and_kept_in_the_field(admin: Visitor) -> None:
    answer = admin.post_form(URL, {"headers": "Dear <Bob>"})
    assert answer.status_code == 422
    assert "Dear &lt;Bob&gt;</textarea>" in answer.text
    assert 'aria-describedby="headers-error headers-hint"' in answer.text


@pytest.mark.parametrize("size", [50_000, 70_000])
def test_whatever_is_pasted_gets_an_answer(admin: Visitor, size: int) -> None:
    answer = admin.post_form(URL, {"headers": "Received: " + "x" * size}, content_type="multipart/form-data")
    assert answer.status_code == (200 if size < 64 * 1024 else 413)


def test_a_form_of_another_site_is_refused(admin: Visitor) -> None:
    assert admin.post(URL, data={"headers": GMAIL}).status_code == 400


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (59, "59 s"), (-60, "1 min 0 s"), (3599, "59 min 59 s"), (7260, "2 h 1 min")]
)
def test_time_spans_are_told_in_words(seconds: float, words: str) -> None:
    assert spoken(seconds) == words

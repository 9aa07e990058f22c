"""Servers by mail domain: which there may be, for whom one is, and that two administrators do not undo each other."""

import pytest

from services import audit
from services.personal import policy_changes, templates
from utils.errors import Conflict, InvalidInput, NotFound

pytestmark = pytest.mark.usefixtures("app")

GOOD = {"domain": "example.com", "host": "smtp.example.com", "port": "587", "security": "starttls"}


def test_a_template_is_for_whoever_has_an_address_at_exactly_that_domain() -> None:
    made = templates.save({**GOOD, "domain": "Example.COM", "host": "SMTP.example.com."})
    assert (made.domain, made.host, made.port, made.security) == ("example.com", "smtp.example.com", 587, "starttls")
    assert templates.for_addresses("me@EXAMPLE.com") == made
    assert templates.for_addresses("apikey", " me@example.com ") == made
    for other in ("me@sub.example.com", "example.com", "me@badexample.com", "me@example.com.evil.example", "", "@"):
        assert templates.for_addresses(other) is None


def test_the_first_address_that_has_one_counts() -> None:
    one, two = templates.save(GOOD), templates.save({**GOOD, "domain": "example.org"})
    assert templates.for_addresses("a@example.org", "b@example.com") == two
    assert templates.for_addresses("a@example.net", "b@example.com") == one


def test_a_domain_in_other_letters_is_the_same_one() -> None:
    made = templates.save({**GOOD, "domain": "münchen.example"})
    assert made.domain == "xn--mnchen-3ya.example"
    assert templates.for_addresses("me@München.example") == made


@pytest.mark.parametrize(
    ("field", "text"),
    [
        *(("domain", text) for text in ("", "@", "a b", "127.0.0.1", "[::1]", "me@a.example", "*.a.example", "a..b")),
        *(("host", text) for text in ("", "https://x.example", "127.1", "0x7f000001", "a b", "smtp.example.com:587")),
        *(("port", text) for text in ("", "0", "65536", "-1", "587.0", "٣", "0x1F", "9" * 5000)),
        *(("security", text) for text in ("", "none", "ssl", "STARTTLS")),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_at_its_field(field: str, text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        templates.save({**GOOD, field: text})
    assert list(refused.value.errors) == [field]
    assert templates.every() == []


def test_only_a_host_that_the_policy_allows_can_be_fixed() -> None:
    policy_changes.save({"allowed": "named", "hosts": "example.org"})
    with pytest.raises(InvalidInput) as refused:
        templates.save(GOOD)
    assert refused.value.errors == {"host": [templates.NOT_ALLOWED]}
    assert templates.save({**GOOD, "host": "smtp.example.org"}).id


def test_templates_can_be_made_ready_before_servers_are_allowed() -> None:
    policy_changes.save({"allowed": "off"})
    assert templates.save(GOOD).id


def test_a_domain_has_one_template() -> None:
    first, other = templates.save(GOOD), templates.save({**GOOD, "domain": "example.org"})
    with pytest.raises(InvalidInput) as refused:
        templates.save({**GOOD, "domain": "EXAMPLE.com"})
    assert refused.value.errors == {"domain": [templates.TAKEN]}
    with pytest.raises(InvalidInput):
        templates.save(GOOD, template_id=other.id)
    assert templates.save(GOOD, template_id=first.id, mark=first.mark) == first


def test_what_somebody_else_changed_meanwhile_is_not_undone() -> None:
    first = templates.save(GOOD)
    templates.save({**GOOD, "port": "465", "security": "tls"}, template_id=first.id, mark=first.mark)
    with pytest.raises(Conflict):
        templates.save({**GOOD, "host": "other.example"}, template_id=first.id, mark=first.mark)
    with pytest.raises(Conflict):
        templates.delete(first.id, mark=first.mark)
    assert templates.get(first.id).port == 465


def test_a_deleted_one_is_gone_for_everybody() -> None:
    made = templates.save(GOOD)
    assert templates.delete(made.id, mark=made.mark) == made
    for work in (templates.get, templates.delete):
        with pytest.raises(NotFound):
            work(made.id)
    with pytest.raises(NotFound):
        templates.save(GOOD, template_id=made.id)
    assert templates.for_addresses("me@example.com") is None


@pytest.mark.parametrize("template_id", [0, -1, 2**31, 2**70])
def test_an_id_that_there_cannot_be_is_not_found(template_id: int) -> None:
    for work in (templates.get, templates.delete):
        with pytest.raises(NotFound):
            work(template_id)


def test_the_trail_has_it_all_once() -> None:
    made = templates.save(GOOD)
    templates.save(GOOD, template_id=made.id)
    templates.delete(made.id)
    assert [event.action for event in audit.events()][:2] == ["template_deleted", "template_saved"]
    assert len(audit.events(action="template_saved")) == 1

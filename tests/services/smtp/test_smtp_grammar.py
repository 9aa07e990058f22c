"""What stands between angle brackets at MAIL and RCPT."""

import pytest

from services.smtp import grammar
from tests.utils.hostile_addresses import CONTROLS, SMUGGLED


@pytest.mark.parametrize(
    ("address", "plain", "quoted"),
    [
        ("a..b@docomo.ne.jp", b"<a..b@docomo.ne.jp>", b'<"a..b"@docomo.ne.jp>'),
        ("a.@docomo.ne.jp", b"<a.@docomo.ne.jp>", b'<"a."@docomo.ne.jp>'),
        (".a@docomo.ne.jp", b"<.a@docomo.ne.jp>", b'<".a"@docomo.ne.jp>'),
        ("a..b@bücher.example", b"<a..b@xn--bcher-kva.example>", b'<"a..b"@xn--bcher-kva.example>'),
        ("a..b@my_shop.example", b"<a..b@my_shop.example>", b'<"a..b"@my_shop.example>'),
        ("jane.doe@example.com", b"<jane.doe@example.com>", None),
        ("a@my_shop.example", b"<a@my_shop.example>", None),
        ("jürgen@example.com", "<jürgen@example.com>".encode(), None),
        ("", b"<>", None),
    ],
)
def test_an_address_with_dots_at_odd_places_has_a_second_spelling(
    address: str, plain: bytes, quoted: bytes | None
) -> None:
    assert grammar.path(address) == plain
    assert grammar.quoted_path(address) == quoted


@pytest.mark.parametrize(
    "address",
    [
        *SMUGGLED,
        *(f"a..{control}b@x.example" for control in CONTROLS if not control.isprintable()),
        'a.."b@x.example',
        '"a..b"@x.example',
        "a..b\\@x.example",
        "a..b>@x.example",
        "a..<b@x.example",
        "a..b@x.example@y.example",
        "a..b",
    ],
    ids=ascii,
)
def test_what_could_end_the_path_or_the_line_has_no_spelling_at_all(address: str) -> None:
    for spell in (grammar.path, grammar.quoted_path):
        with pytest.raises(ValueError, match="address"):
            spell(address)

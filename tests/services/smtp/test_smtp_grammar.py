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


@pytest.mark.parametrize(
    ("said", "octets"),
    [("10240000", 10_240_000), ("9" * 20, 10**20 - 1), ("9" * 5000, 0), ("٣", 0), ("1_0", 0), ("-1", 0), ("", 0)],
)
def test_a_size_that_is_no_number_of_the_standard_says_nothing(said: str, octets: int) -> None:
    assert grammar.size_limit({"SIZE": said}) == octets

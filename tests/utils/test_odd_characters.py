"""Characters that look right and are not, in what was typed or copied."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from utils.odd_characters import plain, told_of, way_out


@pytest.mark.parametrize(
    ("text", "sentence", "meant"),
    [
        ("geheim ", "The password ends with a space.", "geheim"),
        (" geheim", "The password starts with a space.", "geheim"),
        (" geheim\t", "The password starts with a space and ends with a tab.", "geheim"),
        ("geheim\r\n", "The password ends with a line break.", "geheim"),
        ("geheim\xa0", "The password ends with a no-break space.", "geheim"),
        ("\ufeffgeheim", "The password starts with an invisible character.", "geheim"),
        ("ge\u200bheim", "The password contains an invisible character.", "geheim"),
        ("geheim\u3000", "The password ends with a wide space.", "geheim"),
        ("it\u2019s geheim", "The password contains a curly quote.", "it's geheim"),
        ("\u201cgeheim\u201d", "The password contains a curly quote.", '"geheim"'),
        ("ｇeheim", "The password contains a full-width letter.", "geheim"),
        ("ge\xa0heim", "The password contains a no-break space.", "ge heim"),
        ("ge\u2013heim", "The password contains a long dash.", "ge-heim"),
        (" ge\u200bheim\u2019 ", "The password starts with a space, ends with a space and contains a curly quote"
         " and an invisible character.", "geheim'"),
        ("  ", "The password is nothing but a space.", ""),
    ],
)  # fmt: skip
def test_what_is_odd_is_named_and_what_was_meant_is_known(text: str, sentence: str, meant: str) -> None:
    assert told_of("The password", text) == sentence
    assert plain(text) == meant


@pytest.mark.parametrize("text", ["", "0O0O", "a b", "Straße 7", "пароль", "密码", "a-b", "l1I|", "😀", "it's", '"x"'])
def test_what_may_well_be_meant_is_left_as_it_is(text: str) -> None:
    assert told_of("The password", text) == ""
    assert plain(text) == text


@given(st.text())
def test_what_was_meant_has_nothing_odd(text: str) -> None:
    assert told_of("It", plain(text)) == ""
    assert (told_of("It", text) == "") == (plain(text) == text)


@pytest.mark.parametrize(
    ("text", "way"),
    [
        ("geheim ", "without the space"),
        (" geheim ", "without the space"),
        ("ge\u200bheim", "without the invisible character"),
        ("geheim\xa0", "without the no-break space"),
        (" geheim\t", "without these characters"),
        (" it\u2019s", "without these characters"),
        ("it\u2019s", "with plain characters instead"),
        ("ge\xa0heim", "with plain characters instead"),
    ],
)
def test_the_way_out_is_named_in_a_few_words(text: str, way: str) -> None:
    assert way_out(text) == way

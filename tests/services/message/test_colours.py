"""Whatever colour is chosen, what stands in it and on it can be read in both themes."""

from itertools import product

import pytest

from services.message import colours
from services.message.colours import READABLE, VISIBLE, contrast, parse, shades


def test_the_contrast_is_that_of_wcag() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#FFFFFF") == pytest.approx(4.48, abs=0.01)


def test_every_colour_can_be_read_in_both_themes() -> None:
    steps = ("00", "33", "4F", "66", "77", "99", "CC", "FF")
    for parts in product(steps, repeat=3):
        found = shades(f"#{''.join(parts)}")
        assert contrast({"white": "#ffffff", "black": "#000000"}[found.on_button], found.button) >= READABLE
        assert all(contrast(found.text, ground) >= READABLE for ground in colours._LIGHT)
        assert all(contrast(found.text_dark, ground) >= READABLE for ground in colours._DARK)
        assert contrast(found.edge or found.button, "#ffffff") >= VISIBLE
        assert contrast(found.edge_dark or found.button, "#1b1e26") >= VISIBLE


def test_the_usual_colour_is_as_specified() -> None:
    assert (shades(colours.USUAL).button, shades(colours.USUAL).on_button) == ("#4F46E5", "white")


def test_a_colour_is_six_digits_or_three() -> None:
    assert [parse(text) for text in ("#4f46e5", "4F46E5", " #48e ")] == ["#4F46E5", "#4F46E5", "#4488EE"]
    for text in ("", "red", "#12345", "#1234567", "#12345g", "#１２３４５６", "rgb(1,2,3)", "#fff;}", "#ffffff\n;"):
        with pytest.raises(ValueError, match="six hexadecimal digits"):
            parse(text)

"""What belongs to the application at work: each has its own, and outside of any there is nothing."""

import pytest
from flask import Flask

from utils import application


def test_each_application_keeps_its_own_and_makes_it_once() -> None:
    one, other = Flask("one"), Flask("other")
    with one.app_context():
        first = application.kept("list", list[int])
        assert application.kept("list", list[int]) is first
        with other.app_context():
            assert application.kept("list", list[int]) is not first
        assert application.kept("list", list[int]) is first


def test_outside_of_any_there_is_nothing() -> None:
    assert application.extensions() is None
    with pytest.raises(RuntimeError):
        application.kept("list", list[int])

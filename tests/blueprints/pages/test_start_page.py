"""The start page of administrators."""

import re

from flask import Flask

from tests.visitors import Visitor


def said(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


def test_it_comes(app: Flask, admin: Visitor) -> None:
    answer = admin.get("/")
    print(said(answer.text))
    assert answer.status_code == 200

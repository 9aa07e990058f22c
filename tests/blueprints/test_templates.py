"""Macros are made once for all pages: what a page knows is given to them, and they find the rest among the globals."""

import re

from flask import Flask
from jinja2 import meta

_IMPORT = re.compile(r'{% import "([^"]+)" as \w+ %}')


def test_macros_that_are_imported_without_a_context_need_none(app: Flask) -> None:
    pages = (_source(app, name) for name in app.jinja_env.list_templates(extensions=["html"]))
    macros = {name for page in pages for name in _IMPORT.findall(page)}
    assert {"_macros.html", "emails/_parts.html", "settings/_rows.html"} <= macros
    for name in macros:
        needed = meta.find_undeclared_variables(app.jinja_env.parse(_source(app, name)))
        assert needed <= app.jinja_env.globals.keys(), name


def _source(app: Flask, name: str) -> str:
    assert app.jinja_env.loader
    return app.jinja_env.loader.get_source(app.jinja_env, name)[0]

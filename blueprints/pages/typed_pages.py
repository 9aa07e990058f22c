"""For the scripts of our pages, so that nothing typed is lost: who is signed in; and throwing away what was kept."""

from flask import Blueprint, Response, flash, jsonify, make_response, redirect, request, url_for
from flask_login import current_user
from flask_wtf.csrf import generate_csrf

from blueprints import forms, kept
from blueprints.access import local_path, public, signed_in

bp = Blueprint("typed", __name__)


@bp.get("/session")
@public
def session() -> Response:
    """Who is signed in here, and the token that a form needs now: asked before a form is sent."""
    name = current_user.username if current_user.is_authenticated else None
    return jsonify({"account": name, "csrf_token": generate_csrf()})


@bp.post("/kept/discard")
@signed_in
def discard() -> Response:
    """Throw away what was kept."""
    kept.forget(forms.text("page").removeprefix(request.script_root))
    flash("Discarded what was not saved.", "info")
    return make_response(redirect(local_path(forms.text("page")) or url_for("pages.home"), 303))

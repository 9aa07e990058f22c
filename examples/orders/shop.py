"""A page that takes an order, and queues the email about it in the same transaction: both are stored, or neither is."""

from pathlib import Path

from flask import Blueprint, Flask, render_template, request
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

import app as sealpost
from blueprints.access import public
from blueprints.parts import Part
from database.engine import transaction
from services.email_service import queue_email

HERE = Path(__file__).parent
bp = Blueprint("orders", __name__, url_prefix="/orders", template_folder="templates")


class Base(DeclarativeBase):
    """Tables of the shop's own, which its migrations make."""


class Order(Base):
    __tablename__ = "shop_order"
    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str]
    quantity: Mapped[int]  # the database refuses less than one


@bp.route("/", methods=["GET", "POST"])
@public
def order() -> ResponseReturnValue:
    if request.method == "GET":
        return render_template("order.html")
    placed = Order(email=request.form["email"], quantity=request.form.get("quantity", 1, int))
    try:
        with transaction() as session:
            queue_email(placed.email, "Your order", f"Thank you for {placed.quantity} pieces.", session=session)
            session.add(placed)
    except ValueError as refused:  # of an address that can be none, as of any mistake in what is to be sent
        return render_template("order.html", problem=refused), 422
    return render_template("order.html", placed=placed), 201


def create_app() -> Flask:
    return sealpost.create_app(parts=[PART])


def serve() -> Flask:
    return sealpost.serve(create_app)


PART = Part(blueprint=bp, migrations=HERE / "migrations", tables=Base.metadata)

"""What another application adds to Sealpost takes nothing away, and says what is wrong with it at the start."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Blueprint, Flask
from sqlalchemy import Column, Integer, MetaData, Table, inspect

from app import create_app
from blueprints.access import admin_page, public, signed_in
from blueprints.parts import Part
from database import revisions, schema_db
from database.engine import db, reading
from services.checks import start
from tests.visitors import visit
from utils.env_reader import ConfigurationError

Made = Callable[..., Flask]


@pytest.fixture
def with_parts(environment: dict[str, str], tmp_path: Path) -> Made:
    return lambda *parts: create_app(environment, instance_path=tmp_path, parts=parts)


def blueprint(*addresses: str, name: str = "shop", guard: Any = public, **options: Any) -> Blueprint:
    """A blueprint whose views say their address."""
    made = Blueprint(name, __name__, **options)
    for number, address in enumerate(addresses):
        view = guard(lambda **_: "the shop")
        made.add_url_rule(address, f"view_{number}", view, methods=["GET", "POST"])
    return made


@pytest.mark.parametrize(
    ("address", "owner"),
    [
        ("/", "pages"),
        ("/settings/smtp", "settings"),
        ("/emails/any-mail", "emails"),
        ("/api/messages/<mail>", "messages_api"),
        ("/static/shop.css", "static"),
        ("/api/messages/send-email", "messages_api"),
    ],
)
def test_an_address_that_is_taken_is_refused_with_its_owner(with_parts: Made, address: str, owner: str) -> None:
    with pytest.raises(
        ConfigurationError, match=rf"^The address {address} of shop.view_0 is one of {owner}.*url_prefix"
    ):
        with_parts(Part(blueprint=blueprint(address)))


def test_a_prefix_of_ours_is_no_harm_where_no_address_is_the_same(with_parts: Made) -> None:
    made = with_parts(Part(blueprint=blueprint("/stock", url_prefix="/settings")))
    assert visit(made).get("/settings/stock").text == "the shop"
    assert visit(made).get("/settings/smtp").status_code == 303


def test_whatever_is_nobodys_may_be_a_parts(with_parts: Made) -> None:
    made = with_parts(Part(blueprint=blueprint("/<path:anything>")))
    assert visit(made).get("/a/b").text == "the shop"
    assert visit(made).get("/healthz").text == "ok"
    assert "the shop" not in visit(made).get("/settings/smtp", follow_redirects=True).text


def test_two_parts_with_one_address_are_refused(with_parts: Made) -> None:
    with pytest.raises(ConfigurationError, match=r"^The address /stock of another.view_0 is one of shop.view_0"):
        with_parts(
            Part(blueprint=blueprint("/stock")),
            Part(blueprint=blueprint("/stock", name="another")),
        )


@pytest.mark.parametrize("name", ["settings", "emails", "bootstrap"])
def test_a_name_that_is_taken_is_refused(with_parts: Made, name: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"^The blueprint {name} of a part has the name .* Call it otherwise"):
        with_parts(Part(blueprint=blueprint("/stock", name=name)))


def test_a_command_of_a_name_of_ours_takes_none_of_ours_away(with_parts: Made) -> None:
    shop = blueprint(name="mail")
    shop.cli.command("list")(lambda: print("shop"))
    made = with_parts(Part(blueprint=shop))
    assert "shop" not in made.test_cli_runner().invoke(args=["mail", "list"]).output


def test_a_view_without_a_guard_is_refused_or_gets_that_of_its_part(with_parts: Made) -> None:
    bare = blueprint("/stock", guard=lambda view: view)
    with pytest.raises(ConfigurationError, match=r"^The view shop.view_0 has no guard.*@public or @signed_in.*guard="):
        with_parts(Part(blueprint=bare))
    assert visit(with_parts(Part(blueprint=bare, guard=public))).get("/stock").text == "the shop"
    answer = visit(with_parts(Part(blueprint=bare, guard=admin_page))).get("/stock")
    assert (answer.status_code, answer.location) == (303, "/login?next=/stock")


def test_a_guard_of_its_own_counts_more_than_its_parts(with_parts: Made) -> None:
    made = with_parts(Part(blueprint=blueprint("/stock", guard=signed_in), guard=public))
    assert visit(made).get("/stock").status_code == 303


def test_its_own_static_files_need_no_guard(with_parts: Made, tmp_path: Path) -> None:
    (tmp_path / "shop.css").write_text("a {}")
    part = Part(blueprint=blueprint(url_prefix="/shop", static_folder=str(tmp_path), static_url_path="static"))
    assert visit(with_parts(part)).get("/shop/static/shop.css").text == "a {}"


def test_its_pages_are_served_as_ours_are(with_parts: Made) -> None:
    made = with_parts(Part(blueprint=blueprint("/stock"), csrf=False))
    assert "script-src 'self'" in visit(made).get("/stock").headers["Content-Security-Policy"]
    assert visit(made).post("/stock", data={"note": "a" * 70_000}).status_code == 413


def test_two_applications_of_one_process_have_each_their_own_parts(with_parts: Made) -> None:
    shop = Part(blueprint=blueprint("/stock"), csrf=False)
    one, other, both = with_parts(shop), with_parts(), with_parts(shop, Part(blueprint=blueprint("/b", name="b")))
    assert [visit(each).post("/stock").status_code for each in (one, other, both)] == [200, 404, 200]
    assert visit(both).post("/b").status_code == 400


def test_a_template_of_a_name_that_is_taken_is_refused(with_parts: Made, tmp_path: Path) -> None:
    (tmp_path / "_base.html").write_text("ours")
    with pytest.raises(ConfigurationError, match=r"^The template _base.html of shop .* own: shop/_base.html"):
        with_parts(Part(blueprint=blueprint("/stock", template_folder=str(tmp_path))))


def test_what_is_no_part_is_refused(with_parts: Made) -> None:
    with pytest.raises(ConfigurationError, match=r"^parts needs a list of Part\(blueprint=…\), and <Blueprint 'shop'>"):
        with_parts(blueprint("/stock"))
    with pytest.raises(ConfigurationError, match=r"^A Part needs a blueprint"):
        Part(blueprint="shop")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=r"^The migrations of shop have to be a Path"):
        Part(blueprint=blueprint(), migrations="migrations")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=r"^The tables of shop need migrations"):
        Part(blueprint=blueprint(), tables=MetaData())


def test_a_table_of_a_name_that_is_taken_is_refused(with_parts: Made, tmp_path: Path) -> None:
    for name in ("account", "email_outbox", "alembic_version"):
        tables = MetaData()
        Table(name, tables, Column("id", Integer))
        with pytest.raises(ConfigurationError, match=rf"^The table {name} of a part.*like shop_{name}"):
            with_parts(Part(blueprint=blueprint("/stock"), tables=tables, migrations=tmp_path))


def write(folder: Path, revision: str, **more: object) -> Path:
    values = {"revision": revision, "down_revision": None, "depends_on": None, **more}
    lines = "".join(f"{name} = {value!r}\n" for name, value in values.items())
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{revision}.py").write_text(f"{lines}\ndef upgrade(): pass\n\ndef downgrade(): pass\n")
    revisions._every.cache_clear()
    return folder


@pytest.mark.parametrize(
    ("revision", "more", "words"),
    [
        (
            "shop_1",
            {"down_revision": "0034"},
            r"continues 0034 of Sealpost.*down_revision = None, and depends_on = .0034",
        ),
        ("0034", {}, "has a number as Sealpost’s own have. Name it like shop_1"),
        ("9999", {}, "has a number as Sealpost’s own have"),
        ("shop_" + "1" * 28, {}, "Shorten it to 32 characters"),
    ],
)
def test_a_branch_that_cannot_be_one_is_refused(
    with_parts: Made, tmp_path: Path, revision: str, more: dict[str, object], words: str
) -> None:
    folder = write(tmp_path / "shop" / "migrations", revision, **more)
    with pytest.raises(ConfigurationError, match=words):
        with_parts(Part(blueprint=blueprint("/stock"), migrations=folder))


def test_a_folder_that_is_not_there_or_holds_nonsense_is_refused(with_parts: Made, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"is no folder. Create it"):
        with_parts(Part(blueprint=blueprint("/stock"), migrations=tmp_path / "nowhere"))
    write(tmp_path / "shop", "shop_1")
    (tmp_path / "shop" / "shop_2.py").write_text("revision =")
    with pytest.raises(ConfigurationError, match=r"cannot be read. Correct it: .*shop_2"):
        with_parts(Part(blueprint=blueprint("/stock"), migrations=tmp_path / "shop"))


def upgrade(app: Flask) -> tuple[int, str]:
    told = app.test_cli_runner().invoke(args=["db", "upgrade"])
    return told.exit_code, told.output


def test_a_branch_that_needs_our_newest_is_not_taken_for_one_without_it(
    with_parts: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Alembic keeps the number of the newest no longer, once a migration depends on it."""
    known = schema_db._known()
    newest = known[-1]
    part = Part(blueprint=blueprint("/stock"), migrations=write(tmp_path / "shop", "shop_1", depends_on=newest))
    made = with_parts(part)
    with made.app_context():
        assert upgrade(made)[0] == 0
        start.check()
        with reading() as session:
            assert schema_db.reached(session) == [newest, "shop_1"]
            assert schema_db.missing(session) == []
            monkeypatch.setattr(schema_db, "_known", lambda: [*known, "9998"])
            assert schema_db.is_behind(session)


def test_what_this_code_does_not_know_is_said_with_what_to_do(with_parts: Made, tmp_path: Path) -> None:
    made = with_parts(Part(blueprint=blueprint("/stock"), migrations=write(tmp_path / "shop", "shop_1")))
    with made.app_context():
        assert upgrade(made)[0] == 0
    without = with_parts()
    with without.app_context():
        status, told = upgrade(without)
    assert status == 1
    assert told == "Error: The database has migrations that are unknown here: shop_1. " + schema_db.STRANGE + "\n"


def test_a_migration_of_a_part_that_fails_leaves_nothing_half_done_and_runs_again(
    with_parts: Made, tmp_path: Path
) -> None:
    folder = write(tmp_path / "shop", "shop_1")
    failing = "op.create_table('half', sa.Column('x', sa.Integer())); op.execute('SELECT nothing FROM nowhere')"
    written = (folder / "shop_1.py").read_text()
    head = f"import sqlalchemy as sa\nfrom alembic import op\n{written}"
    (folder / "shop_1.py").write_text(head.replace("upgrade(): pass", f"upgrade(): {failing}"))
    made = with_parts(Part(blueprint=blueprint("/stock"), migrations=folder))
    with made.app_context():
        assert upgrade(made)[0] == 1
        with pytest.raises(ConfigurationError, match="The tables are older"):
            start.check()
    (folder / "shop_1.py").write_text(head.replace("upgrade(): pass", f"upgrade(): {failing.partition(';')[0]}"))
    made = with_parts(Part(blueprint=blueprint("/stock"), migrations=folder))
    with made.app_context():
        assert upgrade(made)[0] == 0
        start.check()


def test_its_migrations_are_written_into_its_own_branch_by_the_commands_that_the_page_shows(
    with_parts: Made, tmp_path: Path
) -> None:
    (tmp_path / "stock").mkdir()
    tables = MetaData()
    stock = Table("stock", tables, Column("id", Integer, primary_key=True))
    part = Part(blueprint=blueprint("/stock"), migrations=tmp_path / "stock", tables=tables)

    def run(*words: str) -> None:
        revisions._every.cache_clear()
        made = with_parts(part)
        with made.app_context():
            told = made.test_cli_runner().invoke(args=["db", *words])
        assert told.exit_code == 0, (told.output, told.exception)

    first = ["--head", "base", "--branch-label", "stock", "--version-path", str(tmp_path / "stock")]
    run("migrate", *first, "--rev-id", "stock_1", "-m", "the stock")
    run("upgrade")
    stock.append_column(Column("pieces", Integer))
    run("migrate", "--head", "stock@head", "--rev-id", "stock_2", "-m", "its pieces")
    run("upgrade")
    run("check")
    assert [(each.revision, each.after) for each in revisions.missing(tmp_path / "stock", [])] == [
        ("stock_1", ()),
        ("stock_2", ("stock_1",)),
    ]
    run("downgrade", "stock@base")
    with with_parts().app_context():  # which may go now
        start.check()
        assert not inspect(db.engine).has_table("stock")

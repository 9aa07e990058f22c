"""The measurements of the durable way, and of what many waiting mails do to its speed."""

from typing import Final

from benchmarks.databases import POSTGRESQL, SQLITE, databases
from benchmarks.results import Goal, Result
from benchmarks.rows_sending import FLASK_MAIL, OURS, goals, rates
from benchmarks.series import Effort, Side, alternate, times_faster
from benchmarks.servers import sink

ONE: Final = f"{OURS}, a worker process"
TWO: Final = f"{OURS}, two worker processes"
NAIVE: Final = "naive"
POST_OFFICE: Final = "django-post-office, four threads"
DJANGO_MAILER: Final = "django-mailer"
MOST_CPU: Final = {SQLITE: 300.0, POSTGRESQL: 360.0}
MANY: Final = 1_000_000
FEW: Final = 1_000


def durable(engine: str, effort: Effort) -> Result:
    """Row in, composed, accepted over TLS, row settled; fsync on."""
    with databases(engine) as new, sink(secure=True, chunking=True, cheap=True) as server:
        sides = [
            Side(OURS, "sealpost_durable", server, {"database": new()}, least=500),
            Side(NAIVE, "naive_durable", server, {"database": new()}),
            Side(POST_OFFICE, "django_post_office", server, {"database": new()}, least=500),
            Side(DJANGO_MAILER, "django_mailer", server, {"database": new()}),
            Side(FLASK_MAIL, "flask_mail_kept", server),
            Side(ONE, "sealpost_durable", server, {"database": new(), "workers": 1}, least=500),
        ]
        if engine == POSTGRESQL:
            sides.append(Side(TWO, "sealpost_durable", server, {"database": new(), "workers": 2}, least=500))
        turns, left_out = alternate(sides, effort)
    wanted = goals(turns, OURS, {POST_OFFICE: 3, DJANGO_MAILER: 18, FLASK_MAIL: 4}, "in one process")
    wanted += [Goal("µs of CPU an email, in one process", turns[OURS].cpu_microseconds, MOST_CPU[engine], True)]
    if engine == POSTGRESQL:
        wanted += goals(turns, TWO, {ONE: 1.7})
    return rates(f"durable-{engine.lower()}", f"durable end to end on {engine}, fsync on", turns, wanted, left_out)


def growth(engine: str, effort: Effort) -> Result:
    """Whether a mail costs more when very many others wait."""
    rows = MANY if effort.is_full else MANY // 50
    few, many = f"{FEW:,} queued", f"{rows:,} queued"
    with databases(engine) as new, sink(secure=True, chunking=True, cheap=True) as server:
        sides = [
            Side(few, "sealpost_backlog", server, {"database": new(), "rows": FEW}, least=400),
            Side(many, "sealpost_backlog", server, {"database": new(), "rows": rows}, least=400),
        ]
        turns, left_out = alternate(sides, effort)
    wanted = [Goal("× the cost of an email", times_faster(turns[few], turns[many]), 1.1, True)]
    return rates(f"growth-{engine.lower()}", f"with others queued, {engine}", turns, wanted, left_out)

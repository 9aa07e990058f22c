"""The measurements of one conversation: round trips, speed and CPU, to the sink and to Postfix."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from benchmarks.results import Goal, Result, short
from benchmarks.series import NODEMAILER, Effort, Side, Turns, alternate, times_faster
from benchmarks.servers import Server, behind, postfix, sink

OURS: Final = "Sealpost"
TWO: Final = f"{OURS}, two connections"  # as many as a worker process has
FIVE: Final = f"{OURS}, five connections"  # as many as nodemailer has
FLASK_MAIL: Final = "Flask-Mail connect()"
FRESH: Final = "Flask-Mail"
DJANGO: Final = "Django"
NODE: Final = "nodemailer"
AIO: Final = "aiosmtplib"
SMTP_SOURCE: Final = "smtp-source"
SPECIFIED: Final = "as specified"
FAR: Final = 100.0  # ms of round trip, beside which computing is nothing


def peers(server: Server, *, connections: tuple[int, int] = (1, 1)) -> list[Side]:
    """Who keeps a connection; nodemailer and aiosmtplib with so many of them."""
    pool, many = connections
    return [
        Side(FLASK_MAIL, "flask_mail_kept", server),
        Side(DJANGO, "django_mail", server),
        Side(NODE, NODEMAILER, server, {"connections": pool}),
        Side(AIO, "many_aiosmtplib", server, {"connections": many}),
    ]


def round_trips(effort: Effort) -> Result:
    """Round trips a mail over a kept connection, many mails."""
    with (
        sink(secure=True) as near,
        sink(secure=True, chunking=True) as near_chunking,
        sink(secure=True, pipelining=False) as near_serial,
        behind(near, FAR) as server,
        behind(near_chunking, FAR) as chunking,
        behind(near_serial, FAR) as serial,
    ):
        sides = [
            Side(f"{OURS} PIPELINING", "sealpost_kept", server, least=60),
            Side(f"{OURS} CHUNKING", "sealpost_kept", chunking, least=60),
            Side(f"{OURS} neither", "sealpost_kept", serial),
            *peers(server),
            Side(SPECIFIED, "as_specified", server),
        ]
        turns, left_out = alternate(sides, replace(effort, rounds=3))  # the line's delay does not waver
    figures = _round_trips(turns)
    limits = {f"{OURS} PIPELINING": 1.05, f"{OURS} CHUNKING": 0.25, f"{OURS} neither": 4.1}
    return Result(
        name="round-trips",
        what="round trips an email, kept connection, STARTTLS and sign-in",
        unit="round trips",
        figures=figures,
        goals=[Goal(name.removeprefix(f"{OURS} "), figures[name], most, True) for name, most in limits.items()],
        turns=turns,
        left_out=left_out,
    )


def round_trips_request(effort: Effort) -> Result:
    """Round trips of one ``send_email`` while a connection is kept."""
    with (
        sink(secure=True) as near,
        sink(secure=True, chunking=True) as near_chunking,
        behind(near, FAR) as server,
        behind(near_chunking, FAR) as chunking,
    ):
        sides = [
            Side(f"{OURS} PIPELINING", "sealpost_request", server),
            Side(f"{OURS} CHUNKING", "sealpost_request", chunking),
            Side(FRESH, "flask_mail_fresh", server),
        ]
        turns, left_out = alternate(sides, replace(effort, rounds=3))
    figures = _round_trips(turns)
    limits = {f"{OURS} PIPELINING": 2.2, f"{OURS} CHUNKING": 1.2}  # 2 and 1, and what computing takes
    return Result(
        name="round-trips-request",
        what="round trips of one send_email",
        unit="round trips",
        figures=figures,
        goals=[Goal(name.removeprefix(f"{OURS} "), figures[name], most, True) for name, most in limits.items()],
        turns=turns,
        left_out=left_out,
    )


def far_postfix(effort: Effort) -> Result:
    """One connection to a Postfix 20 ms away."""
    with (
        postfix(chunking=False) as near,
        postfix() as near_chunking,
        postfix(secure=False) as near_plain,
        behind(near, 20) as server,
        behind(near_chunking, 20) as chunking,
        behind(near_plain, 20) as plain,
    ):
        sides = [
            Side(f"{OURS} PIPELINING", "sealpost_kept", server, least=60),
            Side(f"{OURS} CHUNKING", "sealpost_kept", chunking, least=60),
            *peers(server),
            Side(f"{SMTP_SOURCE} (no TLS)", "smtp_source", plain, least=20),
            Side(SPECIFIED, "as_specified", server),
        ]
        turns, left_out = alternate(sides, effort)
    wanted = goals(turns, f"{OURS} PIPELINING", {FLASK_MAIL: 3.5, DJANGO: 3.5, NODE: 1.9}, "with PIPELINING")
    wanted += goals(turns, f"{OURS} CHUNKING", {FLASK_MAIL: 12, DJANGO: 12}, "with CHUNKING")
    return rates("far-postfix", "Postfix 20 ms away, one connection, STARTTLS and sign-in", turns, wanted, left_out)


def cpu(effort: Effort) -> Result:
    """CPU of the sending process for a mail, composing included."""
    with sink(secure=True) as server, sink(secure=True, chunking=True) as chunking:
        sides = [
            Side(OURS, "sealpost_kept", server),
            Side(f"{OURS} CHUNKING", "sealpost_kept", chunking),
            *peers(server, connections=(5, 8)),
        ]
        turns, left_out = alternate(sides, effort)
    figures = {name: each.cpu_microseconds for name, each in turns.items()}
    return Result(
        name="cpu",
        what="CPU an email, composed each time, STARTTLS and sign-in, kept",
        unit="µs",
        figures=figures,
        goals=[Goal("µs", figures[OURS], 200, True), Goal("µs with CHUNKING", figures[f"{OURS} CHUNKING"], 200, True)],
        turns=turns,
        left_out=left_out,
    )


def near_sink(effort: Effort) -> Result:
    """The limit of each side's own speed: a fast server without latency, in plain text."""
    with sink() as server, sink(chunking=True) as chunking:
        sides = [
            Side(OURS, "sealpost_kept", server),
            Side(f"{OURS} CHUNKING", "sealpost_kept", chunking),
            *peers(server, connections=(5, 8)),
            Side(SMTP_SOURCE, "smtp_source", server),
            Side(SPECIFIED, "as_specified", server),
        ]
        turns, left_out = alternate(sides, effort)
    wanted = goals(turns, OURS, {FLASK_MAIL: 10, DJANGO: 6, NODE: 5, SMTP_SOURCE: 1.5})
    wanted += goals(turns, f"{OURS} CHUNKING", {SMTP_SOURCE: 1.5}, "with CHUNKING")
    return rates("near-sink", "fast local sink, plain, one connection", turns, wanted, left_out)


def near_postfix(effort: Effort) -> Result:
    """A Postfix on the same two cores."""
    with postfix() as server, postfix(secure=False) as plain:
        sides = [
            Side(OURS, "sealpost_kept", server),
            Side(TWO, "sealpost_kept", server, {"connections": 2}),
            Side(FIVE, "sealpost_kept", server, {"connections": 5}),
            *peers(server, connections=(5, 8)),
            Side(f"{SMTP_SOURCE} (no TLS)", "smtp_source", plain),
            Side(SPECIFIED, "as_specified", server),
        ]
        turns, left_out = alternate(sides, effort)
    wanted = goals(turns, OURS, {FLASK_MAIL: 3, DJANGO: 2})
    wanted += goals(turns, TWO, {NODE: 1.5}, "with two connections")
    return rates("near-postfix", "local Postfix, STARTTLS and sign-in", turns, wanted, left_out)


def request(effort: Effort) -> Result:
    """``send_email`` in a request, next to the server."""
    return _request(effort, 0, 4)


def far_request(effort: Effort) -> Result:
    """``send_email`` in a request, 20 ms away from the server."""
    return _request(effort, 20, 5)


def _request(effort: Effort, round_trip_ms: float, to_reach: float) -> Result:
    with sink(secure=True) as near, behind(near, round_trip_ms) as server:
        sides = [
            Side(OURS, "sealpost_request", server),
            Side(FRESH, "flask_mail_fresh", server),
            Side(SPECIFIED, "as_specified", server),
        ]
        turns, left_out = alternate(sides, effort)
    what = f"send_email in a request, server {round_trip_ms:.0f} ms away, STARTTLS and sign-in"
    wanted = goals(turns, OURS, {FRESH: to_reach})
    return rates(f"request-{round_trip_ms:.0f}ms", what, turns, wanted, left_out)


def _round_trips(turns: Mapping[str, Turns]) -> dict[str, float]:
    return {name: 1000 / each.mails_per_second / FAR for name, each in turns.items()}


def goals(turns: Mapping[str, Turns], ours: str, wanted: Mapping[str, float], how: str = "") -> list[Goal]:
    """How many times as fast as each peer that took part."""
    return [
        Goal(f"× {peer} {how}".rstrip(), times_faster(turns[ours], turns[peer]), ratio)
        for peer, ratio in wanted.items()
        if peer in turns
    ]


def rates(name: str, what: str, turns: Mapping[str, Turns], wanted: Iterable[Goal], left_out: Iterable[str]) -> Result:
    """A row of mails per second, and what they cost the server."""
    figures = {side: each.mails_per_second for side, each in turns.items()}
    return Result(
        name=name,
        what=what,
        unit="emails/s",
        figures=figures,
        goals=[*wanted],
        turns=turns,
        beside=[_of_server(turns)],
        left_out=[*left_out],
    )


def _of_server(turns: Mapping[str, Turns]) -> str:
    costs = (
        f"{side} {short(each.server_microseconds)} µs ({short(each.server_cores)} cores)"
        for side, each in turns.items()
    )
    return f"CPU of the server an email, and at that speed: {'; '.join(costs)}"

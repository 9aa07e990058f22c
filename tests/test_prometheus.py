"""What ``deploy/`` holds fits what is exported, and Debian's Prometheus makes alerts of it."""

import json
import re
import shutil
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from flask import Flask
from prometheus_client import core

from database import alert_db
from database.engine import transaction
from services import metrics
from services.accounts import api_tokens
from services.worker import pulse
from tests import live_server
from tests.live_server import DATABASE
from tests.loopback import free_port
from tests.mails import attempted, queued
from tests.patience import PATIENCE, wait_until
from tests.test_architecture import ROOT
from tests.visitors import make_alice
from utils import clock

RULES: Final = ROOT / "deploy" / "prometheus" / "sealpost.rules.yml"
SAMPLE: Final = ROOT / "deploy" / "prometheus" / "prometheus.yml"
DASHBOARD: Final = ROOT / "deploy" / "grafana" / "sealpost.json"
OF_PROMETHEUS: Final = {"job", "instance", "le"}
_NAME: Final = re.compile(r"\b(sealpost_\w+)(\{[^}]*\})?")
_MATCHER: Final = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
_GROUPED: Final = re.compile(r"\b(?:by|on|without|ignoring)\s*\(([^)]*)\)")
_SUFFIX: Final = re.compile(r"_(?:bucket|count|sum|total)$")


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    """The database is where a live server below the same folder has its own."""
    place = environment["DATABASE_URL"]
    assert place.endswith(DATABASE)
    return environment


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip("Prometheus is not installed (make services)")
    return found


def promtool(*arguments: str, given: str = "") -> str:
    """What it says. Fails with that where it finds fault."""
    done = subprocess.run([program("promtool"), *arguments], input=given, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def rules() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load(RULES.read_text())["groups"][0]["rules"]
    return found


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    return found


def expressions() -> list[str]:
    """Everything that is asked of Prometheus; what Grafana puts in is in its place."""
    asked = [target["expr"] for panel in panels() for target in panel["targets"]]
    filled = [expr.replace("$__rate_interval", "5m").replace("$job", ".*").replace("$instance", ".*") for expr in asked]
    return [rule["expr"] for rule in rules()] + filled


def exported() -> dict[str, set[str]]:
    """The labels of each metric, by its name without what its kind puts behind it."""
    return {family.name: set(family._labelnames) for family in metrics._Collected(core).collect()}


def test_every_name_and_label_in_the_files_is_exported_and_all_that_is_exported_is_used(app: Flask) -> None:
    known = exported()
    labels = set().union(*known.values()) | OF_PROMETHEUS
    used = set()
    for expr in expressions():
        for name, selector in _NAME.findall(expr):
            base = name if name in known else _SUFFIX.sub("", name)
            used.add(base)
            assert base in known, name
            assert set(_MATCHER.findall(selector)) <= known[base] | OF_PROMETHEUS, selector
        for grouped in _GROUPED.findall(expr):
            assert set(re.findall(r"\w+", grouped)) <= labels, grouped
    assert used == set(known)
    legends = " ".join(target["legendFormat"] for panel in panels() for target in panel["targets"])
    assert set(re.findall(r"\{\{(\w+)\}\}", legends)) <= labels


def test_promtool_finds_no_fault_in_rules_sample_dashboard_and_figures(app: Flask, tmp_path: Path) -> None:
    attempted()
    queued()
    promtool("check", "metrics", given=metrics.text().decode())
    assert "6 rules found" in promtool("check", "rules", str(RULES))
    shutil.copy(RULES, tmp_path)
    sample = SAMPLE.read_text().replace("/etc/prometheus/sealpost.token", str(tmp_path / "sealpost.token"))
    (tmp_path / "sealpost.token").write_text("t0k3n")
    (tmp_path / "prometheus.yml").write_text(sample)
    promtool("check", "config", str(tmp_path / "prometheus.yml"))
    asked = [{"record": f"asked:{number}", "expr": expr} for number, expr in enumerate(expressions())]
    (tmp_path / "asked.yml").write_text(yaml.safe_dump({"groups": [{"name": "asked", "rules": asked}]}))
    promtool("check", "rules", "--lint=none", str(tmp_path / "asked.yml"))


def test_each_alert_says_in_a_sentence_what_is_wrong_and_what_to_do() -> None:
    assert len(rules()) == 6
    for rule in rules():
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert set(rule["annotations"]) == {"summary", "description"}
        assert rule["annotations"]["summary"].endswith(".")


UP: Final = 'job="sealpost",instance="mail"'
# What is scraped each minute, and which alerts fire in which minute.
STORIES: Final[dict[str, tuple[dict[str, str], dict[int, set[str]]]]] = {
    "all is well": (
        {
            "sealpost_ready{%s}": "1x90",
            'sealpost_queue_depth{%s,state="deferred",priority="normal"}': "3x90",
            'sealpost_config_up{%s,config="Main"}': "1x90",
            'sealpost_config_active{%s,config="Main"}': "1x90",
            'sealpost_oldest_due_seconds{%s,priority="normal"}': "20x90",
            'sealpost_certificate_expires_seconds{%s,config="Main",what="server_certificate"}': "2000000x90",
            "sealpost_worker_heartbeat_seconds{%s}": "10x90",
            "sealpost_unattended{%s}": "0x90",
            "sealpost_database_up{%s}": "1x90",
        },
        {0: set(), 30: set(), 80: set()},
    ),
    "the only server dies while email waits": (
        {
            'sealpost_queue_depth{%s,state="deferred",priority="normal"}': "300x20",
            'sealpost_config_up{%s,config="Main"}': "1 0x9 1x10",
            'sealpost_config_up{%s,config="Unused"}': "1x20",
            'sealpost_config_active{%s,config="Main"}': "1x20",
            'sealpost_config_active{%s,config="Unused"}': "0x20",
        },
        {3: set(), 4: {"SealpostServerDown"}, 6: {"SealpostServerDown", "SealpostNoMailOut"}, 12: set()},
    ),
    "the server dies and no email waits, or another serves": (
        {
            'sealpost_queue_depth{%s,state="deferred",priority="normal"}': "0x20",
            'sealpost_queue_depth{job="sealpost",instance="two",state="queued",priority="bulk"}': "9x20",
            'sealpost_config_up{%s,config="Main"}': "0x20",
            'sealpost_config_active{%s,config="Main"}': "1x20",
            'sealpost_config_up{job="sealpost",instance="two",config=".env"}': "1x20",
            'sealpost_config_active{job="sealpost",instance="two",config=".env"}': "1x20",
        },
        {10: {"SealpostServerDown"}},
    ),
    "no server at all": (
        {'sealpost_queue_depth{%s,state="queued",priority="normal"}': "1x20"},
        {4: set(), 6: {"SealpostNoMailOut"}},
    ),
    "the database is away": (
        {"sealpost_database_up{%s}": "1 0x20", "sealpost_ready{%s}": "1 0x20"},
        {5: set(), 7: {"SealpostNoMailOut"}},
    ),
    "email is late": (
        {'sealpost_oldest_due_seconds{%s,priority="bulk"}': "0+60x40"},
        {15: set(), 18: {"SealpostMailLate"}},
    ),
    "a fifth is refused": (
        {
            'sealpost_attempts_total{%s,config="Main",outcome="accepted"}': "0+4x120",
            'sealpost_attempts_total{%s,config="Main",outcome="permanent"}': "0+1x120",
        },
        {5: set(), 60: {"SealpostRefusals"}},
    ),
    "all of a few are refused, or it is the servers of accounts": (
        {
            'sealpost_attempts_total{%s,config="Main",outcome="accepted"}': "0x120",
            'sealpost_attempts_total{%s,config="Main",outcome="permanent"}': "0x10 0+1x40 40x70",
            'sealpost_attempts_total{%s,config="Own server",outcome="permanent"}': "0+5x120",
        },
        {60: set(), 110: set()},
    ),
    "the certificate of a server in use ends, and that of another": (
        {
            'sealpost_certificate_expires_seconds{%s,config="Main",what="server_certificate"}': "1209660-60x20",
            'sealpost_secret_expires_seconds{%s,config="Unused",what="client_secret"}': "5x20",
            'sealpost_config_active{%s,config="Main"}': "1x20",
            'sealpost_config_active{%s,config="Unused"}': "0x20",
        },
        {0: set(), 3: {"SealpostEnding"}},
    ),
    "the worker is gone": (
        {"sealpost_worker_heartbeat_seconds{%s}": "5 65 125 185 245 305 365 425 5x10"},
        {4: set(), 6: {"SealpostWorkerGone"}, 9: set()},
    ),
    "no worker takes what is due": ({"sealpost_unattended{%s}": "0 1x9"}, {3: set(), 5: {"SealpostWorkerGone"}}),
}


def test_the_rules_fire_when_they_should_and_not_before(tmp_path: Path) -> None:
    """As promtool plays it: a story each, minute by minute."""
    shutil.copy(RULES, tmp_path)
    names = [rule["alert"] for rule in rules()]
    stories = []
    for name, (series, expected) in STORIES.items():
        inputs = [{"series": each.replace("%s", UP), "values": values} for each, values in series.items()]
        asked = [
            {
                "expr": f'count by (alertname) (ALERTS{{alertname="{alert}",alertstate="firing"}})',
                "eval_time": f"{minute}m",
                "exp_samples": [{"labels": f'{{alertname="{alert}"}}', "value": 1}] if alert in firing else [],
            }
            for minute, firing in expected.items()
            for alert in names
        ]
        stories.append({"name": name, "interval": "1m", "input_series": inputs, "promql_expr_test": asked})
    file = tmp_path / "stories.yml"
    file.write_text(yaml.safe_dump({"rule_files": [RULES.name], "evaluation_interval": "1m", "tests": stories}))
    promtool("test", "rules", str(file))


def test_a_real_prometheus_scrapes_a_real_process_by_token_and_by_address_and_alerts_fire(
    app: Flask, tmp_path: Path
) -> None:
    token, _ = api_tokens.create(make_alice(is_admin=True).id, "prometheus", None, ("metrics",))
    queued()
    with transaction() as session:
        alert_db.beat(session, pulse.WORKER, clock.now() - timedelta(minutes=10))
    (tmp_path / "token").write_text(token)
    (tmp_path / "wrong").write_text("w7ong" * 8)
    expected = {
        (job, alert) for job in ("by-token", "by-address") for alert in ("SealpostWorkerGone", "SealpostNoMailOut")
    }
    variables = {"MAIL_SENDERS": "0", "METRICS_ADDRESSES": "127.0.0.1"}
    with (
        live_server.start(live_server.DEVELOPMENT, tmp_path, **variables) as server,
        prometheus(tmp_path, server.port) as port,
    ):
        wait_until(lambda: "unknown" not in health(port).values(), "the figures of all jobs")
        wait_until(lambda: expected <= firing(port), "the alerts of both jobs")
        assert {alert for _, alert in firing(port)} == {alert for _, alert in expected}
        assert health(port) == {"by-token": "up", "by-address": "up", "by-wrong-token": "down"}


@contextmanager
def prometheus(folder: Path, target: int) -> Iterator[int]:
    """A Prometheus with our rules, but those that wait fire at once; the port at which it answers."""
    (folder / RULES.name).write_text(re.sub(r"^ +for: .*\n", "", RULES.read_text(), flags=re.MULTILINE))
    static = {"static_configs": [{"targets": [f"127.0.0.1:{target}"]}]}
    by_file = {name: {"authorization": {"credentials_file": str(folder / name)}} for name in ("token", "wrong")}
    jobs = {"by-token": by_file["token"], "by-wrong-token": by_file["wrong"], "by-address": {}}
    # Quick, but for a machine with much else to do: what comes later than its time-out counts as no figures at all.
    times = {"scrape_interval": "5s", "scrape_timeout": "5s", "evaluation_interval": "1s"}
    configuration = {
        "global": times,
        "rule_files": [RULES.name],
        "scrape_configs": [{"job_name": name, **how, **static} for name, how in jobs.items()],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    port = free_port()
    command = [
        program("prometheus"),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'series'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (folder / "prometheus.log").open("wb") as said:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
    try:
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE)


def asked(port: int, what: str) -> dict[str, Any]:
    """What its API answers; nothing while it starts."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/{what}", timeout=PATIENCE) as answer:
            found: dict[str, Any] = json.load(answer)["data"]
            return found
    except urllib.error.URLError:
        return {}


def health(port: int) -> dict[str, str]:
    """How each job fared when it was asked last: up, down, or unknown."""
    targets = asked(port, "targets").get("activeTargets", [])
    return {target["labels"]["job"]: target["health"] for target in targets} or {"": "unknown"}


def firing(port: int) -> set[tuple[str, str]]:
    """The alerts that fire, by the jobs that they are of."""
    alerts = asked(port, "alerts").get("alerts", [])
    return {(each["labels"]["job"], each["labels"]["alertname"]) for each in alerts if each["state"] == "firing"}

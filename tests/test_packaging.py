"""The files of deploy/, the image's and compose's: that they fit the code, and keep to what each of them promises."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.running import ROOT
from tests.test_architecture import LAYERS
from utils import container
from utils.env_names import FILES, OURS

CONTAINERFILE: Final = ROOT / "Containerfile"
COMPOSE: Final = [ROOT / "compose.yaml", ROOT / "deploy" / "compose.scale.yaml"]
UNITS: Final = sorted((ROOT / "deploy" / "systemd").glob("*.service"))
HOME: Final = "/srv/sealpost"
WORST: Final = 2.0  # of systemd's ten
_COPY: Final = re.compile(r"^COPY (?!--from)(.+) \S+$", re.MULTILINE)


def instruction(name: str) -> str:
    """What the last stage says under this name."""
    return str(re.findall(rf"^{name} (.+)$", CONTAINERFILE.read_text(), re.MULTILINE)[-1])


def copied() -> set[str]:
    """What the image takes of the repository."""
    return {name for names in _COPY.findall(CONTAINERFILE.read_text()) for name in names.split()}


def test_the_containerfile_has_no_fault_that_hadolint_knows() -> None:
    run = subprocess.run(
        [ROOT / ".venv" / "bin" / "hadolint", CONTAINERFILE], check=False, capture_output=True, text=True
    )
    assert (run.stdout, run.returncode) == ("", 0)


def test_the_image_takes_all_the_code_and_nothing_of_tests_or_documents() -> None:
    names = {name.partition("/")[0] for name in copied()}
    code = {"app.py" if layer == "app" else layer for layer in LAYERS} | {"static", "templates", "gunicorn.conf.py"}
    assert code <= names
    assert not names & {"tests", "docs", "benchmarks", ".git", ".env", "instance"}
    assert [name for name in copied() if not (ROOT / name).exists()] == []


def test_what_it_takes_may_be_sent_to_whoever_builds_it_and_nothing_secret_may() -> None:
    lines = (ROOT / ".containerignore").read_text().splitlines()
    allowed = {line.removeprefix("!") for line in lines if line.startswith("!")}
    assert "*" in lines
    assert [name for name in copied() if not any(fnmatch(name, f"{each}*") for each in allowed)] == []
    assert not any(fnmatch(name, each) for each in allowed for name in (".env", "instance", ".git", "secrets"))


def test_the_image_runs_as_nobody_in_particular_ends_by_sigterm_and_is_asked_how_it_is() -> None:
    assert instruction("USER") == "10001:10001"
    assert instruction("VOLUME") == "/data"
    assert instruction("STOPSIGNAL") == "SIGTERM"
    assert instruction("EXPOSE") == str(container.PORT)
    assert instruction("ENTRYPOINT") == f'["{HOME}/deploy/entrypoint"]'
    assert f'"{HOME}/deploy/healthcheck"' in instruction("HEALTHCHECK")
    assert "--require-hashes" in CONTAINERFILE.read_text()


@pytest.mark.parametrize("script", ["entrypoint", "healthcheck"])
def test_a_script_of_the_image_can_be_run(script: str) -> None:
    file = ROOT / "deploy" / script
    assert file.stat().st_mode & 0o111 == 0o111
    subprocess.run(["sh", "-n", file], check=True)


def services_of(file: Path) -> dict[str, dict[str, Any]]:
    services: dict[str, dict[str, Any]] = yaml.safe_load(file.read_text())["services"]
    return services


def ours_in(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    yield from ((name, each) for name, each in services_of(file).items() if each["image"] == "sealpost")


@pytest.mark.parametrize("file", COMPOSE, ids=lambda path: path.name)
def test_compose_sets_only_variables_that_there_are_and_leaves_no_secret_in_them(file: Path) -> None:
    for name, service in ours_in(file):
        environment = service["environment"]
        assert set(environment) - OURS == set(), name
        assert not set(environment) & {"APP_KEY", "ADMIN_TOKEN", "DATABASE_URL", "EMAIL_HOST_PASSWORD"}, name
        assert "" not in environment.values(), name  # which would win over what is in the volume
        mounted = {f"/run/secrets/{secret}" for secret in service.get("secrets", ())}
        assert {environment[each] for each in FILES if each in environment} <= mounted, name


@pytest.mark.parametrize("file", COMPOSE, ids=lambda path: path.name)
def test_compose_gives_each_container_of_ours_a_read_only_root_no_rights_and_the_volume(file: Path) -> None:
    for name, service in ours_in(file):
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "data:/data" in service["volumes"], name
        assert service.get("command", ["web"])[0] in ("web", "worker", "beat", "gateway"), name


@pytest.mark.parametrize("file", COMPOSE, ids=lambda path: path.name)
def test_compose_names_nothing_that_it_does_not_define(file: Path) -> None:
    whole = yaml.safe_load(file.read_text())
    for name, service in services_of(file).items():
        volumes = {each.partition(":")[0] for each in service.get("volumes", ())}
        assert volumes <= set(whole["volumes"]), name
        assert set(service.get("secrets", ())) <= set(whole.get("secrets", ())), name
        assert set(service.get("networks", ())) <= set(whole.get("networks", ())), name
        assert set(service.get("depends_on", ())) <= set(whole["services"]), name


def test_the_scale_file_has_what_the_page_about_it_says() -> None:
    services = services_of(COMPOSE[1])
    assert set(services) == {"web", "worker", "beat", "gateway", "database", "redis"}
    assert services["worker"]["deploy"]["replicas"] == 2
    migrating = [name for name, each in ours_in(COMPOSE[1]) if each["environment"].get("MIGRATE_AT_START") != "false"]
    assert migrating == ["web"]


@pytest.fixture
def systemd_analyze() -> str:
    found = shutil.which("systemd-analyze")
    if found is None:
        pytest.skip("systemd-analyze is not installed (make services)")
    return found


@pytest.fixture
def installed(tmp_path: Path) -> dict[str, Path]:
    """The units as they would be where Sealpost is in this folder, by their names; one worker of the template."""
    found: dict[str, Path] = {}
    for unit in UNITS:
        name = unit.name.replace("@.", "@1.")
        found[name] = tmp_path / name
        found[name].write_text(unit.read_text().replace(HOME, str(ROOT)))
    return found


def test_systemd_finds_no_fault_in_the_units(systemd_analyze: str, installed: dict[str, Path]) -> None:
    command = [systemd_analyze, "verify", "--man=no", "--recursive-errors=no", *map(str, installed.values())]
    run = subprocess.run(command, check=False, capture_output=True, text=True)
    ours = [line for line in run.stderr.splitlines() if "sealpost" in line]
    assert (ours, run.returncode) == ([], 0)


def test_systemd_finds_little_that_the_units_may_do(systemd_analyze: str, installed: dict[str, Path]) -> None:
    for file in installed.values():
        command = [systemd_analyze, "security", "--offline=yes", f"--threshold={WORST * 10:.0f}", str(file)]
        run = subprocess.run(command, check=False, capture_output=True, text=True)
        said = re.search(r"exposure level for \S+: ([\d.]+)", run.stdout)
        assert said, run.stdout + run.stderr
        assert float(said[1]) <= WORST, run.stdout
        assert run.returncode == 0


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_a_unit_is_ready_once_it_says_so_and_has_its_key_from_systemd(unit: Path) -> None:
    lines = unit.read_text().splitlines()
    for line in (
        "Type=notify",
        "ProtectSystem=strict",
        "NoNewPrivileges=yes",
        "LoadCredential=app_key:/etc/sealpost/app_key",
    ):
        assert line in lines
    assert any("APP_KEY_FILE=%d/app_key" in line and "SEALPOST_HOME=%S/sealpost" in line for line in lines)
    assert any(line.startswith("WatchdogSec=") for line in lines)

"""The image, built from Containerfile by buildah and run by podman, on a base that stands in for Debian's own."""

import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from tests import postgresql_server
from tests.loopback import free_port
from tests.package.machine import AUTHORITIES, CACHE, Failed, bare_debian, expect, measured, run
from tests.patience import wait_until
from tests.redis_server import RedisServer
from tests.running import ROOT, Client
from utils.container import BASE_URL, PORT

BASE: Final = "docker.io/library/debian:trixie-slim"
_STORE: Final = ("--root", str(CACHE / "images"), "--runroot", str(CACHE / "run"), "--storage-driver", "vfs")
_PODMAN: Final = ("podman", *_STORE, "--cgroup-manager", "cgroupfs", "--events-backend", "file", "--runtime", "runc")
_LIMITS: Final = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096")  # this machine may raise none
_GRACE: Final = 10.0  # seconds, as docker stop waits


def podman(*words: str | Path) -> str:
    return run(*_PODMAN, *words, DISABLE_HC_SYSTEMD="true")


def build() -> None:
    """Build the image; the network's authorities are this machine's while pip asks it."""
    if BASE not in podman("images", "--format", "{{.Repository}}:{{.Tag}}"):
        archive = CACHE / "base.tar"
        unneeded = ("--exclude=./var/cache/apt/*", "--exclude=./var/lib/apt/lists/*", "--exclude=./proc/*")
        run("tar", "-C", bare_debian(), *unneeded, "-cf", archive, ".")
        podman("import", archive, BASE)
        archive.unlink()
    volume = f"{AUTHORITIES}:{AUTHORITIES}:ro"
    options = ("--isolation", "chroot", "--network", "host", "--pull=never", "--volume", volume, "--format", "docker")
    with measured("the image, built from Containerfile by buildah"):
        authorities = ("--env", f"PIP_CERT={AUTHORITIES}")
        run("buildah", *_STORE, "build", *options, *authorities, "-t", "sealpost", "-f", "Containerfile", ".")
    print(podman("images", "sealpost", "--format", "its size with the base: {{.Size}}").strip(), flush=True)


@contextmanager
def container(name: str, *words: str, volume: str = "", **environment: str) -> Iterator[str]:
    """One that runs with a read-only root and without rights, on this machine's network."""
    variables = [part for key, text in environment.items() for part in ("--env", f"{key}={text}")]
    rights = ("--read-only", "--read-only-tmpfs=false", "--cap-drop", "all", "--security-opt", "no-new-privileges")
    mount = ("--volume", f"{volume or name}:/data")
    podman("run", "-d", *_LIMITS, "--name", name, "--network", "host", *rights, *mount, *variables, "sealpost", *words)
    try:
        yield name
    except BaseException:
        print(podman("logs", name))
        raise
    finally:
        with suppress(Failed):
            podman("rm", "--force", "--time", "0", name)


def is_well(name: str) -> bool:
    try:
        podman("healthcheck", "run", name)
    except Failed:
        return False
    return True


def said(name: str, pattern: str) -> None:
    """Wait until its log has it; one that has ended says nothing more."""
    wait_until(lambda: re.search(pattern, podman("logs", name)) or not runs(name), f"{pattern} of {name}")
    expect(re.search(pattern, podman("logs", name)), f"{name} did not say {pattern}:\n{podman('logs', name)}")


def runs(name: str) -> bool:
    return podman("inspect", name, "--format", "{{.State.Running}}").strip() == "true"


def ended(name: str) -> None:
    """Ended by SIGTERM within the grace, in peace."""
    began = time.monotonic()
    podman("stop", "--time", "60", name)
    took, status = time.monotonic() - began, podman("inspect", name, "--format", "{{.State.ExitCode}}").strip()
    expect(took < _GRACE and status == "0", f"{name} ended after {took:.1f} s with status {status}")
    print(f"  {name} ended by SIGTERM after {took:.1f} s", flush=True)


def first_start() -> None:
    """Without a variable: keys, tables and a set-up code; well although no mail server is; the same after a restart."""
    podman("volume", "rm", "--force", "first")
    with measured("a first start without a variable, until it is well"), container("first") as name:
        wait_until(lambda: is_well(name) or not runs(name), "a healthy container")
        said(name, "Set-up code +[A-Z0-9]{5}-")
        expect(f"{BASE_URL}/setup" in podman("logs", name), "the address of the set-up page")
    with container("again", volume="first", EMAIL_HOST="127.0.0.1", EMAIL_PORT=str(free_port())) as name:
        wait_until(lambda: is_well(name) or not runs(name), "a healthy container")
        expect(Client(f"http://127.0.0.1:{PORT}").get("/login").status == 200, "the pages")
        expect("uid=10001" in podman("exec", name, "id"), "the user")
        writes = "touch /srv/sealpost/x /x 2>/dev/null || echo refused; ls -A /data"
        expect("refused" in (told := podman("exec", name, "sh", "-c", writes)) and ".env" in told, told)
        expect("sealpost.db" in podman("exec", name, "ls", "/data/instance"), "the database in the volume")
        expect("Current key" in podman("exec", name, "sh", "-c", "flask smtp validate || true"), "a command")
        ended(name)


def roles() -> None:
    """Two web containers that start at once on PostgreSQL, and a worker, a beat and a sender of our own beside them."""
    podman("volume", "rm", "--force", "roles")
    redis = RedisServer()
    redis.start()
    try:
        with postgresql_server.running() as url:
            shared = {"volume": "roles", "DATABASE_URL": url, "CELERY_BROKER_URL": redis.url}
            port = free_port()
            with (
                container("web-one", **shared) as one,
                container("web-two", "web", "--bind", f"127.0.0.1:{port}", **shared) as two,
                container("worker", "worker", **shared) as worker,
                container("beat", "beat", **shared) as beat,
                container("sender", "worker", volume="roles", DATABASE_URL=url) as sender,
            ):
                said(one, "Sealpost is at")
                said(two, "Sealpost is at")
                said(worker, r"transport: +redis://")
                said(beat, "beat: Starting|Scheduler|beat v")
                said(sender, "Sending queued email")
                logs = "".join(map(podman_logs, (one, two, worker, beat, sender)))
                expect(not re.search("Traceback|Cannot connect", logs), logs)
                keys = {podman("exec", name, "sha256sum", "/data/.env") for name in (one, two, worker, beat, sender)}
                expect(len(keys) == 1, "one key for all")
                for name in (sender, beat, worker, two, one):
                    expect(name == two or is_well(name), f"{name} is well")
                    ended(name)
    finally:
        redis.stop()


def podman_logs(name: str) -> str:
    return podman("logs", name)


def compose() -> None:
    """The compose files, read by docker-compose itself."""
    for file in (ROOT / "compose.yaml", ROOT / "deploy" / "compose.scale.yaml"):
        run("docker-compose", "-f", file, "config", "-q")


def code_of_image(target: Path) -> None:
    """Copy what is in the image below /srv/sealpost."""
    mounted = Path(podman("image", "mount", "sealpost").strip())
    shutil.copytree(mounted / "srv" / "sealpost", target, symlinks=True)
    podman("image", "umount", "sealpost")

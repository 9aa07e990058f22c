"""What `make package` builds on: a bare Debian as its own installer makes it, and commands that tell what they said."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.running import ROOT

SUITE: Final = "trixie"
MIRROR: Final = "http://deb.debian.org/debian"
CACHE: Final = Path("/var/tmp/sealpost-package")
AUTHORITIES: Final = "/etc/ssl/certs/ca-certificates.crt"
NEEDED: Final = ("debootstrap", "buildah", "podman", "runc", "systemd-container", "docker-compose", "redis-server")
_PROGRAMS: Final = ("debootstrap", "buildah", "podman", "runc", "systemd-nspawn", "docker-compose", "redis-server")


class Failed(Exception):
    """A step that did not come to what it should: what was run, and the end of what it said."""


def refuse_without_tools() -> None:
    """Say what to install, and end."""
    if os.geteuid() != 0 or any(shutil.which(program) is None for program in _PROGRAMS):
        sys.exit(f"This needs root, and: apt-get install -y --no-install-recommends {' '.join(NEEDED)}")


def run(*command: str | Path, cwd: Path = ROOT, seconds: float = 1800, **environment: str) -> str:
    """What a command said. Raises Failed unless it succeeds."""
    words = list(map(str, command))
    try:
        done = subprocess.run(
            words,
            cwd=cwd,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        raise Failed(f"{' '.join(words)[:200]}: not within {seconds:.0f} s: {late.output}") from None
    if done.returncode:
        raise Failed(f"{' '.join(words)[:200]}: status {done.returncode}\n{done.stdout[-4000:]}")
    return done.stdout


def expect(holds: object, what: str) -> None:
    """Raises Failed with ``what`` unless it holds."""
    if not holds:
        raise Failed(what)


@contextmanager
def measured(what: str) -> Iterator[None]:
    """Print what was done, and how long it took by the clock and of the processors."""
    began, used = time.monotonic(), _used()
    yield
    print(f"{what}: {time.monotonic() - began:.0f} s, of the processors {_used() - used:.0f} s", flush=True)


def _used() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def bare_debian() -> Path:
    """What Debian's installer takes for a minimal system, as its images are made of; kept between runs."""
    tree = CACHE / SUITE
    if not (tree / "etc" / "debian_version").exists():
        shutil.rmtree(tree, ignore_errors=True)
        tree.mkdir(parents=True)
        with measured(f"a bare Debian {SUITE} from debootstrap"):
            run("debootstrap", "--variant=minbase", "--include=ca-certificates", SUITE, tree, MIRROR)
    return tree


def copy_of_bare_debian(name: str) -> Path:
    """One to change, in which names and certificates are those of this machine."""
    source, tree = bare_debian(), CACHE / name
    run("rm", "-rf", "--one-file-system", tree)
    run("cp", "-a", "--reflink=auto", source, tree)
    for file in ("/etc/resolv.conf", AUTHORITIES):
        (tree / file.lstrip("/")).unlink(missing_ok=True)
        shutil.copy(file, tree / file.lstrip("/"))
    return tree


def within(tree: Path, script: str, words: Sequence[str] = (), seconds: float = 1800) -> str:
    """What a shell said that has this tree for its root, with /proc of its own."""
    mounted = 'mount -t proc proc "$1/proc" && mount --rbind /dev "$1/dev" && tree=$1 script=$2 && shift 2'
    inner = f'{mounted} && exec chroot "$tree" /bin/sh -ec "$script" sh "$@"'
    command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", inner, "sh", str(tree), script]
    return run(*command, *words, seconds=seconds, DEBIAN_FRONTEND="noninteractive", HOME="/root")

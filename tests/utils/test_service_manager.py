"""What systemd hears of a process (sd_notify(3)), on a socket like its own."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.patience import PATIENCE
from utils import service_manager


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.settimeout(PATIENCE)
        listener.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setattr(service_manager._Manager, "address", None)
        monkeypatch.setattr(service_manager._Manager, "last_sign", float("-inf"))
        yield listener


def test_it_hears_that_the_process_is_ready(manager: socket.socket) -> None:
    service_manager.ready()
    assert manager.recv(100) == b"READY=1"


def test_a_library_finds_no_address_any_more_and_we_still_do(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    service_manager.take_over()
    with pytest.raises(KeyError):
        monkeypatch.delenv("NOTIFY_SOCKET")
    service_manager.ready()
    assert manager.recv(100) == b"READY=1"


def test_a_name_outside_the_file_system_is_one_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.settimeout(PATIENCE)
        listener.bind(f"\0{tmp_path}")
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{tmp_path}")
        service_manager.ready()
        assert listener.recv(100) == b"READY=1"


@pytest.mark.parametrize("place", ["", "/nowhere/notify", "relative"])
def test_where_nobody_listens_nothing_happens(monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", place)
    service_manager.ready()


def test_signs_of_life_are_as_many_as_are_wanted(manager: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", str(3600 * 1_000_000))
    for _ in range(5):
        service_manager.sign_of_life()
    service_manager.ready()
    assert (manager.recv(100), manager.recv(100)) == (b"WATCHDOG=1", b"READY=1")


def test_without_a_watchdog_there_are_none(manager: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    service_manager.sign_of_life()
    service_manager.watch(lambda: True)
    service_manager.ready()
    assert manager.recv(100) == b"READY=1"


def test_what_no_longer_works_gives_none(manager: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "60000")
    asked, turns = threading.Event(), iter([True])

    def is_alive() -> bool:
        answer = next(turns, None)
        if answer is None:
            asked.set()
        return bool(answer)

    service_manager.watch(is_alive)
    assert manager.recv(100) == b"WATCHDOG=1"
    assert asked.wait(PATIENCE)
    service_manager.ready()
    assert manager.recv(100) == b"READY=1"

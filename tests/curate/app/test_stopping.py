"""Ctrl-C in `faceset app`: heard where a library swallows it, and an end in which no process is left."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import ModuleType

import psutil
import pytest

from curate.app import launch, stopping

posix = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")


@posix
def test_a_ctrl_c_that_a_library_swallows_comes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "AGAIN", 0.2)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    swallowed, began = 0, time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt), stopping.heard():
            while swallowed < 2:
                try:
                    if not swallowed:
                        os.kill(os.getpid(), signal.SIGINT)
                    time.sleep(20)
                except:  # noqa: E722  # as in FiftyOne
                    swallowed += 1
            time.sleep(20)
        assert swallowed == 2 and time.monotonic() - began < 10
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        time.sleep(0.5)  # no alarm goes on
    finally:
        signal.signal(signal.SIGINT, before)


@posix
def test_a_background_job_goes_on_ignoring_ctrl_c() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stopping.heard():
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.1)
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


@posix
def test_a_server_ends_with_the_app_that_was_killed() -> None:
    code = (
        "import sys, time; from curate.app.stopping import end_with; end_with(int(sys.argv[1]), 0.1); time.sleep(300)"
    )
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"]) as app:
        server = subprocess.Popen([sys.executable, "-c", code, str(app.pid)])
        with pytest.raises(subprocess.TimeoutExpired):
            server.wait(1.5)
        app.kill()
    assert server.wait(30) == 0


@posix
def test_a_service_that_does_not_end_is_killed_with_its_children(tmp_path: Path) -> None:
    program = tmp_path / "stubborn.py"
    program.write_text(
        "import signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "if len(sys.argv) == 1:\n"
        "    subprocess.Popen([sys.executable, __file__, 'child'])\n"
        "print('up', flush=True)\n"
        "time.sleep(600)\n"
    )
    service = stopping.own_group([sys.executable, program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert [service.stdout.readline(), service.stdout.readline()] == ["up\n", "up\n"]
    assert os.getpgid(service.pid) == service.pid != os.getpgid(0)  # the terminal's Ctrl-C does not reach it
    family = stopping._family(service)
    assert len(family) == 2
    began = time.monotonic()
    stopping.end(service, 0.5)
    assert time.monotonic() - began < 10
    assert not [p for p in family if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
    stopping.end(service)  # again, and of none
    stopping.end(None)
    service.stdout.close()


@posix
def test_ctrl_c_while_the_server_starts_is_one_line_and_leaves_no_process(
    seeds: ModuleType, database_server: None, tmp_path: Path
) -> None:
    pytest.importorskip("fiftyone")
    folder = seeds.faceset(tmp_path / "set").folder
    with socket.socket() as probe:
        probe.bind((launch.ADDRESS, 0))
        port = probe.getsockname()[1]
    environment = os.environ | {
        "FIFTYONE_DATABASE_DIR": str(tmp_path / "database"),
        "PYTHONPATH": str(Path(launch.__file__).parents[2]),
    }
    command = [sys.executable, "-m", "faceset", "app", str(folder), "--port", str(port), "--no-browser", "-q"]
    told = tmp_path / "told"
    with told.open("w") as stream:
        running = subprocess.Popen(
            command, env=environment, stderr=stream, stdout=stream, start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )  # fmt: skip
    family: dict[int, psutil.Process] = {}
    end = time.monotonic() + 180
    while not any("--51-service server" in " ".join(_command(p)) for p in family.values()):
        assert running.poll() is None and time.monotonic() < end, told.read_text()
        family |= {p.pid: p for p in psutil.Process(running.pid).children(recursive=True)}
        time.sleep(0.05)
    os.killpg(running.pid, signal.SIGINT)
    assert running.wait(60) == 0, told.read_text()
    assert "Traceback" not in told.read_text() and "Interrupt" not in told.read_text()
    _, alive = psutil.wait_procs(family.values(), 60)
    assert not [p for p in alive if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def _command(process: psutil.Process) -> list[str]:
    with suppress(psutil.Error):
        return process.cmdline()
    return []

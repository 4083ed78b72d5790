"""Curating survives kills, disks, other processes, clocks and changing footage: what was done is kept, and told."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from faulty import KILLS, ROOT, TRIES, Row, Watched, begin, remount, start, table_hash, told

from curate.dataset.faceset import open_faceset
from curate.dataset.lock import holder, lock
from curate.extract.pipeline import Request, curate
from curate.extract.table import build
from curate.runtime.files import file_sha256

ME = ("--subject", "A", "--basis", "research")


def parts(out: Path) -> int:
    return len(list(out.glob("parts/clip-*.parquet")))


def test_killed_at_random(clip, whole, script, ledger, tmp_path) -> None:
    row = ledger.row("curate: kill -9 at a random moment")
    rng = np.random.default_rng(1)
    for attempt in range(TRIES):
        out = tmp_path / f"set{attempt}"
        watched = Watched(out, row)
        for _ in range(KILLS):
            before, process = parts(out), start(script, clip, out, 1 + attempt % 2)
            end = time.monotonic() + 60
            while process.poll() is None and parts(out) == before and time.monotonic() < end:
                time.sleep(0.005)
            time.sleep(rng.uniform(0, 0.4))
            process.send_signal(signal.SIGKILL)
            process.communicate()
            row.tries += 1
            watched.look()
        if watched.parts:
            curate(Request((str(out),)))
        else:
            begin(clip, out)
        watched.look()
        assert table_hash(out) == whole and not list(out.glob("parts/.*"))
    assert (row.lost, row.half) == (0, 0)


@pytest.mark.skipif(TRIES == 1, reason="FACESET_FAULTS is not set: test_workers.py kills workers in less time")
def test_a_killed_worker_costs_nothing_but_time(clip, whole, script, ledger, tmp_path) -> None:
    row, out = ledger.row("curate: kill -9 of a worker"), tmp_path / "set"
    process = start(script, clip, out, 2)
    while not parts(out) and process.poll() is None:
        time.sleep(0.01)
    children = [c for c in psutil.Process(process.pid).children() if "spawn_main" in " ".join(c.cmdline())]
    children[0].kill()
    row.tries += 1
    error = process.communicate(timeout=120)[1]
    assert process.returncode == 0 and table_hash(out) == whole, error


def test_a_full_disk(clip, whole, small_disk, ledger, tmp_path, capsys, monkeypatch) -> None:
    row, out = ledger.row("curate: disk full"), small_disk / "set"
    watched = Watched(out, row)
    remount(small_disk, "size=300k")
    with pytest.raises(OSError, match="No space left"):
        begin(clip, out)
    row.tries += 1
    watched.look()
    code, line = told(capsys, "curate", out, "--workers", "1" if TRIES == 1 else "2")
    assert code == 1 and "No space left on device; finished work is kept" in line
    row.tries, row.message = row.tries + 1, line
    watched.look()
    remount(small_disk, "size=50m")
    curate(Request((str(out),)))
    watched.look()
    assert table_hash(out) == whole and (row.lost, row.half) == (0, 0)


def test_a_read_only_disk(clip, small_disk, ledger, capsys) -> None:
    row, out = ledger.row("curate, select, prune: read-only disk"), small_disk / "set"
    remount(small_disk, "size=50m")
    begin(clip, out)
    assert told(capsys, "select", out)[0] == 0
    remount(small_disk, "ro")
    for call in (("curate", out), ("select", out), ("prune", out, "--yes"), ("report", out), ("people", out)):
        code, line = told(capsys, *call)
        row.tries, row.message = row.tries + 1, line
        assert code == 1 and "ead-only" in line, (call, line)
    assert len(open_faceset(out).table()) == 50, "it can be read all the same"


FAILING = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
/* Reads of the file FAIL_PATH give EIO from byte FAIL_AT on, or, with FAIL_SHORT, no more than that many bytes. */
ssize_t read(int fd, void *buffer, size_t count) {
    static ssize_t (*real)(int, void *, size_t);
    if (!real) real = dlsym(RTLD_NEXT, "read");
    const char *wanted = getenv("FAIL_PATH"), *at = getenv("FAIL_AT"), *few = getenv("FAIL_SHORT");
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = wanted ? readlink(link, path, sizeof path - 1) : -1;
    if (length > 0) {
        path[length] = 0;
        if (!strcmp(path, wanted)) {
            if (few && count > (size_t)atol(few)) count = atol(few);
            if (at && lseek(fd, 0, SEEK_CUR) + (off_t)count > atol(at)) { errno = EIO; return -1; }
        }
    }
    return real(fd, buffer, count);
}
"""


@pytest.fixture(scope="session")
def failing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library that makes reads fail."""
    folder = tmp_path_factory.mktemp("failing")
    if shutil.which("cc") is None:
        pytest.skip("no C compiler: reads cannot be made to fail")
    (folder / "fail.c").write_text(FAILING)
    command = ["cc", "-shared", "-fPIC", "-o", str(folder / "fail.so"), str(folder / "fail.c"), "-ldl"]
    subprocess.run(command, check=True)
    return folder / "fail.so"


def test_read_errors_and_short_reads(clip, whole, script, failing, ledger, tmp_path) -> None:
    row, out = ledger.row("curate: the footage's disk fails"), tmp_path / "set"
    footage = tmp_path / "clip.mp4"
    shutil.copy(clip, footage)
    half = footage.stat().st_size // 2
    broken = {"LD_PRELOAD": str(failing), "FAIL_PATH": str(footage)}
    process = start(script, footage, out, 1, FAIL_AT=str(half), **broken)
    error = process.communicate(timeout=120)[1].decode()
    row.tries += 1
    row.message = error.strip().splitlines()[-1]
    assert process.returncode and "Input/output error" in row.message and "check the disk" in row.message
    assert not out.exists(), "nothing was done, so nothing is left"
    if TRIES > 1:
        row = ledger.row("curate: short reads")
        process = start(script, footage, out, 1, FAIL_SHORT="777", **broken)
        error = process.communicate(timeout=120)[1].decode()
        row.tries += 1
        assert process.returncode == 0 and table_hash(out) == whole, error


def test_a_disk_that_fails_in_the_middle_keeps_what_was_read(clip, whole, ledger, tmp_path, monkeypatch) -> None:
    from curate.errors import FootageError
    from curate.extract import engine

    row, out = ledger.row("curate: the footage's disk fails later"), tmp_path / "set"
    real, calls = engine.extract_segment, 0

    def fails(*args: object) -> int:
        nonlocal calls
        calls += 1
        if calls == 5:
            raise FootageError("clip.mp4: cannot be read to its end (Input/output error)")
        return real(*args)

    monkeypatch.setattr(engine, "extract_segment", fails)
    done = begin(clip, out)
    assert ["Input/output error" in f.reason for f in done.failed] == [True]
    row.tries, row.message = row.tries + 1, done.failed[0].reason
    watched = Watched(out, row)
    watched.look()
    assert len(watched.parts) == 9 and len(done.table) == 45, "what was read is kept"
    assert not curate(Request((str(out),))).failed, "the rest is tried again"
    watched.look()
    assert table_hash(out) == whole and row.lost == 0


def test_a_clip_that_is_replaced_while_it_is_read(clip, whole, ledger, tmp_path) -> None:
    row, out = ledger.row("curate: the clip is replaced meanwhile"), tmp_path / "set"
    footage = tmp_path / "clip.mp4"
    shutil.copy(clip, footage)
    watched = Watched(out, row)

    def replace(stage: str, done: int, total: int) -> None:
        if stage == "faces" and done == 15:
            (tmp_path / "new").write_bytes(clip.read_bytes() + bytes(8))
            os.replace(tmp_path / "new", footage)

    done = begin(footage, out, progress=replace)
    row.tries, row.message = row.tries + 1, done.failed[0].reason
    assert "replaced or changed while it was read" in row.message
    watched.look()
    assert len(watched.parts) == 3 and len(done.table) == 15
    again = curate(Request((str(out),)))
    assert "is another file than the one that the faceset knows" in again.failed[0].reason
    shutil.copy(clip, footage)
    assert not curate(Request((str(out),))).failed
    watched.look()
    assert table_hash(out) == whole and (row.lost, row.half) == (0, 0)


def test_power_failures_and_a_clock_that_is_set_back(clip, whole, ledger, tmp_path, monkeypatch) -> None:
    row, out = ledger.row("curate: power failure, clock set back"), tmp_path / "set"
    begin(clip, out)
    path = out / "parts" / "clip-0004.parquet"
    path.write_bytes(path.read_bytes()[:1000])
    (out / "parts" / ".clip-0005.parquet.abc").write_bytes(b"half")
    (out / "parts" / "clip-0003.parquet").unlink()
    crop = next((out / "crops" / "clip" / "0002").iterdir())
    pixels = crop.read_bytes()
    crop.write_bytes(b"")
    for made in (p for p in out.rglob("*.parquet") if p != path):
        os.utime(made, (4e9, 4e9))
    monkeypatch.setattr(time, "time", lambda: 1.0)
    watched = Watched(out, Row("before"))
    watched.look()
    assert watched.row.half == 1, "the part that was cut"
    del watched.parts[path.name]
    watched.row = row
    curate(Request((str(out),)))
    row.tries += 1
    watched.look()
    assert not list(out.glob("parts/.*")) and (row.lost, row.half) == (0, 0)
    assert open_faceset(out).table(["crop"])["crop"].isna().sum() == 1, "a crop without bytes is no crop"
    crop.write_bytes(pixels)
    build(open_faceset(out))
    assert table_hash(out) == whole


HOLD = """
import sys, time
from pathlib import Path
from curate.dataset.faceset import open_faceset
from curate.dataset.lock import lock
with lock(open_faceset(Path(sys.argv[1]))):
    print("held", flush=True)
    time.sleep(600)
"""


def test_two_processes_on_one_faceset(clip, ledger, tmp_path, capsys) -> None:
    row, out = ledger.row("two processes on one faceset"), tmp_path / "set"
    begin(clip, out)
    command = [sys.executable, "-c", HOLD, str(out)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout.readline() == b"held\n"
        code, line = told(capsys, "select", out)
        assert code == 1 and f"process {process.pid}" in line and "wait until it ends" in line
        row.tries, row.message = row.tries + 1, line
        process.kill()
    assert (out / ".lock").exists() and holder(out).pid == process.pid and not holder(out).alive()
    assert told(capsys, "select", out)[0] == 0, "the lock of a dead process is taken over"
    row.tries += 1
    with lock(open_faceset(out)):
        assert holder(out).pid == os.getpid()
    assert holder(out) is None


def test_older_and_newer_facesets(clip, whole, ledger, tmp_path, capsys) -> None:
    row, out = ledger.row("a faceset of an older or newer format"), tmp_path / "set"
    begin(clip, out)
    manifest = out / "faceset.toml"
    older = manifest.read_text().replace("format = 2", "format = 1")
    older = "\n".join(line for line in older.splitlines() if not line.startswith("size = "))
    manifest.write_text(older)
    assert open_faceset(out).clips[0].size == 0 and manifest.read_text() == older, "reading changes nothing"
    curate(Request((str(clip), str(out))))
    row.tries += 1
    assert (out / "faceset.toml.1").read_text() == older and "format = 2" in manifest.read_text()
    assert open_faceset(out).clips[0].size == clip.stat().st_size and table_hash(out) == whole
    manifest.write_text(manifest.read_text().replace("format = 2", "format = 3"))
    before = file_sha256(manifest)
    code, line = told(capsys, "curate", out)
    row.tries, row.message = row.tries + 1, line
    assert code == 2 and "has format 3; this version of faceset reads up to format 2: update faceset" in line
    assert file_sha256(manifest) == before

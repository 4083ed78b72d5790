"""The guard without FiftyOne: an application that answers everything, and what reaches it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from curate.app import guard

RULES = guard.Rules(5151, "t" * 32, "o" * 32, ())
HOST = ("host", "127.0.0.1:5151")
COOKIE = ("cookie", f"faceset-5151={RULES.token}")


async def everything(scope: dict[str, Any], receive: guard.Receive, send: guard.Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]})
    await send({"type": "http.response.body", "body": b"secret"})


def ask(
    app: guard.Guard, path: str, *headers: tuple[str, str], query: str = "", method: str = "GET", kind: str = "http"
) -> tuple[int, bytes, dict[bytes, bytes]]:
    """Status, body and headers of an answer."""
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    raw = [(name.encode(), value.encode("utf-8")) for name, value in headers]
    scope = {"type": kind, "path": path, "query_string": query.encode(), "headers": raw, "method": method}
    asyncio.run(app(scope, receive, send))
    return sent[0].get("status", 0), sent[-1].get("body", b""), dict(sent[0].get("headers", []))


@pytest.fixture
def app() -> guard.Guard:
    return guard.Guard(everything, RULES)


def test_the_token_opens_once_by_the_ticket_and_always_by_the_address(app: guard.Guard) -> None:
    for token, statuses in ((RULES.ticket, (200, 403)), (RULES.token, (200, 200)), ("", (403,)), ("é", (403,))):
        for status in statuses:
            found, body, headers = ask(app, "/datasets/a b", HOST, query=f"view=x&token={quote(token)}")
            assert found == status and b"secret" not in body
            assert (b"url=/datasets/a%20b?view=x" in body) == (status == 200)
            assert (b"SameSite=Strict" in headers.get(b"set-cookie", b"")) == (status == 200)


def test_only_its_own_browser_reaches_the_application(app: guard.Guard) -> None:
    status, body, headers = ask(app, "/x", HOST, COOKIE)
    assert (status, body, headers[b"referrer-policy"], headers[b"a"]) == (200, b"secret", b"same-origin", b"b")
    assert ask(app, "/x", HOST, ("x-faceset-token", RULES.token))[0] == 200
    assert ask(app, "/x", ("host", "LOCALHOST:5151"), COOKIE, ("origin", "http://localhost:5151"))[0] == 200
    refused = [
        (), (HOST,), (COOKIE,), (HOST, HOST, COOKIE), (("host", "[::1]"), COOKIE), (("host", "a:5151"), COOKIE),
        (HOST, COOKIE, ("origin", "http://localhost:5151")), (HOST, COOKIE, ("origin", "https://127.0.0.1:5151")),
        (HOST, COOKIE, ("sec-fetch-site", "cross-site")), (HOST, COOKIE, ("sec-fetch-site", "same-site")),
        (HOST, ("cookie", f"faceset-5152={RULES.token}")), (HOST, ("cookie", "faceset-5151=é; x\x00")),
        (HOST, ("x-faceset-token", RULES.ticket)),
    ]  # fmt: skip
    for headers_ in refused:
        status, body, _ = ask(app, "/x", *headers_)
        assert status == 403 and b"secret" not in body, headers_
    assert ask(app, "/x", HOST, query=f"token={RULES.token}", method="POST")[0] == 403
    assert ask(app, "/x", HOST, COOKIE, kind="websocket")[1] == b""


def test_media_is_of_the_folders_only(tmp_path: Path) -> None:
    inside, outside = tmp_path / "set" / "a.jpg", tmp_path / "set-2" / "a.jpg"
    for path in (inside, outside):
        path.parent.mkdir()
        path.write_bytes(b"a")
    (tmp_path / "set" / "link").symlink_to(outside)
    app = guard.Guard(everything, guard.Rules(5151, RULES.token, RULES.ticket, (str(tmp_path / "set"),)))
    for path, status in ((inside, 200), (outside, 403), (tmp_path / "set" / "link", 403), ("a\0b", 403), ("", 403)):
        for where in ("/media", "/media/", "//media"):
            assert ask(app, where, HOST, COOKIE, query=f"filepath={quote(str(path))}")[0] == status, (where, path)
    assert guard.from_json(RULES.to_json()) == RULES

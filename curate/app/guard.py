"""The guard in front of FiftyOne's server: an ASGI application that answers only this machine's own browser.

FiftyOne's server trusts whoever reaches its port. A web page can do that under a name of its own (DNS rebinding) or by
a form (CSRF), and so can every account of the machine. The guard asks for a loopback Host with the server's port,
refuses requests that other sites cause, wants the token that the printed address contains (a cookie afterwards), and
lets `/media` read nothing but the facesets' own folders and footage.
"""

from __future__ import annotations

import hmac
import html
import json
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

VARIABLE = "FACESET_APP_GUARD"
"""Environment variable with the Rules as JSON: other accounts can read a command line, but not the environment."""
TOKEN = "token"
"""Name of the token in an address."""
HEADER = "x-faceset-token"
"""Header with the token, as this program's own requests send it."""
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
HEADERS = [
    (b"referrer-policy", b"same-origin"),
    (b"content-security-policy", b"frame-ancestors 'self'"),
    (b"x-content-type-options", b"nosniff"),
]
"""Added to every answer."""


@dataclass(frozen=True)
class Rules:
    """What the guard lets through."""

    port: int
    token: str
    ticket: str
    """Another token, for the browser that the command opens: other accounts can read it there, so it works once."""
    folders: tuple[str, ...]
    """Absolute paths of the folders below which `/media` may read, and of single files."""

    def to_json(self) -> str:
        """JSON of these rules."""
        return json.dumps(asdict(self))


def from_json(text: str) -> Rules:
    """The rules in JSON of `Rules.to_json`."""
    values = json.loads(text)
    return Rules(int(values["port"]), str(values["token"]), str(values["ticket"]), tuple(values["folders"]))


def refusal(scope: Scope, rules: Rules, arrives: bool) -> str | None:
    """Why a request is refused, in one sentence for whoever made it; None for one that is let through.

    `arrives`: it opens a page by an address with the right token; such a request may come from anywhere.
    """
    headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]]
    hosts = [value for name, value in headers if name == "host"]
    allowed = {f"{name}:{rules.port}" for name in LOOPBACK}
    if len(hosts) != 1 or hosts[0].lower() not in allowed:
        return f"The host must be one of {', '.join(sorted(allowed))}."
    if any(value.lower() != f"http://{hosts[0].lower()}" for name, value in headers if name == "origin"):
        return "Requests of other sites are refused."
    sites = [value for name, value in headers if name == "sec-fetch-site"]
    if any(site not in ("same-origin", "none") for site in sites) and not arrives:
        return "Requests of other sites are refused."
    if not arrives and not _knows(headers, rules):
        return "Open the address that faceset app printed: it contains the token that this request lacks."
    if not _may_read(scope, rules):
        return "The App shows only files of the facesets that it was opened with."
    return None


@dataclass
class Guard:
    """An ASGI application that passes what `refusal` allows on to `app`."""

    app: App
    rules: Rules
    ticket_is_used: bool = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection of the server."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        arrives = self._arrives(scope)
        if (reason := refusal(scope, self.rules, arrives)) is not None:
            await _answer(send, 403, reason.encode(), [(b"content-type", b"text/plain; charset=utf-8")])
        elif arrives:
            await self._welcome(scope, send)
        else:
            await self.app(scope, receive, _marked(send))

    def _arrives(self, scope: Scope) -> bool:
        """Whether the request opens a page by an address with the token, or with the ticket for the first time."""
        given = [value for name, value in _query(scope) if name == TOKEN] if scope["method"] == "GET" else []
        if any(_same(value, self.rules.token) for value in given):
            return True
        return not self.ticket_is_used and any(_same(value, self.rules.ticket) for value in given)

    async def _welcome(self, scope: Scope, send: Send) -> None:
        """Set the cookie, and go on to the same address without the token, which then is in no history."""
        self.ticket_is_used |= any(_same(v, self.rules.ticket) for k, v in _query(scope) if k == TOKEN)
        cookie = f"{_cookie(self.rules)}={self.rules.token}; Path=/; HttpOnly; SameSite=Strict"
        others = [(k, v) for k, v in _query(scope) if k != TOKEN]
        on = quote("/" + scope["path"].lstrip("/")) + (f"?{urlencode(others)}" if others else "")
        page = f'<!doctype html><meta http-equiv="refresh" content="0; url={html.escape(on)}"><title>faceset</title>'
        headers = [(b"content-type", b"text/html; charset=utf-8"), (b"set-cookie", cookie.encode())]
        await _answer(send, 200, page.encode(), [*headers, (b"cache-control", b"no-store")])


def _knows(headers: Sequence[tuple[str, str]], rules: Rules) -> bool:
    """Whether the request has the token in its header or cookie."""
    if any(name == HEADER and _same(value, rules.token) for name, value in headers):
        return True
    for value in (value for name, value in headers if name == "cookie"):
        try:
            cookie = SimpleCookie(value).get(_cookie(rules))
        except CookieError:
            continue
        if cookie is not None and _same(cookie.value, rules.token):
            return True
    return False


def _may_read(scope: Scope, rules: Rules) -> bool:
    """Whether every file that the request names is below one of the folders, links followed."""
    if not scope["path"].rstrip("/").endswith("/media"):
        return True
    return all(readable(value, rules.folders) for name, value in _query(scope) if name == "filepath")


def readable(path: str, folders: Sequence[str]) -> bool:
    """Whether a path is below one of the folders, or one of the files, links followed."""
    try:
        place = Path(os.path.realpath(path))
    except (OSError, ValueError):
        return False
    return any(place.is_relative_to(os.path.realpath(folder)) for folder in folders)


def _query(scope: Scope) -> list[tuple[str, str]]:
    return parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)


def _same(text: str, secret: str) -> bool:
    return hmac.compare_digest(text.encode("utf-8", "replace"), secret.encode())


def _cookie(rules: Rules) -> str:
    """Name of the cookie: browsers give cookies of one port to all, and several Apps may be open."""
    return f"faceset-{rules.port}"


def _marked(send: Send) -> Send:
    async def marked(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", []), *HEADERS]}
        await send(message)

    return marked


async def _answer(send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length, *HEADERS]})
    await send({"type": "http.response.body", "body": body})

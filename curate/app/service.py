"""How FiftyOne comes to start its server behind the guard, and to end it: `curate.app.server` is its program."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Any

import psutil

from curate.app import guard, stopping
from curate.errors import WorkError

log = logging.getLogger(__name__)

PATIENCE = 180.0
"""Seconds in which the server has to listen: its imports alone take long on a busy machine."""
ANSWER = 30.0
"""Seconds in which it answers."""


_started: list[Any] = []
"""Servers of this process, also those whose start was interrupted."""


class _Processes:
    """psutil as FiftyOne's services see it: Ctrl-C in a terminal does not reach what they start."""

    Popen = staticmethod(stopping.own_group)

    def __getattr__(self, name: str) -> Any:
        return getattr(psutil, name)


def shield() -> None:
    """Make FiftyOne start its database and its server out of reach of the terminal's Ctrl-C; it ends them itself."""
    import fiftyone.core.service as services

    services.psutil = _Processes()


def protect(rules: guard.Rules) -> None:
    """Make FiftyOne, in this process, start its server behind the guard, and send the token with its own requests."""
    import fiftyone.core.service as services
    import fiftyone.core.session.client as client
    import fiftyone.core.session.session as sessions

    class Guarded(services.ServerService):  # type: ignore[misc]  # FiftyOne has no types
        """FiftyOne's service with our server as its program."""

        def start(self) -> None:
            _started.append(self)
            super().start()

        def stop(self) -> None:
            stopping.end(self.child)

        @property
        def command(self) -> list[str]:
            arguments = ["--port", str(self.port), "--address", str(self.address)]
            return [sys.executable, "-P", "-m", "curate.app.server", *arguments]

        @property
        def env(self) -> dict[str, str]:
            """FiftyOne's variables, where our packages are, the guard's rules and the process that shows the App."""
            paths = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
            here = {
                "PYTHONPATH": os.pathsep.join(filter(None, paths)),
                guard.VARIABLE: rules.to_json(),
                stopping.APP: str(os.getpid()),
            }
            return {**super().env, **here}

        def _wait_for_child_port(self, port: int | None = None, timeout: float = PATIENCE) -> Any:
            try:
                return super()._wait_for_child_port(port=port, timeout=timeout)
            except services.ServiceListenTimeout:
                raise WorkError(
                    f"the App's server did not start on port {port} within {timeout:.0f} s: try again when the machine "
                    "is less busy, or with another --port"
                ) from None

    services.ServerService = Guarded
    client.requests = _with_token(rules)
    client.print = sessions.print = _say  # stdout is for the result


def _with_token(rules: guard.Rules) -> Any:
    """A session of requests that does not wait for a server that is about to end; a stream of events has no end."""
    import requests

    class Requests(requests.Session):
        def request(self, *arguments: Any, **options: Any) -> Any:
            return super().request(*arguments, **{"timeout": None if options.get("stream") else ANSWER, **options})

    session = Requests()
    session.trust_env = False  # no proxy gets to see the token
    session.headers[guard.HEADER] = rules.token
    return session


def close() -> None:
    """End the servers of this process within seconds, whatever has become of their start."""
    import fiftyone as fo

    fo.close_app()
    while _started:
        _started.pop().stop()


def _say(text: str) -> None:
    """What FiftyOne's session prints while the server starts, as a line of the log."""
    log.info("%s", text.strip())

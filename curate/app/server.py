"""FiftyOne's server and our page behind the guard: the program of their process, and how FiftyOne starts it.

Run as `python -P -m curate.app.server --port N --address HOST`, with the guard's rules in the environment.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path
from typing import Any

from curate.app import guard
from curate.errors import WorkError

log = logging.getLogger(__name__)

PATIENCE = 180.0
"""Seconds in which the server has to listen: its imports alone take long on a busy machine."""


def protect(rules: guard.Rules) -> None:
    """Make FiftyOne, in this process, start its server behind the guard, and send the token with its own requests."""
    import fiftyone.core.service as service
    import fiftyone.core.session.client as client
    import requests

    class Guarded(service.ServerService):  # type: ignore[misc]  # FiftyOne has no types
        """FiftyOne's service with this module as its program."""

        @property
        def command(self) -> list[str]:
            arguments = ["--port", str(self.port), "--address", str(self.address)]
            return [sys.executable, "-P", "-m", "curate.app.server", *arguments]

        @property
        def env(self) -> dict[str, str]:
            paths = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
            here = {"PYTHONPATH": os.pathsep.join(filter(None, paths)), guard.VARIABLE: rules.to_json()}
            return {**super().env, **here}

        def _wait_for_child_port(self, port: int | None = None, timeout: float = PATIENCE) -> Any:
            try:
                return super()._wait_for_child_port(port=port, timeout=timeout)
            except service.ServiceListenTimeout:
                raise WorkError(
                    f"the App's server did not start on port {port} within {timeout:.0f} s: try again when the machine "
                    "is less busy, or with another --port"
                ) from None

    session = requests.Session()
    session.trust_env = False  # no proxy gets to see the token
    session.headers[guard.HEADER] = rules.token
    service.ServerService = Guarded
    client.requests = session
    client.print = _say  # stdout is for the result


def _say(text: str) -> None:
    """What FiftyOne's session prints while the server starts, as a line of the log."""
    log.info("%s", text.strip())


def serve(port: int, address: str) -> None:
    """Run FiftyOne's server until the process ends."""
    rules = guard.from_json(os.environ.pop(guard.VARIABLE))
    import fiftyone.server.main as server

    server.app = guarded(server.app, rules)
    server.start_server(port=port, address=address)


def guarded(app: Any, rules: guard.Rules) -> guard.Guard:
    """FiftyOne's application and our page behind the guard, without the pages of its debugger."""
    from curate.app import correcting, panels  # whose actions need `launch`, which needs this module

    app.debug = False
    panels.media[:] = rules.folders
    return guard.Guard(correcting.Pages(app, rules.folders), rules)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--address", required=True)
    given = parser.parse_args()
    serve(given.port, given.address)

"""How FiftyOne comes to start its server behind the guard: `curate.app.server` is the program of that process."""

from __future__ import annotations

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
    import fiftyone.core.service as services
    import fiftyone.core.session.client as client
    import requests

    class Guarded(services.ServerService):  # type: ignore[misc]  # FiftyOne has no types
        """FiftyOne's service with our server as its program."""

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
            except services.ServiceListenTimeout:
                raise WorkError(
                    f"the App's server did not start on port {port} within {timeout:.0f} s: try again when the machine "
                    "is less busy, or with another --port"
                ) from None

    session = requests.Session()
    session.trust_env = False  # no proxy gets to see the token
    session.headers[guard.HEADER] = rules.token
    services.ServerService = Guarded
    client.requests = session
    client.print = _say  # stdout is for the result


def _say(text: str) -> None:
    """What FiftyOne's session prints while the server starts, as a line of the log."""
    log.info("%s", text.strip())

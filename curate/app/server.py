"""FiftyOne's server and our page behind the guard: the program of their process.

Run as `python -P -m curate.app.server --port N --address HOST`, with the guard's rules in the environment.
"""

from __future__ import annotations

import argparse
import os
from typing import Any

from curate.app import correcting, guard, panels, stopping


def serve(port: int, address: str) -> None:
    """Run FiftyOne's server until the process ends."""
    rules = guard.from_json(os.environ.pop(guard.VARIABLE))
    stopping.end_with(int(os.environ.pop(stopping.APP)))
    import fiftyone.server.main as server

    server.app = guarded(server.app, rules)
    server.start_server(port=port, address=address)


def guarded(app: Any, rules: guard.Rules) -> guard.Guard:
    """FiftyOne's application and our page behind the guard, without the pages of its debugger."""
    app.debug = False
    panels.media[:] = rules.folders
    return guard.Guard(correcting.Pages(app, rules.folders), rules)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--address", required=True)
    given = parser.parse_args()
    serve(given.port, given.address)

"""`faceset`, and `python -m faceset`. Light: Ctrl-C while the command line is loaded is one line as well."""

from __future__ import annotations

import atexit
import os
import sys

INTERRUPTED = 130


def main() -> None:
    """Run the command line."""
    ended: list[int] = []
    atexit.register(_leave, ended)  # registered first, called last
    try:
        from faceset.cli import main as run

        run()
    except KeyboardInterrupt:
        sys.stderr.write("faceset: interrupted\n")
        ended.append(INTERRUPTED)
        sys.exit(INTERRUPTED)
    except SystemExit as end:
        if end.code == INTERRUPTED:
            ended.append(INTERRUPTED)
        raise


def _leave(ended: list[int]) -> None:
    """Exit with 130: Python itself ends by the signal where Ctrl-C came while it compiled a dataclass."""
    if ended:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(INTERRUPTED)


if __name__ == "__main__":
    main()

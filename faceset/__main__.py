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
        if end.code == INTERRUPTED or ("fiftyone" in sys.modules and end.code in (0, 1, None)):
            ended.append(int(end.code or 0))
        raise


def _leave(ended: list[int]) -> None:
    """Exit at once: where Ctrl-C came while Python compiled a dataclass, it ends by the signal; and clearing away what
    FiftyOne has made takes seconds, and now and then forever.
    """
    if ended:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(ended[-1])


if __name__ == "__main__":
    main()

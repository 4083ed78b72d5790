"""`faceset`, and `python -m faceset`. Light: Ctrl-C while the command line is loaded is one line as well."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line."""
    try:
        from faceset.cli import main as run

        run()
    except KeyboardInterrupt:
        sys.stderr.write("faceset: interrupted\n")
        sys.exit(130)


if __name__ == "__main__":
    main()

"""How right the scores are: `make accuracy`.

    python -m benchmarks.accuracy [--quick] [--only pose light ...]    known heads, and real clips against themselves
    python -m benchmarks.accuracy --real DIR [--json]                  published benchmarks (make accuracy REAL=DIR)

FACESET_CLIPS names a folder of real clips; without it the rows that need them say so. DIR contains `aflw2000/truth.csv`
with its pictures, and `yaleb/*.pgm`: all of these sets or any part of them.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from benchmarks import (
    accuracy_expression,
    accuracy_identity,
    accuracy_light,
    accuracy_motion,
    accuracy_pose,
    accuracy_quality,
    accuracy_real,
)
from benchmarks.real_data import fitted_here

AREAS = {
    "pose": accuracy_pose.rows,
    "light": accuracy_light.rows,
    "expression": accuracy_expression.rows,
    "quality": accuracy_quality.rows,
    "motion": accuracy_motion.rows,
    "identity": accuracy_identity.rows,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer heads and frames")
    parser.add_argument("--only", nargs="+", choices=AREAS, default=list(AREAS))
    parser.add_argument("--real", type=Path, metavar="DIR", help="folder with aflw2000/ and yaleb/")
    parser.add_argument("--json", action="store_true", help="with --real: print the JSON object alone")
    args = parser.parse_args()
    if args.real is not None:
        return _real(parser, args.real, args.json)
    folder = os.environ.get("FACESET_CLIPS")
    found = []
    for area in args.only:
        for row in AREAS[area](args.quick, Path(folder) if folder else None):
            print(row.line(), flush=True)
            found.append(row)
    goals = [row for row in found if row.ok is not None]
    print(f"{sum(bool(row.ok) for row in goals)} of {len(goals)} goals reached")
    print(json.dumps({"benchmark": "accuracy", "rows": [row.json() for row in found]}))


def _real(parser: argparse.ArgumentParser, folder: Path, alone: bool) -> None:
    found = accuracy_real.measure(folder)
    if not found:
        parser.error(f"--real {folder}: contains neither aflw2000/truth.csv nor yaleb/*.pgm")
    if not alone:
        accuracy_real.show(found, fitted_here(folder))
    print(json.dumps(found))


if __name__ == "__main__":
    main()

"""How right the scores are: `make accuracy`.

    python -m benchmarks.accuracy [--quick] [--only pose light ...]

FACESET_CLIPS names a folder of real clips; without it the rows that need them say so.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from benchmarks import accuracy_expression, accuracy_identity, accuracy_light, accuracy_pose, accuracy_quality

AREAS = {
    "pose": accuracy_pose.rows,
    "light": accuracy_light.rows,
    "expression": accuracy_expression.rows,
    "quality": accuracy_quality.rows,
    "identity": accuracy_identity.rows,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer heads and frames")
    parser.add_argument("--only", nargs="+", choices=AREAS, default=list(AREAS))
    args = parser.parse_args()
    folder = os.environ.get("FACESET_CLIPS")
    found = []
    for area in args.only:
        for row in AREAS[area](args.quick, Path(folder) if folder else None):
            print(row.line(), flush=True)
            found.append(row)
    goals = [row for row in found if row.ok is not None]
    print(f"{sum(bool(row.ok) for row in goals)} of {len(goals)} goals reached")
    print(json.dumps({"benchmark": "accuracy", "rows": [row.json() for row in found]}))


if __name__ == "__main__":
    main()

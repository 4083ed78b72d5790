"""Forecasts of finished runs against what came: each is made from the beginning of the run's own log.

    python -m benchmarks.forecast RUN...

The runs have to be other ones than those in the comment of `train.forecast.GAIN`. Prints a table and a JSON line.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from curate.errors import WorkError
from train.forecast import forecast, read_log
from train.run import open_run
from train.trend import quality, tidy

SHARES = (0.4, 0.5, 0.7)
"""Shares of the steps that a forecast is made from."""


def rows(run: Path) -> list[dict[str, object]]:
    """A forecast of the run's last evaluation from each share of its log."""
    config, log = open_run(run).config, tidy(read_log(run))
    curve = quality(log)
    end, came, found = int(curve.steps[-1]), float(curve.values[-1]), []
    for share in SHARES:
        try:
            made = forecast(log[log["step"] <= share * end], end, config)
        except WorkError:
            continue
        row = {"run": run.name, "from": made.made, "at": end, "ssim": made.ssim, "low": made.low, "high": made.high}
        found.append({**row, "came": came, "held": made.low <= came <= made.high})
    return found


def main() -> None:
    """Print the table and the JSON line of the runs on the command line."""
    table = [row for path in sys.argv[1:] for row in rows(Path(path))]
    print(f"{'run':24}{'from':>7}{'at':>7}{'forecast':>10}{'low':>8}{'high':>8}{'came':>8}  held")
    for r in table:
        print(f"{r['run']:24}{r['from']:>7}{r['at']:>7}{r['ssim']:>10.3f}{r['low']:>8.3f}{r['high']:>8.3f}"
              f"{r['came']:>8.3f}  {'yes' if r['held'] else 'no'}")  # fmt: skip
    near = sum(abs(float(str(r["ssim"])) - float(str(r["came"]))) <= 0.02 for r in table)
    held = sum(bool(r["held"]) for r in table)
    print(json.dumps({"forecasts": len(table), "within_0.02": near, "held": held}))


if __name__ == "__main__":
    main()

"""Log of a run: log.csv, TensorBoard events, and a progress line for the terminal."""

from __future__ import annotations

import csv
import io
import logging
import sys
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path

import pandas as pd
from torch.utils.tensorboard import SummaryWriter

from curate.runtime.files import atomic
from curate.types import Image
from train.model import SIDES
from train.performance import AXES
from train.retarget import Gains

log = logging.getLogger(__name__)

TERMS = ("l1", "dssim", "mask", "total")
"""Loss terms, see `train.loss.losses`."""
PER_SIDE = ("ssim", "ssim_face", "l1_face", "iou")
FIGURES = (
    "ssim",
    *(f"{figure}_{side}" for figure in PER_SIDE for side in SIDES),
    "nearer",
    *(f"identity_{side}" for side in SIDES),
    "follows",
    *(f"{figure}_{axis}" for axis in AXES for figure in ("follows", "slope")),
    *(f"gain_{field.name}" for field in fields(Gains)),
)
"""Held-out figures (`train.measure`, `train.identity`, `train.performance`) and gains (`train.gains`); empty in lines
without an evaluation."""
COLUMNS = (
    "step",
    "seconds",
    "images_per_second",
    "waited",
    "lr",
    "gradient",
    "loss",
    *(f"{term}_{side}" for side in SIDES for term in TERMS),
    *FIGURES,
    "device_hours",
    "cost",
)
"""Columns of log.csv: means over the steps since the previous line. gradient: norm before clipping; waited: share of
the time in which steps waited for data."""


class Journal:
    """Log of one run; resuming at a step removes the lines after it."""

    def __init__(self, out: Path, step: int) -> None:
        self.path = out / "log.csv"
        self._write(_lines(self.path, step))
        self.board = SummaryWriter(str(out / "tensorboard"), purge_step=step + 1 if step else None)

    def line(self, values: Mapping[str, float], steps: int, left: float) -> None:
        """Add a line; `steps` is the length of the run, `left` the seconds to its end."""
        with self.path.open("a", encoding="utf-8", newline="") as stream:
            csv.DictWriter(stream, COLUMNS, restval="", lineterminator="\n").writerow(
                {k: f"{v:.6g}" if isinstance(v, float) else v for k, v in values.items()}
            )
        step = int(values["step"])
        for name, value in values.items():
            if name != "step":
                self.board.add_scalar(name, value, step)
        log.info("%s", sentence(values, steps, left))

    def fill(self, step: int, figures: Mapping[str, float]) -> None:
        """Add an evaluation's figures to the line of its step."""
        rows = _lines(self.path, sys.maxsize)
        found = [row for row in rows if row["step"] == str(step)]
        for row in found:
            row |= {name: f"{value:.6g}" for name, value in figures.items()}
        self._write(rows)
        for name, value in figures.items() if found else ():
            self.board.add_scalar(name, value, step)
        log.info("step %d: %s", step, ", ".join(evaluated(figures)))

    def lacks_figures(self, step: int) -> bool:
        """Whether a step has a line without an evaluation."""
        return any(row["step"] == str(step) and not row["ssim"] for row in _lines(self.path, sys.maxsize))

    def table(self) -> pd.DataFrame:
        """The contents of log.csv."""
        return pd.read_csv(self.path)

    def picture(self, image: Image, step: int) -> None:
        """Add a preview sheet to TensorBoard."""
        self.board.add_image("preview", image, step, dataformats="HWC")

    def _write(self, rows: Iterable[Mapping[str, str]]) -> None:
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
        with atomic(self.path) as temporary:
            temporary.write_text(text.getvalue(), encoding="utf-8")

    def close(self) -> None:
        """Flush TensorBoard's events and close the file."""
        self.board.close()


def sentence(values: Mapping[str, float], steps: int, left: float) -> str:
    """Progress line: `step 500/1500  loss 0.0712  held-out SSIM 0.801  190 images/s  2:48 left`."""
    parts = [f"step {values['step']}/{steps}", f"loss {values['loss']:.4f}"]
    parts += evaluated(values)
    if values.get("cost"):
        parts.append(f"cost {values['cost']:.2f}")
    parts += [f"{values['images_per_second']:.0f} images/s", f"{clock(left)} left"]
    return "  ".join(parts)


def evaluated(figures: Mapping[str, float]) -> list[str]:
    """An evaluation in words."""
    parts = []
    if "ssim" in figures:
        parts.append(f"held-out SSIM {figures['ssim']:.3f}")
    if "nearer" in figures:
        parts.append(f"{100 * figures['nearer']:.0f} % of swaps closer to source")
    if "follows" in figures:
        parts.append(f"performance {figures['follows']:.2f}")
    return parts


def clock(seconds: float) -> str:
    """Seconds as a clock: 3725 -> 1:02:05, 65 -> 1:05."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def _lines(path: Path, step: int) -> list[dict[str, str]]:
    """Complete lines up to a step."""
    if not step or not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as stream:
        rows = [r for r in csv.DictReader(stream) if None not in r.values() and None not in r]
    return [{k: r.get(k, "") for k in COLUMNS} for r in rows if r.get("step", "").isdigit() and int(r["step"]) <= step]

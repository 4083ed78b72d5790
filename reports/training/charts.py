"""Charts of a training report: quality, losses, identity, mask and speed over steps."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from reports.page.curves import LineChart, Series, decimal, line_chart, scientific
from reports.page.page import percent
from reports.training.figures import SIDES, Quality, column

LOW = 90
"""Height of the small charts."""


def _fine(value: float) -> str:
    return decimal(value, 3)


def charts(log: pd.DataFrame, quality: Quality) -> dict[str, LineChart | None]:
    """All charts of a tidy log by name; None where nothing was measured."""
    made = _Charts(log, quality.masked)
    names = ("ssim", "loss", "nearer", "follows", "identity", "iou", "error", "rate", "gradient", "speed", "waited")
    overfit = {f"overfit_{side}": made.overfit(side) for side in SIDES}
    return overfit | {name: getattr(made, name)() for name in names}


@dataclass(frozen=True)
class _Charts:
    log: pd.DataFrame
    masked: bool

    def _series(self, *named: tuple[str, str, str]) -> list[Series]:
        steps = column(self.log, "step")
        return [Series(name, style, steps, column(self.log, of)) for name, style, of in named]

    def ssim(self) -> LineChart | None:
        """Chart of the held-out SSIM of both sides."""
        kind = "ssim_face_" if self.masked else "ssim_"
        lines = self._series(("source", "a", f"{kind}source"), ("target", "b", f"{kind}target"))
        return line_chart(lines, "SSIM", _fine)

    def overfit(self, side: str) -> LineChart | None:
        """Chart of the DSSIM of one side's training and held-out faces."""
        training, held = self._series(("training", "a", f"dssim_{side}"), ("held-out", "b", f"ssim_face_{side}"))
        held = Series(held.name, held.style, held.steps, (1 - held.values) / 2)
        return line_chart([training, held], "DSSIM", _fine)

    def loss(self) -> LineChart | None:
        """Chart of the total training loss of both sides, or of their sum where only that is logged."""
        lines = self._series(*((s, style, f"total_{s}") for s, style in zip(SIDES, "ab", strict=True)))
        return line_chart(lines, "loss", log=True) or line_chart(self._series(("", "a", "loss")), "loss", log=True)

    def nearer(self) -> LineChart | None:
        """Chart of the share of swaps whose identity is closer to the source than to the target."""
        return line_chart(self._series(("", "a", "nearer")), "share of swaps", percent, percent, limits=(0, 1))

    def follows(self) -> LineChart | None:
        """Chart of the correlation of swaps with the target's performance, mean of all axes."""
        return line_chart(self._series(("", "a", "follows")), "correlation", _fine)

    def identity(self) -> LineChart | None:
        """Chart of the identity distance of swaps to either subject."""
        lines = self._series(("to source", "a", "identity_source"), ("to target", "b", "identity_target"))
        return line_chart(lines, "distance", _fine)

    def iou(self) -> LineChart | None:
        """Chart of the overlap of predicted mask and face mask."""
        return line_chart(self._series(("source", "a", "iou_source"), ("target", "b", "iou_target")), "IoU", _fine)

    def error(self) -> LineChart | None:
        """Chart of the mean absolute error under the mask."""
        lines = self._series(("source", "a", "l1_face_source"), ("target", "b", "l1_face_target"))
        return line_chart(lines, "error", scientific)

    def rate(self) -> LineChart | None:
        """Chart of the learning rate."""
        return line_chart(self._series(("", "a", "lr")), "learning rate", height=LOW)

    def gradient(self) -> LineChart | None:
        """Chart of the gradient norm before clipping."""
        return line_chart(self._series(("", "a", "gradient")), "norm", log=True, height=LOW)

    def speed(self) -> LineChart | None:
        """Chart of the images per second."""
        values = column(self.log, "images_per_second")
        top = float(values.max(initial=0.0, where=values > 0))
        lines = self._series(("", "a", "images_per_second"))
        return line_chart(lines, "images/s", limits=(0, max(1.1 * top, 1e-6)), height=LOW)

    def waited(self) -> LineChart | None:
        """Chart of the share of time in which steps waited for data."""
        return line_chart(self._series(("", "a", "waited")), "share", percent, percent, limits=(0, 1), height=LOW)

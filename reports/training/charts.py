"""The curves of a training's page."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from reports.page.curves import LineChart, Series, decimal, line_chart, scientific
from reports.page.page import percent
from reports.training.figures import SIDES, column, quality

LOW = 90
"""Height of the small charts."""


def _fine(value: float) -> str:
    return decimal(value, 3)


def charts(log: pd.DataFrame) -> dict[str, LineChart | None]:
    """All of a tidy log by name; None where nothing was measured."""
    made = _Charts(log)
    names = ("ssim", "loss", "nearer", "identity", "iou", "error", "rate", "gradient", "speed", "waited")
    overfit = {f"overfit_{side}": made.overfit(side) for side in SIDES}
    return overfit | {name: getattr(made, name)() for name in names}


@dataclass(frozen=True)
class _Charts:
    log: pd.DataFrame

    def _series(self, *named: tuple[str, str, str]) -> list[Series]:
        steps = column(self.log, "step")
        return [Series(name, style, steps, column(self.log, of)) for name, style, of in named]

    def ssim(self) -> LineChart | None:
        """Held-out SSIM of both sides."""
        kind = "ssim_face_" if quality(self.log).masked else "ssim_"
        lines = self._series(("source", "a", f"{kind}source"), ("target", "b", f"{kind}target"))
        return line_chart(lines, "SSIM", _fine)

    def overfit(self, side: str) -> LineChart | None:
        """DSSIM of the faces that are trained on and of those held out, of one side."""
        seen, held = self._series(("training", "a", f"dssim_{side}"), ("held out", "b", f"ssim_face_{side}"))
        held = Series(held.name, held.style, held.steps, (1 - held.values) / 2)
        return line_chart([seen, held], "DSSIM", _fine)

    def loss(self) -> LineChart | None:
        """The whole training loss: of both sides, or their sum where only that is logged."""
        lines = self._series(*((s, style, f"total_{s}") for s, style in zip(SIDES, "ab", strict=True)))
        return line_chart(lines, "loss", log=True) or line_chart(self._series(("", "a", "loss")), "loss", log=True)

    def nearer(self) -> LineChart | None:
        """Share of the swaps whose identity is nearer to the source."""
        return line_chart(self._series(("", "a", "nearer")), "share of swaps", percent, percent, limits=(0, 1))

    def identity(self) -> LineChart | None:
        """Distance of the swaps' identity to either subject."""
        lines = self._series(("to source", "a", "identity_source"), ("to target", "b", "identity_target"))
        return line_chart(lines, "distance", _fine)

    def iou(self) -> LineChart | None:
        """How well the drawn mask covers the face's."""
        return line_chart(self._series(("source", "a", "iou_source"), ("target", "b", "iou_target")), "IoU", _fine)

    def error(self) -> LineChart | None:
        """Mean absolute error under the mask."""
        lines = self._series(("source", "a", "l1_face_source"), ("target", "b", "l1_face_target"))
        return line_chart(lines, "error", scientific)

    def rate(self) -> LineChart | None:
        """Learning rate."""
        return line_chart(self._series(("", "a", "lr")), "rate", height=LOW)

    def gradient(self) -> LineChart | None:
        """Norm of the gradient before it is clipped."""
        return line_chart(self._series(("", "a", "gradient")), "norm", log=True, height=LOW)

    def speed(self) -> LineChart | None:
        """Images a second."""
        values = column(self.log, "images_per_second")
        top = float(values.max(initial=0.0, where=values > 0))
        lines = self._series(("", "a", "images_per_second"))
        return line_chart(lines, "images/s", limits=(0, max(1.1 * top, 1e-6)), height=LOW)

    def waited(self) -> LineChart | None:
        """Share of a step that waits for data."""
        return line_chart(self._series(("", "a", "waited")), "share", percent, percent, limits=(0, 1), height=LOW)

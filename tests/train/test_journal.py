from __future__ import annotations

import csv
import logging
from pathlib import Path

import pytest

from train.journal import COLUMNS, Journal, clock, sentence

LINE = {"step": 2, "seconds": 1.5, "images_per_second": 200.0, "lr": 0.1, "loss": 0.25}


def rows(path: Path) -> list[dict[str, str]]:
    with (path / "log.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_resuming_drops_later_and_broken_lines(tmp_path: Path) -> None:
    journal = Journal(tmp_path, 0)
    for step in (2, 4, 6):
        journal.line({**LINE, "step": step, "ssim": 0.5}, 10, 0)
    journal.close()
    with (tmp_path / "log.csv").open("a") as stream:
        stream.write("4,1")
    Journal(tmp_path, 4).close()
    assert [(r["step"], r["ssim"], r["gradient"]) for r in rows(tmp_path)] == [("2", "0.5", ""), ("4", "0.5", "")]
    assert list(rows(tmp_path)[0]) == list(COLUMNS)
    Journal(tmp_path, 0).close()
    assert rows(tmp_path) == []


def test_the_line_says_loss_rate_and_time_left(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    journal = Journal(tmp_path, 0)
    with caplog.at_level(logging.INFO, logger="train"):
        journal.line(LINE, 10, 65.2)
    journal.close()
    assert caplog.messages == ["step 2/10  loss 0.2500  200 images/s  1:05 left"]
    assert "held-out SSIM 0.812" in sentence({**LINE, "ssim": 0.812}, 10, 0)


def test_clock() -> None:
    assert [clock(s) for s in (0, 65, 3725)] == ["0:00", "1:05", "1:02:05"]

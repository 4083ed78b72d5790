"""A made-up training for the tests of its page."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from reports.training.figures import Quality, Trend
from reports.training.held_out import HeldOut
from reports.training.page import Training

NASTY = '<script>alert("x")</script> "q" & \'s\' 日本 ünï.mp4'


def rising(lines: int = 200, length: int = 100_000, seed: int = 0) -> pd.DataFrame:
    """A log whose held-out SSIM rises to 0.85: every column, every 5th line measured."""
    rng = np.random.default_rng(seed)
    step = np.linspace(length / lines, length, lines).round()
    done = step / length
    log = pd.DataFrame({"step": step, "seconds": step * 0.31, "images_per_second": rng.normal(103, 3, lines)})
    log["waited"] = rng.uniform(0.01, 0.05, lines)
    log["lr"] = 2e-4 * np.minimum(done / 0.02, 0.05 + 0.95 * (0.5 + 0.5 * np.cos(np.pi * done)))
    log["gradient"] = np.exp(rng.normal(-1 - done, 0.3, lines))
    for i, side in enumerate(("source", "target")):
        log[f"dssim_{side}"] = 0.06 + 0.15 * np.exp(-8 * done) + 0.01 * i + rng.normal(0, 0.002, lines)
        log[f"l1_{side}"] = 0.02 + 0.1 * np.exp(-9 * done) + rng.normal(0, 0.0005, lines)
        log[f"mask_{side}"] = 0.05 + 0.3 * np.exp(-20 * done)
        log[f"total_{side}"] = 10 * log[f"l1_{side}"] + 10 * log[f"dssim_{side}"] + log[f"mask_{side}"]
    log["loss"] = log["total_source"] + log["total_target"]
    held = 0.85 - 0.35 * np.exp(-6 * done)
    for i, side in enumerate(("source", "target")):
        log[f"ssim_face_{side}"] = held - 0.02 * i + rng.normal(0, 0.001, lines)
        log[f"ssim_{side}"] = log[f"ssim_face_{side}"] - 0.05
        log[f"l1_face_{side}"] = 0.03 + 0.06 * np.exp(-6 * done) + 0.002 * i
        log[f"iou_{side}"] = 0.97 - 0.3 * np.exp(-12 * done) - 0.01 * i
    log["ssim"] = (log["ssim_source"] + log["ssim_target"]) / 2
    log["nearer"] = np.clip(1.1 - 1.0 * np.exp(-5 * done), 0, 1)
    log["identity_source"], log["identity_target"] = 0.42 + 0.3 * np.exp(-5 * done), 0.7 - 0.2 * np.exp(-5 * done)
    log["device_hours"] = log["seconds"] / 3600
    log["cost"] = log["device_hours"] * 0.42
    measured = [c for c in log if c.startswith(("ssim", "l1_face", "iou", "nearer", "identity"))]
    log.loc[np.arange(lines) % 5 != 4, measured] = np.nan
    return log


def quality(log: pd.DataFrame) -> Quality:
    """The mean of both sides' SSIM under the mask."""
    held = log.dropna(subset=["ssim_face_source"])
    return Quality(held["step"].to_numpy(), held[["ssim_face_source", "ssim_face_target"]].to_numpy().mean(1), True)


def face(side: str = "source", group: str = "frontal", ssim: float = 0.8, in_set: int = 60, number: int = 0) -> HeldOut:
    """A held-out face whose picture is a face-like oval."""
    return HeldOut(
        side, f"{number:012x}-0", NASTY, 12.5 + number, group, np.nan if number % 5 == 4 else 0.5 * number - 30, 3.0,
        ssim, in_set, picture(number), picture(number, blur=3.0),
    )  # fmt: skip


def picture(number: int, blur: float = 0.0, size: int = 64) -> np.ndarray:
    """(size, size, 3) uint8 RGB."""
    rng = np.random.default_rng(number)
    image = np.full((size, size, 3), rng.integers(40, 120, 3), np.uint8)
    middle = (size // 2 + int(rng.integers(-4, 5)), size // 2)
    cv2.ellipse(image, middle, (size // 4, size // 3), 0, 0, 360, (206, 160, 130), -1, cv2.LINE_AA)
    for x in (-1, 1):
        cv2.circle(
            image, (middle[0] + x * size // 9, middle[1] - size // 12), size // 22, (40, 30, 30), -1, cv2.LINE_AA
        )
    cv2.ellipse(image, (middle[0], middle[1] + size // 6), (size // 10, size // 26), 0, 0, 360, (150, 60, 60), -1)
    return cv2.GaussianBlur(image, (0, 0), blur) if blur else image


def faces(each: int = 12, seed: int = 1) -> list[HeldOut]:
    """Four groups of either side; the source's "left 40, mouth open" is far worse, with 9 faces in the set."""
    rng = np.random.default_rng(seed)
    groups = {"frontal": (0.84, 80), "right 20, smiling": (0.83, 60), "down 15 & <b>dark</b>": (0.82, 55)}
    found: list[HeldOut] = []
    for side in ("source", "target"):
        worst = (0.66, 9) if side == "source" else (0.81, 50)
        for name, (ssim, in_set) in {**groups, "left 40, mouth open": worst}.items():
            for _ in range(each):
                found.append(face(side, name, ssim + rng.normal(0, 0.02), in_set, len(found)))
    return found


def previews(folder: Path, count: int, noise: bool = False, cell: int = 128) -> list[tuple[int, Path]]:
    """Sheets of 6 x 6 faces that get sharper; `noise`: such as no JPEG can make small."""
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for i in range(count):
        blur = 0.4 + 9 * (1 - (i + 1) / count)
        rows = [np.hstack([picture(6 * r + c, blur * (c % 2), cell) for c in range(6)]) for r in range(6)]
        sheet = np.vstack(rows)
        if noise:
            sheet = np.random.default_rng(i).integers(0, 256, sheet.shape, np.uint8)
        path = folder / f"step-{(i + 1) * 1000}.png"
        cv2.imwrite(str(path), sheet[:, :, ::-1])
        made.append(((i + 1) * 1000, path))
    return made


def training(**changed: object) -> Training:
    """A whole one, with awkward names."""
    values: dict = {
        "name": "run <1> & \"more\"",
        "subjects": {"source": f"{NASTY} (research)", "target": "Jörg (release)"},
        "config": {"preset": "small", "lr": 2e-4, "batch": 16, "final_lr": 0.05, "sampling": "cluster", "note": NASTY},
        "steps": 100_000,
        "asked": 100_000,
        "ended": "finished",
        "parameters": 24_123_456,
        "log": rising(),
        "quality": quality(rising()),
        "trend": Trend("flat", 0.84, 0.0, 67_500),
        "faces": faces(),
        "previews": [],
        "facts": {"device": "cuda:0", "processes": 1, "precision": "bf16", "version": "0.1.0", "sha256": "ab" * 32},
    }  # fmt: skip
    return Training(**{**values, **changed})

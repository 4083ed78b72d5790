from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from curate.errors import UsageError, WorkError
from render.dfm import INPUT, OUTPUTS, check, onnx_of, signed
from render.provenance import watermark
from render.provenance.keys import installation_key, load_key
from render.provenance.marking_layer import Marking
from train.config import config_of
from train.model import build, picture
from train.reader import Reader

SIZE = 128
IDENTIFIER = 0x1A2B3C4D5E6F


def faces(count: int, size: int = SIZE) -> np.ndarray:
    """(count, size, size, 3) float32 in 0..1, soft blobs with some texture."""
    random = np.random.default_rng(0)
    coarse = torch.from_numpy(random.random((count, 3, 9, 9), np.float32))
    soft = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bicubic")
    soft = soft + 0.03 * torch.from_numpy(random.standard_normal((count, 3, size, size), np.float32))
    return soft.clamp(0, 1).permute(0, 2, 3, 1).contiguous().numpy()


def levels(pictures: np.ndarray) -> np.ndarray:
    return np.round(pictures * 255).astype(np.int64)


@pytest.mark.parametrize("size", [64, 128, 256])
def test_the_layer_is_the_marker(size: int) -> None:
    pictures = faces(3, size)
    marked = Marking(IDENTIFIER, size)(torch.from_numpy(pictures).permute(0, 3, 1, 2)).permute(0, 2, 3, 1).numpy()
    marker = watermark.Marker(IDENTIFIER, size, size, response=watermark.IN_FACES)
    for before, after in zip(levels(pictures).astype(np.uint8), marked, strict=True):
        difference = np.abs(levels(after) - marker.mark(before))
        assert difference.max() <= 1 and (difference > 0).mean() < 0.05
        assert np.abs(levels(after) - before.astype(int)).mean() > 0.3


@pytest.mark.parametrize(
    ("arch", "drive", "grown"),
    [("df", "picture", 0), ("liae", "outlines", 0), ("df", "outlines", 1), ("df", "scores", 0)],
)
def test_onnxruntime_draws_what_we_draw(arch: str, drive: str, grown: int) -> None:
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    small = {"size": SIZE, "encoder_width": 4, "decoder_width": 4, "latent": 16, "device": "cpu"}
    model = build(config_of("tiny", arch=arch, drive=drive, grown=grown, **small)).eval()
    torch.manual_seed(0)
    reader = None if drive == "picture" else Reader(drive, SIZE).eval()
    with torch.no_grad():
        for name, weight in [*model.named_parameters()] if drive == "outlines" else ():
            if ".outline." in name or ".join." in name or (".finer." in name and ".head." in name):  # new: 0
                weight.normal_(0, 0.5)
    session = runtime.InferenceSession(onnx_of(model, SIZE, IDENTIFIER, reader), providers=["CPUExecutionProvider"])
    assert [(i.name, i.type, i.shape[1:]) for i in session.get_inputs()] == [(INPUT, "tensor(float)", [SIZE, SIZE, 3])]
    assert [o.name for o in session.get_outputs()] == list(OUTPUTS)
    given = faces(40)
    own, swap, mask = (
        np.concatenate(each)
        for each in zip(*(session.run(None, {INPUT: face[None, :, :, ::-1]}) for face in given), strict=True)
    )
    assert own.shape == mask.shape == (40, SIZE, SIZE, 1) and swap.shape == (40, SIZE, SIZE, 3)
    crops = torch.from_numpy(given).permute(0, 3, 1, 2)
    with torch.inference_mode():
        read, performed = (None, None) if reader is None else reader(crops)
        rgb, ours_mask = picture(model.through(crops, "source", performed))
        ours_own = picture(model.through(crops, "target", read))[1]
        undriven = picture(model.through(crops, "source"))[0]
    assert reader is None or float((undriven - rgb).abs().max()) > 2 / 255
    drawn, marker = (
        levels(rgb.permute(0, 2, 3, 1).numpy()).astype(np.uint8),
        watermark.Marker(IDENTIFIER, SIZE, SIZE, response=watermark.IN_FACES),
    )
    marked = np.stack([marker.mark(face) for face in drawn])
    found = levels(swap[..., ::-1])
    assert np.abs(found - marked).max() <= 1
    for here, there in ((mask, ours_mask), (own, ours_own)):
        assert np.abs(here - there.permute(0, 2, 3, 1).numpy()).max() < 1 / 255
    together = session.run(None, {INPUT: given[:3, :, :, ::-1]})[1]
    assert np.abs(together - swap[:3]).max() < 1.5 / 255
    reading = watermark.read(found.astype(np.uint8))
    assert reading is not None and reading.identifier == IDENTIFIER


def test_a_statement_that_was_changed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import hashlib

    monkeypatch.setenv("FACESET_CONFIG", str(tmp_path / "config"))
    model, beside = tmp_path / "her.dfm", tmp_path / "her.dfm.json"
    model.write_bytes(b"graph")
    stated = {"sha256": hashlib.sha256(b"graph").hexdigest(), "subject": "A"}
    beside.write_text(signed(stated, installation_key()))
    assert check(model) == stated
    model.write_bytes(b"graph2")
    with pytest.raises(WorkError, match="was changed after it was signed"):
        check(model)
    model.write_bytes(b"graph")
    beside.write_text(beside.read_text().replace('"A"', '"B"'))
    with pytest.raises(WorkError, match="the statement was changed"):
        check(model)
    for other in (json.dumps({"statement": 3}), with_unknown_curve(signed(stated, installation_key()))):
        beside.write_text(other)
        with pytest.raises(WorkError, match="cannot be read"):
            check(model)
    key, chain = tmp_path / "config" / "signing.key", tmp_path / "config" / "signing.pem"
    chain.write_text(with_unknown_curve(chain.read_text()))
    with pytest.raises(UsageError, match="its key is of an unknown kind"):
        load_key(key, chain)


def with_unknown_curve(text: str) -> str:
    """A text whose PEM certificates name a curve that does not exist."""

    def changed(match: re.Match[str]) -> str:
        der = base64.b64decode(re.sub(r"\\n|\s", "", match[1]))
        there = bytes.fromhex("06082a8648ce3d030107")  # prime256v1
        assert there in der
        end = "\\n" if "\\n" in match[0] else "\n"
        body = base64.encodebytes(der.replace(there, there[:-1] + b"\x77")).decode().strip()
        return end.join(["-----BEGIN CERTIFICATE-----", *body.split("\n"), "-----END CERTIFICATE-----"])

    return re.sub(r"-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", changed, text, flags=re.DOTALL)


def test_what_cannot_be_exported(tmp_path: Path) -> None:
    from render.dfm import export_dfm

    with pytest.raises(UsageError, match="is no run"):
        export_dfm(tmp_path, tmp_path / "her.dfm")

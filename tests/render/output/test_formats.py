"""Renders in every codec: signed, timed as the footage, with its bits and its sound."""

from __future__ import annotations

import av
import pytest

from render import pipeline
from render.options import RenderOptions
from render.output.footage_format import check_footage
from render.provenance.verify import verify


@pytest.mark.parametrize(
    ("form", "codec", "suffix", "bits"),
    [
        ("yuv420p10le", "h264", ".mp4", 10),
        ("yuv422p10le", "h265", ".mp4", 10),
        ("yuv420p", "h265", ".mov", 8),
        ("yuv420p10le", "prores", ".mov", 10),
        ("yuv444p", "prores4444", ".mov", 12),  # ffmpeg decodes every ProRes 4444 to 12
    ],
)
def test_a_render_in_this_codec(make_clip, stub, tmp_path, uneven_times, form, codec, suffix, bits):
    footage = make_clip(tmp_path / "a.mp4", uneven_times, tags=(1, 1, 1, 1), pix_fmt=form)
    out = tmp_path / f"out{suffix}"
    pipeline.render(stub.path, footage, out, RenderOptions(codec=codec, preset="ultrafast", workers=1))
    assert verify(out).state == "trusted"
    with av.open(str(out)) as made, av.open(str(footage)) as given:
        shown = [[f.pts * f.time_base for f in container.decode(video=0)] for container in (made, given)]
        assert shown[0] == shown[1]
        assert len(made.streams.audio) == 1
        assert made.streams.video[0].codec_context.name == {"h264": "h264", "h265": "hevc"}.get(codec, "prores")
    footage_format, wanted = check_footage(out, allow_hdr=True), check_footage(footage, allow_hdr=True)
    assert footage_format.bits == bits
    assert (footage_format.matrix_tag, footage_format.primaries, footage_format.transfer) == (1, 1, 1)
    assert footage_format.pixel_format == {"prores": "yuv422p", "prores4444": "yuv444p"}.get(codec, wanted.pixel_format)

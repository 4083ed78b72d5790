"""The Ray engine on two nodes (processes of this machine): the same table as one process, a node lost or not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

if "ray" not in sys.modules:
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'faceset[cluster]'")

ON_TWO_NODES = """
import hashlib, os, sys, threading, time
from pathlib import Path
import pyarrow.parquet as pq
import ray
from ray.cluster_utils import Cluster
from curate import build
from curate.extract.pipeline import Request, curate
build.A_WORKER = 1  # the table too is made on both nodes


def hashed(folder):
    rows = pq.read_table(folder / "faces.parquet").sort_by("face_id").to_pylist()
    return hashlib.sha256(repr(rows).encode()).hexdigest()

clip, out, kill = sys.argv[1], Path(sys.argv[2]), sys.argv[3] == "kill"
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
second = cluster.add_node(num_cpus=1)
ray.init(address=cluster.address, log_to_driver=False)
most, real = 0, ray.wait
def counted(waiting, **kwargs):
    global most
    most = max(most, len(waiting))
    return real(waiting, **kwargs)
ray.wait = counted
lost = []
def lose():
    while len(list(out.glob("parts/clip*.parquet"))) < 2:
        time.sleep(0.02)
    cluster.remove_node(second, allow_graceful=False)
    lost.append(len(list(out.glob("parts/clip*.parquet"))))
thread = threading.Thread(target=lose)
if kill:
    thread.start()
settings = (("segment_seconds", 0.2),)
done = curate(Request((clip,), out, "A", "research", settings=settings, workers=2, engine="ray"))
if kill:
    thread.join()
print("RESULT", hashed(out), len(done.failed), most, lost[0] if lost else -1)
"""


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of the painted head, a key frame every fifth frame."""
    import av

    from curate.turntable import painted, performance, render

    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height = stream.width = 240
        stream.pix_fmt, stream.gop_size, stream.options = "yuv420p", 5, {"crf": "18", "sc_threshold": "0"}
        for view in performance(seed=3, frames=50):
            image = render(painted(), view, (240, 240))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize("how", ["whole", "kill"])
def test_two_nodes_make_the_same_table(clip: Path, how: str, tmp_path: Path) -> None:
    from curate.extract.pipeline import Request, curate

    script = tmp_path / "two.py"
    script.write_text(ON_TWO_NODES)
    root = str(Path(__file__).parents[3])
    paths = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": paths, "RAY_worker_niceness": "0"}
    command = [sys.executable, str(script), str(clip), str(tmp_path / "ray"), how]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    _, digest, failed, most, done_then = next(line for line in done.stdout.splitlines() if "RESULT" in line).split()
    curate(Request((str(clip),), tmp_path / "one", "A", "research", settings=(("segment_seconds", 0.2),)))
    import hashlib

    import pyarrow.parquet as pq

    rows = pq.read_table(tmp_path / "one" / "faces.parquet").sort_by("face_id").to_pylist()
    assert digest == hashlib.sha256(repr(rows).encode()).hexdigest()
    assert int(failed) == 0 and int(most) <= 4
    assert int(done_then) == -1 if how == "whole" else 2 <= int(done_then) < 10, "the node was lost half-way"


STANDS_STILL = """
import sys
from curate import jobs
from curate.runtime.workers import Limits, WorkerLostError
sys.path.insert(0, sys.argv[1])
import misbehave

tasks = [(kind, sys.argv[2] + "/" + kind.replace(" ", "-")) for kind in ("hangs", "hangs once", "slow", "fails", "ok")]
jobs.RETRIES = 1
found = {t[0]: p for t, p in jobs.run(misbehave.work, tasks, 2, "ray", Limits(stall=2.0))}
assert isinstance(found["hangs"], WorkerLostError), found
assert str(found["fails"]) == "it cannot be done", found
assert found["hangs once"] is None and found["slow"] is None and found["ok"] is None, found
print("RESULT")
"""


def test_what_stands_still_is_ended_and_done_again(tmp_path: Path) -> None:
    script, root = tmp_path / "still.py", Path(__file__).parents[3]
    script.write_text(STANDS_STILL)
    faults = str(root / "tests" / "faults")
    paths = os.pathsep.join([str(root), faults, *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": paths, "RAY_worker_niceness": "0"}
    command = [sys.executable, str(script), faults, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200, check=False)
    assert "RESULT" in done.stdout, done.stderr[-3000:]
    assert (tmp_path / "hangs").read_text() == "xx", "tried twice"

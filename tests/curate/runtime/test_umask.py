"""What is written under another umask: not more than it allows, and never for others to change."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import os, sys
os.umask(int(sys.argv[1], 8))
from faceset import cli
for command in (["select", sys.argv[2], "--budget", "5", "-q"], ["report", sys.argv[2], "-q"]):
    sys.argv[1:] = [*command]
    try:
        cli.main()
    except SystemExit as end:
        assert not end.code
    sys.argv[1:] = [None, command[1]]
from curate.runtime.cache import made_cache_folder
made_cache_folder()
"""


@pytest.mark.parametrize(("umask", "forbidden"), [("077", 0o077), ("000", 0o022), ("027", 0o027)])
def test_files_are_no_more_open_than_the_umask_says(umask: str, forbidden: int, head_facesets, tmp_path: Path) -> None:
    folder = shutil.copytree(head_facesets["source"], tmp_path / "set")
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
    environment = os.environ | {"FACESET_CACHE": str(tmp_path / "parent" / "cache")}
    subprocess.run([sys.executable, "-c", CODE, umask, str(folder)], env=environment, check=True)
    written = [p for p in folder.rglob("*") if p.is_file() and before.get(p) != p.stat().st_mtime_ns]
    assert {"selection.parquet", "coverage.html"} <= {p.name for p in written}
    open_ones = {p.name: oct(stat.S_IMODE(p.stat().st_mode)) for p in written if p.stat().st_mode & forbidden}
    assert open_ones == {} or (set(open_ones) == {".lock"} and umask == "000")
    assert stat.S_IMODE((tmp_path / "parent" / "cache").stat().st_mode) == 0o700

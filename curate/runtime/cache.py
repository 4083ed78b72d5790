"""Cache folder of this user: model weights, tools, mirrored facesets."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def cache_folder() -> Path:
    """Folder of cached weights and tools: `FACESET_CACHE`, or the user's cache folder."""
    override = os.environ.get("FACESET_CACHE")
    return Path(override) if override else Path(platformdirs.user_cache_dir("faceset", appauthor=False))


def made_cache_folder() -> Path:
    """The cache folder, made if it is not there: only this user may enter it then, whatever the umask. Raises OSError.

    It contains faces and a program that is run. A folder that is there already keeps its mode, so it can be shared.
    """
    folder = cache_folder()
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder

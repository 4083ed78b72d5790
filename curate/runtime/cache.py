"""Cache folder of this user: model weights, tools, mirrored facesets."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def cache_folder() -> Path:
    """Folder of cached weights and tools: `FACESET_CACHE`, or the user's cache folder."""
    override = os.environ.get("FACESET_CACHE")
    return Path(override) if override else Path(platformdirs.user_cache_dir("faceset", appauthor=False))

"""faceset: curate the footage worth training a face-swap model on, train, render, and report.

The only public namespace. Names are loaded when they are first used: importing it loads neither torch nor cv2.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from curate.app.dataset_type import FacesetDataset as FacesetDataset
    from curate.dataset.faceset import Faceset as Faceset
    from curate.dataset.faceset import open_faceset as open_faceset
    from curate.dataset.reading import Faces as Faces
    from curate.dataset.reading import read as read
    from curate.errors import ConsentError as ConsentError
    from curate.errors import FacesetError as FacesetError
    from curate.errors import FootageError as FootageError
    from curate.errors import UsageError as UsageError
    from curate.errors import WorkError as WorkError
    from curate.extract.pipeline import Request as Request
    from curate.extract.pipeline import curate as curate
    from curate.select.options import Floors as Floors
    from curate.select.options import SelectionOptions as SelectionOptions
    from curate.select.options import Weights as Weights
    from curate.select.selection import select_faceset
    from curate.select.space import Space as Space
    from curate.settings import Settings as Settings
    from render.compositing.settings import MaskSettings as MaskSettings
    from render.compositing.settings import RenderSettings as RenderSettings
    from render.options import RenderOptions as RenderOptions
    from render.pipeline import render as render
    from render.provenance.verify import verify as verify
    from reports.artifacts.inspect import inspect as inspect
    from train.config import TrainConfig as TrainConfig
    from train.config import config_of as config_of
    from train.fit import train as train

    select = select_faceset

_PLACES = {
    "ConsentError": "curate.errors",
    "Faces": "curate.dataset.reading",
    "Faceset": "curate.dataset.faceset",
    "FacesetDataset": "curate.app.dataset_type",
    "FacesetError": "curate.errors",
    "Floors": "curate.select.options",
    "FootageError": "curate.errors",
    "MaskSettings": "render.compositing.settings",
    "RenderOptions": "render.options",
    "RenderSettings": "render.compositing.settings",
    "Request": "curate.extract.pipeline",
    "SelectionOptions": "curate.select.options",
    "Settings": "curate.settings",
    "Space": "curate.select.space",
    "TrainConfig": "train.config",
    "UsageError": "curate.errors",
    "Weights": "curate.select.options",
    "WorkError": "curate.errors",
    "config_of": "train.config",
    "curate": "curate.extract.pipeline",
    "inspect": "reports.artifacts.inspect",
    "open_faceset": "curate.dataset.faceset",
    "read": "curate.dataset.reading",
    "render": "render.pipeline",
    "select": "curate.select.selection:select_faceset",
    "train": "train.fit",
    "verify": "render.provenance.verify",
}
__all__ = sorted(_PLACES)  # a list of texts
_PACKAGES = ("curate", "reports", "train", "render")


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'faceset' has no attribute {name!r}")
    module, _, other = _PLACES[name].partition(":")
    value = getattr(importlib.import_module(module), other or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__


def _claim_packages() -> None:
    """Make `curate`, `reports`, `train` and `render` mean ours, whatever files of these names lie in a working folder.

    Our root goes in front of the first folder on sys.path that has a file or folder of one of these names, so that
    processes started from here find ours too. Raises ImportError if another module of such a name is loaded already.
    """
    root = Path(__file__).resolve().parent.parent
    for index, entry in enumerate(sys.path):
        folder = Path(entry or ".").resolve()
        if folder == root:
            break
        if any((folder / f"{name}.py").is_file() or (folder / name).is_dir() for name in _PACKAGES):
            sys.path.insert(index, str(root))
            break
    for name in _PACKAGES:
        loaded = importlib.import_module(name)
        if Path(loaded.__file__ or "").resolve().parent.parent != root:
            raise ImportError(
                f"faceset needs its own package {name!r}, but {loaded.__file__ or loaded} was imported under that "
                "name: import faceset first, or rename that file"
            )


_claim_packages()

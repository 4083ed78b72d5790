"""The FiftyOne App on facesets: one persistent dataset a faceset, made from faces.parquet, the crops and the selection.

Loading twice loads once: the dataset remembers the size and time of the files it was made of. Another selection
changes only the selection's fields; another table loads the faces anew and keeps the tags that people gave them.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import secrets
import socket
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from urllib.parse import quote

from filelock import FileLock

from curate.app import guard, mongod, opening, sample, service, stopping
from curate.app.dataset import begin_map, field_specs, load_faces, load_selection, show_map
from curate.app.map_process import Drawing
from curate.app.views import first_look, save_views
from curate.dataset import pins
from curate.dataset.faceset import Faceset, open_faceset
from curate.dataset.lock import lock
from curate.errors import MissingError, UsageError, WorkError
from curate.runtime.cache import cache_folder, made_cache_folder
from curate.words import quoted

log = logging.getLogger(__name__)

PLUGIN = Path(__file__).parent / "plugin"
ENVIRONMENT = {
    "FIFTYONE_DO_NOT_TRACK": "true",
    "FIFTYONE_DATABASE_VALIDATION": "false",
    "FIFTYONE_SHOW_PROGRESS_BARS": "false",
    "FIFTYONE_LOGGING_LEVEL": "ERROR",
}
"""Set before FiftyOne is imported, unless the user has set them."""
LOADER = 6
"""Raised when this module makes other datasets of the same files."""
INFO, PROPOSED, MAPPED = "faceset", "faceset proposal", "faceset map"
"""Keys of a dataset's info: what it was made of; options of a choice that is shown and not written yet; the table whose
faces are on the map."""
ADDRESS = "127.0.0.1"


Ask = Callable[[str], bool]
"""Asks the user a question that is answered with yes or no."""


def load(folders: Sequence[Path], ask: Ask | None = None) -> list[str]:
    """A persistent FiftyOne dataset for every faceset; their names, in order.

    Only faces with a crop are in it. Unchanged facesets are not read again; changed ones are refreshed in place. Faces
    that were deleted in the App are banned, or shown again where `ask` is there and answers no.
    Raises UsageError for a folder that is no faceset, WorkError where there is nothing to load or the database does not
    start, MissingError without FiftyOne or a database server.
    """
    loaded = _load_all(folders, ask)
    try:
        for dataset, drawing in loaded:
            finish(dataset, drawing)
    finally:
        _close(loaded)
    return [dataset.name for dataset, _ in loaded]


def _load_all(folders: Sequence[Path], ask: Ask | None) -> list[tuple[Any, Drawing | None]]:
    """A dataset for every faceset, and its map where one is still being drawn."""
    facesets = [open_faceset(folder) for folder in folders]
    for faceset in facesets:
        if not faceset.table_path.is_file():
            raise WorkError(
                f"{faceset.folder} has no faces.parquet: run faceset curate {quoted(faceset.folder)} to make "
                "it from the parts"
            )
    fo = connect()
    loaded: list[tuple[Any, Drawing | None]] = []
    try:
        for faceset in facesets:
            loaded.append(_load(fo, faceset, ask))
    except BaseException:
        _close(loaded)
        raise
    return loaded


def _close(loaded: Sequence[tuple[Any, Drawing | None]]) -> None:
    for _, drawing in loaded:
        if drawing is not None:
            drawing.close()


def connect() -> Any:
    """The module `fiftyone`, with its environment set, a database server found and a first answer from it."""
    fo = prepare()
    from fiftyone.core.config import FiftyOneConfigError
    from fiftyone.core.service import ServiceException
    from pymongo.errors import PyMongoError

    try:
        fo.list_datasets()
    except (ServiceException, FiftyOneConfigError, PyMongoError, OSError) as error:
        raise WorkError(mongod.why_not(error, fo.config.database_dir)) from error
    return fo


def database_version() -> str:
    """Version of FiftyOne that wrote the database, which is started for it. Raises as `connect`."""
    connect()
    from fiftyone.migrations import get_database_revision

    return str(get_database_revision())


def prepare() -> Any:
    """The module `fiftyone`, with its environment set and a database server found; the server is not started yet.

    Raises MissingError without FiftyOne or a server.
    """
    if importlib.util.find_spec("fiftyone") is None:
        raise MissingError("the App needs FiftyOne, which is not installed: pip install 'faceset[app]'")
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    server = mongod.ensure()
    os.environ.setdefault("FIFTYONE_PLUGINS_DIR", str(plugins_folder()))
    if "fiftyone" not in sys.modules:
        log.info("starting FiftyOne and its database")
    import fiftyone as fo
    import fiftyone.constants as constants

    service.shield()
    if server is not None and server != mongod.place():
        constants.FIFTYONE_DB_BIN_DIR = str(server.parent)
    return fo


def plugins_folder() -> Path:
    """A folder in the cache with our plugin and, where there are any, those of the user's own folder."""
    folder = made_cache_folder() / "plugins"
    folder.mkdir(parents=True, exist_ok=True)
    own = Path.home() / "fiftyone" / "__plugins__"
    for name, place in (("faceset", PLUGIN), ("own", own)):
        link = folder / name
        if link.is_symlink() and (not link.exists() or link.resolve() != place.resolve()):
            link.unlink()
        if place.is_dir() and not link.exists():
            link.symlink_to(place, target_is_directory=True)
    return folder


def dataset_name(folder: Path) -> str:
    """Name of a faceset's dataset: the folder's name, and six digits of its path, since names recur."""
    resolved = folder.resolve()
    return f"{resolved.name}-{hashlib.sha256(os.fsencode(resolved)).hexdigest()[:6]}"


def _load(fo: Any, faceset: Faceset, ask: Ask | None) -> tuple[Any, Drawing | None]:
    name = dataset_name(faceset.folder)
    made_cache_folder()
    with FileLock(cache_folder() / f".app-{name[-1]}.lock"):
        fresh = not fo.dataset_exists(name)
        dataset = fo.Dataset(name, persistent=True) if fresh else fo.load_dataset(name)
        try:
            return dataset, refresh(dataset, faceset, ask)
        except BaseException:
            if fresh:
                dataset.delete()
            raise


def refresh(dataset: Any, faceset: Faceset, ask: Ask | None = None) -> Drawing | None:
    """Load what has changed since the dataset was made of the faceset's files; the map, if it has to be drawn.

    The map takes longest, in a process of its own: the dataset can be used before `finish` shows it.
    """
    deleted = _ban_deleted(dataset, faceset, ask)
    before, now = dict(dataset.info.get(INFO, {})), _fingerprint(faceset)
    changed = {k for k in before.keys() | now.keys() if before.get(k) != now.get(k)}
    changed |= {"faces"} if deleted else set()
    anew = not changed <= {"selection", "pins"}
    if anew:
        sample.choose(dataset, faceset)
    drawing = _begin_map(dataset, faceset, anew)
    if not changed:
        log.info("%s: %d faces, unchanged since the last time", dataset.name, len(dataset))
        return drawing
    try:
        for key in (INFO, PROPOSED, *([MAPPED] if anew else [])):  # an interrupted load is loaded again
            dataset.info.pop(key, None)
        dataset.save()
        if anew:
            load_faces(dataset, faceset)
        load_selection(dataset, faceset)
        save_views(dataset)
        remember(dataset, faceset)
    except BaseException:
        if drawing is not None:
            drawing.close()
        raise
    log.info("%s: %d faces loaded", dataset.name, len(dataset))
    return drawing


def _begin_map(dataset: Any, faceset: Faceset, anew: bool) -> Drawing | None:
    """The map of what is shown, where the dataset has none or it is drawn `anew`."""
    return begin_map(sample.shown_of(faceset, dataset)) if anew or MAPPED not in dataset.info else None


def _ban_deleted(dataset: Any, faceset: Faceset, ask: Ask | None) -> int:
    """Number of faces whose samples were deleted in the App since it was loaded: they are shown again, and banned.

    Not banned where `ask` answers no.
    """
    before = dataset.info.get(INFO)
    if not before or before.get("faces") != _fingerprint(faceset)["faces"]:
        return 0
    table = sample.shown_of(faceset, dataset).table(["face_id", "crop"])
    shown = table.loc[table["crop"].notna() & (table["crop"] != ""), "face_id"]
    gone = sorted(set(shown) - set(dataset.values("face_id")))
    if not gone:
        return 0
    if ask is not None and not ask(f"{faceset.folder}: {len(gone)} faces were deleted in the App. Never select them?"):
        log.warning("%s: %d faces that were deleted in the App are shown again", dataset.name, len(gone))
        return len(gone)
    with lock(faceset):
        pins.change_pins(faceset, ban=gone)
    log.warning(
        "%s: %d faces that were deleted in the App are banned; run faceset select %s to select others, or faceset "
        "select %s --free ID to allow one again", dataset.name, len(gone), faceset.folder, faceset.folder,
    )  # fmt: skip
    return len(gone)


def finish(dataset: Any, drawing: Drawing | None) -> None:
    """Show the map and the search for similar faces as soon as the map is drawn. Raises WorkError if that failed."""
    if drawing is not None:
        show_map(dataset, drawing)
        log.info("%s: the map is drawn; reload the page to use the map and the search for similar faces", dataset.name)
    if MAPPED not in dataset.info:
        dataset.info[MAPPED] = dataset.info[INFO]["faces"]
        dataset.save()


def _fingerprint(faceset: Faceset) -> dict[str, str]:
    """Fingerprint of what the dataset is made of: the files' sizes and times, the schema, this module."""
    found = {"loader": str(LOADER), "folder": str(faceset.folder.resolve())}
    found["subject"] = faceset.subject.name if faceset.subject else ""
    found["schema"] = hashlib.sha256(repr(field_specs()).encode()).hexdigest()
    files = {"faces": faceset.table_path, "selection": faceset.selection_path, "pins": faceset.folder / pins.FILE}
    for key, path in files.items():
        stat = path.stat() if path.is_file() else None
        found[key] = f"{stat.st_size} {stat.st_mtime_ns}" if stat else "none"
    return found


def remember(dataset: Any, faceset: Faceset) -> None:
    """Note that the dataset agrees with the faceset's files now."""
    dataset.info[INFO] = _fingerprint(faceset)
    dataset.save()


def shown_dataset(faceset: Faceset) -> Any | None:
    """The dataset that shows a faceset's files as they are; None if none does."""
    import fiftyone as fo

    name = dataset_name(faceset.folder)
    dataset = fo.load_dataset(name) if fo.dataset_exists(name) else None
    return dataset if dataset is not None and dataset.info.get(INFO) == _fingerprint(faceset) else None


def load_clips(folder: Path) -> str:
    """The faceset's footage with its faces as frame labels, as a dataset of its own; its name.

    Raises as `load`, and WorkError where no clip is at its path any more.
    """
    from curate.app import clips as app_clips

    faceset = open_faceset(folder)
    return str(app_clips.load_clips(connect(), faceset, f"{dataset_name(folder)}-clips", _fingerprint(faceset)).name)


def launch(
    folders: Sequence[Path],
    port: int = 5151,
    browser: bool = True,
    wait: bool = True,
    clips: bool = False,
    opened: Callable[[str], None] | None = None,
    ask: Ask | None = None,
) -> str:
    """Load the facesets, with `clips` also their footage, and start the App, reachable from this machine only.

    Returns its address, which contains the token that the guard asks for (`curate.app.guard`).

    Opens a browser where there is one to open. `wait` blocks until Ctrl-C, then ends the App; without it the App runs
    until the process ends. `opened` is called with the address as soon as it can be used; `ask` as in `load`. Raises
    UsageError for a port that is out of range or taken, else as `load`.
    """
    check_port(port)
    wait_for_port(port)
    loaded: list[tuple[Any, Drawing | None]] = []
    address = ""
    try:
        with stopping.heard() if wait else nullcontext():
            loaded += _load_all(folders, ask)
            address, session = _open(folders, loaded, port, (browser, wait, clips), opened)
            if wait:
                session.wait(-1)
    except KeyboardInterrupt:
        if not loaded:
            raise
        log.info("the App is closed")
    finally:
        _close(loaded)
        if wait and loaded:
            service.close()
    return address


def _open(
    folders: Sequence[Path],
    loaded: Sequence[tuple[Any, Drawing | None]],
    port: int,
    asked: tuple[bool, bool, bool],
    opened: Callable[[str], None] | None,
) -> tuple[str, Any]:
    """Start the App on loaded facesets: its address and session; `asked` is browser, wait and clips of `launch`."""
    import fiftyone as fo

    browser, wait, clips = asked
    for folder in folders if clips else ():
        log.warning("The footage is in dataset %s", load_clips(folder))
    first = loaded[0][0]
    page = f"http://{ADDRESS}:{port}/datasets/{quote(first.name, safe='')}?{guard.TOKEN}="
    token, ticket = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
    service.protect(guard.Rules(port, token, ticket, _shown(fo, folders, clips)))
    session = fo.launch_app(first, port=port, address=ADDRESS, remote=True, **first_look(first))
    log.warning("FiftyOne App: %s%s%s", page, token, "  (press Ctrl-C to stop)" if wait else "")
    if opened is not None:
        opened(page + token)
    opening.show(page + ticket, ADDRESS, port, browser)
    _finish_all(loaded)
    return page + token, session


def _shown(fo: Any, folders: Sequence[Path], clips: bool) -> tuple[str, ...]:
    """Folders whose files the App may show: of all facesets that it knows; with `clips` also the footage of these."""
    facesets = [open_faceset(folder) for folder in folders]
    known = (fo.load_dataset(name).info.get(INFO) for name in fo.list_datasets())
    places = {str(told["folder"]) for told in known if isinstance(told, dict) and told.get("folder")}
    footage = {clip.path for faceset in facesets for clip in faceset.clips if clips and Path(clip.path).is_file()}
    return tuple(sorted(places | {str(faceset.folder.resolve()) for faceset in facesets} | footage))


def _finish_all(loaded: Sequence[tuple[Any, Drawing | None]]) -> None:
    """Show the maps in the running App; one that failed is a warning, the faces are there without it.

    An open page has to be reloaded to see its map: to refresh it from here would take away the ticks of its user.
    """
    for dataset, drawing in loaded:
        try:
            finish(dataset, drawing)
        except WorkError as error:
            log.warning("%s: %s", dataset.name, error)


def check_port(port: int) -> None:
    """Raise UsageError for a number that no port has."""
    if not 1 <= port <= 65535:
        raise UsageError(f"--port {port}: must be 1 to 65535")


def wait_for_port(port: int, patience: float = 20) -> None:
    """Wait until nothing listens on the port: an App that was just closed holds it some seconds longer."""
    end = time.monotonic() + patience
    while True:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((ADDRESS, port))
                return
            except OSError as error:
                if time.monotonic() > end:
                    raise UsageError(
                        f"--port {port}: this port cannot be used ({error.strerror}): give another"
                    ) from None
        time.sleep(0.5)

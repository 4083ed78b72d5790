"""The page on which a face's landmarks and mask are corrected by dragging, next to the App and behind its guard.

`/correct?folder=DIR&face=ID` is the page, `/correct/face` its data: GET gives a face, POST stores a correction,
DELETE forgets it; POST `/correct/track` bans all faces of the face's track.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from curate.app import actions
from curate.app.guard import App, Receive, Scope, Send
from curate.dataset.corrections import Correction
from curate.dataset.faceset import Faceset, open_faceset
from curate.dataset.links import inside
from curate.errors import FacesetError, UsageError
from curate.extract import correct
from curate.face.align import transform
from curate.face.handles import handles_of, influence, moved
from curate.safe_io import DAMAGED
from curate.types import Floats
from curate.words import visible

PATH = actions.CORRECT
PAGE = Path(__file__).parent / "pages" / "correct.html"
MOST_BYTES = 100_000
"""Largest body of a request."""
TOLD = ("yaw", "pitch", "roll", "EyesOpen", "MouthClosed", "Sharpness", "landmark_confidence", "status")
"""Columns of the table that the page shows."""


@dataclass
class Pages:
    """An ASGI application with the page; everything else goes to `app`."""

    app: App
    folders: tuple[str, ...]
    """Absolute paths of the facesets that may be corrected."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        path = scope.get("path", "").rstrip("/")
        if scope["type"] != "http" or path not in (PATH, f"{PATH}/face", f"{PATH}/track"):
            await self.app(scope, receive, send)
            return
        response = await self._answer(Request(scope, receive), path)
        await response(scope, receive, cast(Any, send))

    async def _answer(self, request: Request, path: str) -> Response:
        if path == PATH:
            return HTMLResponse(PAGE.read_text(encoding="utf-8"), headers={"cache-control": "no-store"})
        try:
            asked = dict(request.query_params) | await _body(request)
            faceset, face = self._faceset(str(asked.get("folder", ""))), str(asked.get("face", ""))
            work = WORK.get((request.method, path.removeprefix(PATH)))
            if work is None:
                return JSONResponse({"error": f"{request.method} is not possible here."}, 405)
            return JSONResponse(await run_in_threadpool(work, faceset, face, asked))
        except FacesetError as error:
            return JSONResponse({"error": str(error)}, 400)

    def _faceset(self, folder: str) -> Faceset:
        try:
            known = os.path.realpath(folder) in {os.path.realpath(each) for each in self.folders}
        except ValueError:  # a zero byte, or what is no Unicode
            known = False
        if not known:
            raise UsageError(f"{visible(folder)}: the App was not opened with this faceset")
        return open_faceset(Path(folder))


async def _body(request: Request) -> dict[str, Any]:
    """The JSON object of a POST. Raises UsageError."""
    if request.method != "POST":
        return {}
    if request.headers.get("content-type", "").split(";")[0] != "application/json":
        raise UsageError("the request must be JSON")
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > MOST_BYTES:
            raise UsageError(f"the request is larger than {MOST_BYTES} bytes")
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise UsageError("the request must be a JSON object")
    return found


def shown(faceset: Faceset, face_id: str, _: Any = None) -> dict[str, Any]:
    """All that the page needs about a face; coordinates in pixels of its crop."""
    face = correct.find(faceset, face_id)
    own = face.correction or Correction({}, None)
    found, now = (transform(points, face.matrix) for points in (face.points, moved(face.points, own.handles)))
    outline = None if own.outline is None else transform(own.outline, face.matrix).tolist()
    jpeg = inside(faceset.folder, face.row["crop"]).read_bytes()
    row = faceset.table(["face_id", "clip", "frame", "time", "track", "kept", *TOLD])
    at = int(np.flatnonzero(row["face_id"] == face_id)[0])
    return {
        "face": face_id,
        "crop": "data:image/jpeg;base64," + base64.b64encode(jpeg).decode(),
        "size": faceset.crop(face.row["crop"]).shape[0],
        "handles": {name: now[index].tolist() for name, index in handles_of(face.points).items()},
        "found": {name: found[index].tolist() for name, index in handles_of(face.points).items()},
        "moved": sorted(own.handles),
        "points": found.tolist(),
        "influence": np.round(influence(face.points), 5).tolist(),
        "outline": outline,
        "row": json.loads(row.iloc[at].to_json()),
        "subject": faceset.subject.name if faceset.subject else None,
        **_neighbours(faceset, face_id),
    }


def _neighbours(faceset: Faceset, face_id: str) -> dict[str, str | int | None]:
    """The selected faces before and after this one, in order of choice; its place in it, 0 if it is not selected, and
    how many are selected."""
    order = faceset.selection()["face_id"].tolist() if faceset.selection_path.is_file() else []
    at = order.index(face_id) if face_id in order else -1
    before = order[at - 1] if at > 0 else None
    after = order[at + 1] if 0 <= at < len(order) - 1 else None
    return {"previous": before, "next": after, "place": at + 1, "selected": len(order)}


def store(faceset: Faceset, face_id: str, asked: dict[str, Any]) -> dict[str, Any]:
    """Store the correction that the page sends (`handles`, `outline`, crop pixels); the face as it is now."""
    back = _to_frame(correct.find(faceset, face_id).matrix)
    try:
        handles = {str(k): tuple(back(np.array([v], np.float64))[0].tolist()) for k, v in asked["handles"].items()}
        outline = asked.get("outline")
        corners = None if outline is None else back(np.array(outline, np.float64).reshape(-1, 2))
    except DAMAGED:
        raise UsageError(
            "a correction needs `handles` (name to [x, y]) and `outline` (a list of [x, y], or null)"
        ) from None
    wrong = [name for name, place in handles.items() if len(place) != 2]
    if wrong:
        raise UsageError(f"{wrong[0]}: a place has two coordinates")
    actions.correct_face(faceset, face_id, Correction(handles, corners) if handles or corners is not None else None)
    return shown(faceset, face_id)


def _to_frame(matrix: NDArray[np.float64]) -> Callable[[NDArray[np.float64]], Floats]:
    inverse = np.linalg.inv(np.vstack([matrix, (0, 0, 1)]))[:2]
    return lambda points: transform(points, inverse)


def reset(faceset: Faceset, face_id: str, _: Any) -> dict[str, Any]:
    """Forget a face's correction; the face as it was found."""
    actions.correct_face(faceset, face_id, None)
    return shown(faceset, face_id)


def ban_track(faceset: Faceset, face_id: str, _: Any) -> dict[str, Any]:
    """Ban all faces of a face's track: it shows somebody else."""
    return {"banned": actions.ban_track(faceset, [face_id])}


WORK: dict[tuple[str, str], Callable[[Faceset, str, dict[str, Any]], dict[str, Any]]] = {
    ("GET", "/face"): shown,
    ("POST", "/face"): store,
    ("DELETE", "/face"): reset,
    ("POST", "/track"): ban_track,
}
"""Method and path to what answers it."""

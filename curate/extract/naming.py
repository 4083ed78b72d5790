"""How the subject is named, by --person or --reference, and what speaks against it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from curate.dataset.faceset import Faceset
from curate.errors import UsageError, WorkError, check_file
from curate.extract import anchor
from curate.extract.census import seen_together
from curate.face.backends import DETECTORS, IDENTIFIERS, LANDMARKERS, make
from curate.face.track import region_of_detection
from curate.footage.video import decode, probe
from curate.scores import identity
from curate.settings import Settings
from curate.words import many, quoted

SECOND = 0.5
"""Area of a photo's second largest face over that of the largest one, from which nobody can tell who is meant."""
UNLIKE = 0.6
"""Identity distance of two photos from which they may show two people: the limit that dlib's network was made for."""


def asked(
    faceset: Faceset, persons: tuple[int, ...], photos: Sequence[Path], references: tuple[tuple[float, ...], ...]
) -> tuple[Faceset, tuple[str, ...]]:
    """The faceset with the subject that a call names, or the one that it has; and sentences to say about it.

    `references` are the identity vectors of the `photos`. Raises UsageError for persons and photos at once.
    """
    if references and persons:
        raise UsageError("--person and --reference exclude each other: name the subject in one way")
    there = faceset.table_path.is_file()
    if references:
        now = ("the subject is now the person of the --reference photos",) if there else ()
        return replace(faceset, references=references, persons=(), anchor=None), (*now, *_unlike(photos, references))
    if persons and there:
        changed = replace(faceset, references=(), persons=(), anchor=anchor.named(faceset, persons))
        return changed, (f"the subject is now {persons_text(persons)}", *together(faceset, persons))
    if persons:
        return replace(faceset, references=(), persons=persons, anchor=None), ()
    return replace(faceset, anchor=faceset.anchor or anchor.kept(faceset)), ()


def _unlike(photos: Sequence[Path], vectors: Sequence[Sequence[float]]) -> tuple[str, ...]:
    """A sentence where two of the photos may show two people."""
    apart = identity.distances(np.array(vectors), np.array(vectors))
    first, second = (int(i) for i in np.unravel_index(int(apart.argmax()), apart.shape))
    if apart[first, second] < UNLIKE:
        return ()
    return (
        f"{photos[first].name} and {photos[second].name} are {apart[first, second]:.2f} apart, as two people are: both "
        "are taken for the subject; if they are two people, give the photos of one alone",
    )


def together(faceset: Faceset, persons: Sequence[int]) -> tuple[str, ...]:
    """A sentence where these people of the faceset's table are seen in one frame."""
    table = faceset.table(["clip", "frame", "person"])
    frames = seen_together(table, persons)
    if not frames:
        return ()
    return (
        f"{persons_text(persons)} are in one picture in {many(frames, 'frame')}, as two people are (or one in a mirror "
        f"or split screen); faceset people {quoted(faceset.folder)} --split, with the subject's number, separates them",
    )


def persons_text(persons: Sequence[int]) -> str:
    """Words for some people: `person 3`, `people 0 and 3 together`."""
    return f"person {persons[0]}" if len(persons) == 1 else f"people {' and '.join(map(str, persons))} together"


def reference_vector(path: Path, settings: Settings) -> tuple[float, ...]:
    """Identity vector of the face in a photo; raises WorkError for several faces of which none is much the largest."""
    check_file(path, "--reference")
    image = next(iter(decode(probe(path)))).image
    found = make(DETECTORS, settings.detector, "--detector").detect(image)
    if not found:
        raise WorkError(f"--reference {path}: no face was found in this photo")
    largest, *others = sorted(found, key=lambda d: d.width * d.height, reverse=True)
    if others and others[0].width * others[0].height > SECOND * largest.width * largest.height:
        raise WorkError(
            f"--reference {path}: shows several faces of similar size: cut the photo to the one that is meant"
        )
    landmarks = make(LANDMARKERS, settings.landmarker, "--landmarker").landmark(image, region_of_detection(largest))
    identifier = make(IDENTIFIERS, settings.identifier, "--identifier")
    vector = identifier.identify(identifier.chip(image, landmarks.points))
    return tuple(float(v) for v in np.asarray(vector, np.float64))

"""Consent check: the subject and the basis that training and rendering require."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import get_args

from curate.errors import ConsentError, UsageError, check_file
from curate.runtime.files import file_sha256
from curate.settings import BASES, Basis
from curate.types import Subject
from curate.words import quoted

FORGOTTEN = "sha256:"
"""Prefix of the replacement of a forgotten name."""


def forgotten_name(name: str) -> str:
    """Replacement of a forgotten name: its SHA-256, which only someone who knows the name can recognise."""
    return FORGOTTEN + hashlib.sha256(name.encode()).hexdigest()


def make_subject(name: str, basis: str, evidence: Path | None = None) -> Subject:
    """Subject from the command line; raises UsageError that names the option."""
    if not name.strip():
        raise UsageError("--subject is empty: name the person whose face this is")
    if name.strip().startswith(FORGOTTEN):
        raise UsageError(f"--subject {name}: is the hash of a forgotten name; give the person's name")
    if basis not in get_args(Basis):
        raise UsageError(f"--basis {basis}: must be one of {', '.join(BASES)}")
    if evidence is None:
        return Subject(name.strip(), basis)  # type: ignore[arg-type]  # get_args checked it
    check_file(evidence, "--evidence")
    return Subject(name.strip(), basis, str(evidence.resolve()), file_sha256(evidence))  # type: ignore[arg-type]


def require(subject: Subject | None, where: str) -> Subject:
    """The subject if it has a name and a basis (and, for a release, a document); otherwise raises ConsentError.

    `where` is the faceset or run, for the message.
    """
    again = f"state both with: faceset curate {quoted(where)} --subject NAME --basis {'|'.join(BASES)}"
    if subject is None or not subject.name:
        raise ConsentError(f"{where} names no subject, so it cannot be used; {again}")
    if subject.name.startswith(FORGOTTEN):
        raise ConsentError(f"{where} belonged to a subject who was forgotten, so it cannot be used")
    if subject.basis not in BASES:
        raise ConsentError(f"{where} states no basis for using the face of {subject.name}; {again}")
    if subject.basis == "release" and not subject.evidence_sha256:
        raise ConsentError(
            f"{where} relies on a release but names no document; add it with: "
            f"faceset curate {quoted(where)} --evidence RELEASE.pdf"
        )
    return subject

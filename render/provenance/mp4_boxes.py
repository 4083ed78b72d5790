"""Top-level boxes of an MP4 or QuickTime file (ISO/IEC 14496-12): XMP, seal, traces of a manifest.

The C2PA hash of such a file excludes `ftyp`, `free`, `skip`, `mfra` and the manifest's own padding (C2PA 2.x, BMFF hash
exclusions), so a change there would go unnoticed. The seal closes that gap: a last `free` box with the SHA-256 of all
preceding bytes. It proves nothing alone; the signed manifest states that it must be present.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from xml.sax.saxutils import escape, quoteattr

XMP_ID = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
"""Adobe XMP specification, part 3, MPEG-4."""
SEAL_ID = b"faceset seal 1\0\0"
SEAL_SIZE = 8 + len(SEAL_ID) + 32
COMPOSITE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
"""IPTC NewsCodes, digital source type."""
NOTICE = "Synthetic composite: a face in this video was replaced by a trained model (made with faceset)"
# Any of these shows that a C2PA manifest, or our seal, is or was in the file.
TRACES = (bytes.fromhex("d8fec3d61b0e483c92975828877ec481"), b"jumdc2pa", b"c2pa.assertions\0", b"c2pa.claim", SEAL_ID)
CHUNK = 1 << 20


@dataclass(frozen=True)
class Box:
    """One top-level box: its four-letter type, the byte where it starts and its total size."""

    kind: bytes
    start: int
    size: int


def boxes(stream: BinaryIO) -> Iterator[Box]:
    """Top-level boxes in order; raises ValueError if the structure is broken."""
    end = stream.seek(0, 2)
    start = 0
    while start < end:
        stream.seek(start)
        head = stream.read(16)
        size = int.from_bytes(head[:4], "big")
        if size == 1:
            size = int.from_bytes(head[8:16], "big")
        elif size == 0:
            size = end - start
        if len(head) < 8 or size < 8 or start + size > end:
            raise ValueError(f"box structure broken at byte {start}")
        yield Box(head[4:8], start, size)
        start += size


def is_media(path: Path) -> bool:
    """Whether the file consists of complete top-level boxes, with a movie and its media among them."""
    try:
        with path.open("rb") as stream:
            return {b"moov", b"mdat"} <= {box.kind for box in boxes(stream)}
    except ValueError:
        return False


def xmp_packet(title: str, creator: str, *, writable: bool = True) -> str:
    """XMP with IPTC DigitalSourceType and the notice; `writable` states whether others may edit it in place."""
    end = "w" if writable else "r"
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""'
        ' xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
        ' xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/"'
        f" Iptc4xmpExt:DigitalSourceType={quoteattr(COMPOSITE)} xmp:CreatorTool={quoteattr(creator)}>"
        f'<dc:title><rdf:Alt><rdf:li xml:lang="x-default">{escape(title)}</rdf:li></rdf:Alt></dc:title>'
        f'<dc:description><rdf:Alt><rdf:li xml:lang="x-default">{escape(NOTICE)}</rdf:li></rdf:Alt></dc:description>'
        f'</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="{end}"?>'
    )


def append_xmp(path: Path, title: str, creator: str) -> None:
    """Append an XMP box to the file, before it is signed."""
    packet = xmp_packet(title, creator).encode()
    with path.open("ab") as stream:
        stream.write((8 + len(XMP_ID) + len(packet)).to_bytes(4, "big") + b"uuid" + XMP_ID + packet)


def seal(path: Path) -> None:
    """Append the seal to a signed file: the digest of all its bytes."""
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").digest()
    with path.open("ab") as stream:
        stream.write(SEAL_SIZE.to_bytes(4, "big") + b"free" + SEAL_ID + digest)


def seal_holds(path: Path) -> bool:
    """Whether the file ends with a seal and no byte in front of it has changed."""
    with path.open("rb") as stream:
        end = stream.seek(0, 2)
        if end < SEAL_SIZE:
            return False
        stream.seek(end - SEAL_SIZE)
        box = stream.read(SEAL_SIZE)
        stream.seek(0)
        digest, left = hashlib.sha256(), end - SEAL_SIZE
        while left:
            chunk = stream.read(min(left, CHUNK))
            digest.update(chunk)
            left -= len(chunk)
    return box == SEAL_SIZE.to_bytes(4, "big") + b"free" + SEAL_ID + digest.digest()


def has_traces(path: Path) -> bool:
    """Whether the file contains traces of a manifest or a seal."""
    return _contains(path, TRACES)


def has_notice(path: Path) -> bool:
    """Whether the file's metadata marks it as a synthetic composite by faceset."""
    return _contains(path, (NOTICE.encode(),))


def _contains(path: Path, wanted: tuple[bytes, ...]) -> bool:
    overlap = max(map(len, wanted)) - 1
    tail = b""
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            block = tail + chunk
            if any(mark in block for mark in wanted):
                return True
            tail = block[-overlap:]
    return False

"""How a render is made: everything that changes its pixels or its file."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field

from curate.errors import UsageError
from render.compositing import blend, colour
from render.compositing.mask import MaskSettings


@dataclass(frozen=True)
class RenderSettings:
    """Validated when it is made; raises UsageError that names the flag."""

    mask: MaskSettings = field(default_factory=MaskSettings)
    colour: colour.Method = "reinhard"
    blend: blend.Mode = "poisson"
    sharpen: float = 1.0
    """Share of the detail that the footage has and the swapped face lacks (or has too much of) that is made good."""
    grain: bool = True
    occlusion: bool = True
    """Hands and other things before the face stay."""
    label: bool = False
    """A visible line that says what this is."""

    def __post_init__(self) -> None:
        if self.colour not in colour.METHODS:
            raise UsageError(f"--colour {self.colour}: must be one of {', '.join(colour.METHODS)}")
        if self.blend not in blend.MODES:
            raise UsageError(f"--blend {self.blend}: must be one of {', '.join(blend.MODES)}")
        if not 0 <= self.sharpen <= 2:
            raise UsageError(f"--sharpen {self.sharpen}: must be 0 to 2")

    def digest(self) -> str:
        """Hex SHA-256; equal for equal settings."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

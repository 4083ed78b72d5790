"""Ground truth of a synthetic picture: pose, expression, light and camera."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curate.errors import UsageError


@dataclass(frozen=True)
class View:
    """Pose, expression, light and camera of one picture."""

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    """Degrees, signs as in `curate.types`, about the mesh's origin (between the ears), seen along the camera's axis."""
    mouth: float = 0.0
    """0 shut .. 1 wide open: the jaw turns by 20 degrees."""
    eyes: float = 1.0
    """0 shut .. 1 open as at rest."""
    smile: float = 0.0
    """0..1: corners of the mouth up and out."""
    brows: float = 0.0
    """0..1: raised."""
    gaze: tuple[float, float] = (0.0, 0.0)
    """Yaw and pitch of both eyes in the head, degrees, the pose's signs."""
    light: tuple[float, float, float] = (0.25, 0.35, 0.9)
    """Direction to the light in the camera's axes (x image right, y up, z to the camera); any length but 0."""
    key: float = 0.75
    """Irradiance that the light gives where it falls on straight, over pi; 1 shows white as white."""
    ambient: float = 0.3
    """The same from all sides, 0..1."""
    kelvin: float = 6500.0
    """Colour temperature of the light, 2000..12000; 6500 is white."""
    scale: float = 0.45
    """Height of the face (landmarks 10 to 152) at the head's distance, as a share of the picture's height."""
    x: float = 0.0
    y: float = 0.0
    """Shift of the picture, right and up, as a share of its height: a crop, it does not change the angle of view."""
    distance: float = 110.0
    """Camera to the mesh's origin, centimetres. The focal length follows: scale * height * distance / face height,
    about 1340 pixels for a picture of 480, which spans 20 degrees then."""
    background: int = 0
    """Seed of the wall behind the head."""

    def __post_init__(self) -> None:
        for name in ("mouth", "eyes", "smile", "brows", "ambient"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"{name} {getattr(self, name)}: must be 0 to 1")
        if not np.any(self.light):
            raise UsageError("light (0, 0, 0): the direction must not be zero")
        if self.distance < 40 or not 0.02 <= self.scale <= 3:
            raise UsageError(f"distance {self.distance}, scale {self.scale}: must be at least 40 cm and 0.02 to 3")

    def light_vector(self) -> NDArray[np.float64]:
        """(3,) unit vector to the light."""
        light = np.array(self.light, np.float64)
        return np.asarray(light / np.linalg.norm(light))

    def tint(self) -> tuple[float, float, float]:
        """Linear RGB of the light, luminance 1: a black body by T. Helland's fit, relative to 6500 K."""
        rgb = _black_body(self.kelvin) / _black_body(6500.0)
        rgb = rgb / float(rgb @ (0.2126, 0.7152, 0.0722))
        return float(rgb[0]), float(rgb[1]), float(rgb[2])


def _black_body(kelvin: float) -> NDArray[np.float64]:
    t = float(np.clip(kelvin, 2000, 12000)) / 100
    red = 255.0 if t <= 66 else 329.698727446 * (t - 60) ** -0.1332047592
    green = 99.4708025861 * np.log(t) - 161.1195681661 if t <= 66 else 288.1221695283 * (t - 60) ** -0.0755148492
    blue = 255.0 if t >= 66 else 138.5177312231 * np.log(t - 10) - 305.0447927307
    return np.asarray((np.clip([red, green, blue], 1, 255) / 255) ** 2.2)

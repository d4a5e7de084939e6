"""How the layers of a synthetic scene move: in the image plane, or seen by a moving camera."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class PlaneMotion:
    """A layer that moves in the image: translation with acceleration, rotation and zoom about its centre.

    center and anchor: the same point in frame and texture pixels; velocity and acceleration in pixels a frame;
    angle at time 0 and turn a frame in radians; scale: frame pixels a texel; zoom: log of the growth a frame;
    squeeze: log of the aspect.
    """

    center: np.ndarray
    anchor: np.ndarray
    velocity: np.ndarray
    acceleration: np.ndarray
    angle: float = 0.0
    turn: float = 0.0
    scale: float = 1.0
    zoom: float = 0.0
    squeeze: float = 0.0

    def __call__(self, time: float) -> np.ndarray:
        """The 3×3 matrix from texture to frame pixels."""
        angle = self.angle + self.turn * time
        scale = self.scale * np.exp(self.zoom * time)
        rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        linear = scale * rotation @ np.diag([np.exp(self.squeeze), np.exp(-self.squeeze)])
        center = self.center + self.velocity * time + 0.5 * self.acceleration * time**2
        matrix = np.eye(3)
        matrix[:2, :2] = linear
        matrix[:2, 2] = center - linear @ self.anchor
        return matrix


@dataclass(frozen=True)
class Camera:
    """A pinhole camera: focal length and principal point in pixels, velocity in metres and turn in radians a frame.

    x points right, y down, z forward.
    """

    focal: float
    principal: np.ndarray
    velocity: np.ndarray
    turn: np.ndarray

    def matrix(self) -> np.ndarray:
        """The intrinsic matrix."""
        x, y = self.principal
        return np.array([[self.focal, 0, x], [0, self.focal, y], [0, 0, 1.0]])

    def rotation(self, time: float) -> np.ndarray:
        """World to camera rotation at `time` (Rodrigues' formula)."""
        angle = np.linalg.norm(self.turn) * time
        if abs(angle) < 1e-12:
            return np.eye(3)
        x, y, z = self.turn / np.linalg.norm(self.turn)
        cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
        return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


@dataclass(frozen=True)
class SurfaceMotion:
    """A flat surface in space, seen by a moving camera.

    corner: the place in metres of texture pixel (0,0) at time 0; right and down: metres a texel along the texture's
    axes; velocity: the surface's own, metres a frame.
    """

    camera: Camera
    corner: np.ndarray
    right: np.ndarray
    down: np.ndarray
    velocity: np.ndarray

    def __call__(self, time: float) -> np.ndarray:
        """The 3×3 matrix from texture to frame pixels; its third coordinate is the depth in metres."""
        corner = self.corner + (self.velocity - self.camera.velocity) * time
        axes = np.stack([self.right, self.down, corner], axis=1)
        return self.camera.matrix() @ self.camera.rotation(time) @ axes

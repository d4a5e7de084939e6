"""A scene of textured layers that move: its frames, its exact flow, its exact occlusion."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

BEND_ITERATIONS = 8  # a bend shrinks distances by at most MAX_BEND_SLOPE: 0.35**8 is far below 1e-3 px
MAX_BEND_SLOPE = 0.35


@dataclass(frozen=True)
class Layer:
    """One textured surface.

    texture: (h,w,4) uint8 RGBA, alpha is the shape. place(t): the 3×3 matrix from texture pixels to frame
    pixels at time t; a perspective one has the depth as its third coordinate. bend: (h,w,2) float32
    displacement in texture pixels, grown with sway(t), or None for a rigid layer. endless: the texture goes
    on, mirrored, beyond its edge.
    """

    texture: np.ndarray
    place: Callable[[float], np.ndarray]
    bend: np.ndarray | None = None
    sway: Callable[[float], float] = float
    endless: bool = False


@dataclass(frozen=True)
class View:
    """What one frame shows: its image (H,W,3) float32 in 0..255 and the topmost layer of each pixel (H,W).

    points holds, for each layer, the rows and columns where it may show and the texture point of each of
    those pixels.
    """

    time: float
    image: np.ndarray
    label: np.ndarray
    points: list[tuple[slice, slice, np.ndarray]]


def look(bend: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The bend at texture points (h,w,2), bilinear, its edge values going on outside."""
    return cv2.remap(bend, points[..., 0], points[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def project(matrix: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points (h,w,2) through a 3×3 matrix: (points, third coordinate)."""
    x, y = points[..., 0], points[..., 1]
    rows = [(row[0] * x + row[1] * y + row[2]).astype(np.float32) for row in matrix.astype(np.float64)]
    depth = np.where(np.abs(rows[2]) < 1e-8, 1e-8, rows[2])
    return np.stack([rows[0] / depth, rows[1] / depth], axis=-1), rows[2]


def texture_points(layer: Layer, time: float, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The texture point shown at frame points (h,w,2), and which of them the layer lies in front of the camera."""
    straight, inverse_depth = project(np.linalg.inv(layer.place(time)), points)
    found, amount = straight, layer.sway(time)
    if layer.bend is not None and amount:
        for _ in range(BEND_ITERATIONS):
            found = straight - amount * look(layer.bend, found)
    return found, inverse_depth > 0


def frame_points(layer: Layer, time: float, points: np.ndarray) -> np.ndarray:
    """Where texture points (h,w,2) appear in the frame at `time`."""
    amount = layer.sway(time)
    if layer.bend is not None and amount:
        points = points + amount * look(layer.bend, points)
    return project(layer.place(time), points)[0]


def region(layer: Layer, time: float, height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns of the frame that the layer may touch."""
    h, w = layer.texture.shape[:2]
    corners = np.array([[[0, 0], [w, 0], [0, h], [w, h]]], np.float32)
    placed, depth = project(layer.place(time), corners)
    if layer.endless or (depth <= 0).any():
        return slice(0, height), slice(0, width)
    margin = 2.0
    if layer.bend is not None:
        stretch = np.abs(np.linalg.det(layer.place(time)[:2, :2])) ** 0.5
        margin += abs(layer.sway(time)) * float(np.abs(layer.bend).max()) * 2 * stretch
    low, high = placed.reshape(-1, 2).min(0) - margin, placed.reshape(-1, 2).max(0) + margin
    left, top = np.clip(np.floor(low), 0, [width, height]).astype(int)
    right, bottom = np.clip(np.ceil(high) + 1, 0, [width, height]).astype(int)
    return slice(top, max(bottom, top)), slice(left, max(right, left))


def sample_texture(layer: Layer, points: np.ndarray) -> np.ndarray:
    """RGBA (h,w,4) float32 at texture points, from a pyramid level near one texel a pixel (no aliasing)."""
    border = cv2.BORDER_REFLECT if layer.endless else cv2.BORDER_CONSTANT
    step = np.linalg.norm(np.diff(points, axis=0, append=points[-2:-1] if len(points) > 1 else points), axis=-1)
    level = np.clip(np.rint(np.log2(np.maximum(step, 1) / 1.2)), 0, 5)
    texture, result = layer.texture, None
    for number in range(int(level.max()) + 1):
        scale = 0.5**number
        if result is None or (level == number).any():
            x, y = (points[..., axis] * scale + (scale - 1) / 2 for axis in (0, 1))
            values = cv2.remap(texture, x, y, cv2.INTER_LINEAR, borderMode=border).astype(np.float32)
            result = values if result is None else np.where((level >= number)[..., None], values, result)
        if min(texture.shape[:2]) < 8:
            break
        texture = cv2.resize(texture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    return result


def view(layers: list[Layer], time: float, height: int, width: int) -> View:
    """The frame at `time`; the layers lie from back to front, the first must cover the frame."""
    image = np.zeros((height, width, 3), np.float32)
    label = np.zeros((height, width), np.int16)
    grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(np.float32)
    points = []
    for number, layer in enumerate(layers):
        rows, columns = region(layer, time, height, width)
        patch = grid[rows, columns]
        found, front = texture_points(layer, time, patch) if patch.size else (patch, patch[..., 0] > 0)
        points.append((rows, columns, found))
        if not patch.size:
            continue
        color = sample_texture(layer, found)
        alpha = color[..., 3:] * front[..., None] / 255
        image[rows, columns] += alpha * (color[..., :3] - image[rows, columns])
        label[rows, columns][alpha[..., 0] > 0.5] = number
    return View(time, image, label, points)


def flow_to(layers: list[Layer], shown: View, time: float) -> np.ndarray:
    """The exact flow (H,W,2) from the view to the frame at `time`: of the topmost layer at each pixel."""
    height, width = shown.label.shape
    flow = np.zeros((height, width, 2), np.float32)
    grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(np.float32)
    for number, (layer, (rows, columns, found)) in enumerate(zip(layers, shown.points, strict=True)):
        mine = shown.label[rows, columns] == number
        if mine.any():
            target = frame_points(layer, time, found)
            flow[rows, columns][mine] = (target - grid[rows, columns])[mine]
    return flow


def visible_in(shown: View, flow: np.ndarray, other: View) -> np.ndarray:
    """Which pixels (H,W) of the view the other one shows too: inside the frame, and the same layer on top there.

    Exact to the pixel: the label of the nearest pixel decides.
    """
    height, width = shown.label.shape
    x = np.arange(width) + flow[..., 0]
    y = np.arange(height)[:, None] + flow[..., 1]
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    column = np.clip(np.rint(np.nan_to_num(x)), 0, width - 1).astype(int)
    row = np.clip(np.rint(np.nan_to_num(y)), 0, height - 1).astype(int)
    return inside & (other.label[row, column] == shown.label)

"""A scene of textured layers that move: its frames, its exact flow, its exact occlusion."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

BEND_ITERATIONS = 8  # a bend shrinks distances by at most MAX_BEND_SLOPE: 0.35**8 is far below 1e-3 px
MAX_BEND_SLOPE = 0.35
LEVELS = 6  # of a texture's pyramid
SMALLEST = 8  # texels: what is smaller is not halved
FINEST = 1.2  # texels a pixel at the first of them
FAR = 1e4  # pixels from the frame's corner: a point there is about to pass the camera


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

    @cached_property
    def pyramid(self) -> list[np.ndarray]:
        """The texture, then each time at half the size."""
        levels = [self.texture]
        while len(levels) < LEVELS and min(levels[-1].shape[:2]) >= SMALLEST:
            levels.append(cv2.resize(levels[-1], None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))
        return levels


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


def pixel_grid(height: int, width: int) -> np.ndarray:
    """The points (x, y) of a frame's pixels, (height,width,2) float32."""
    return np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(np.float32)


def look(bend: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The bend at texture points (h,w,2), bilinear, its edge values going on outside."""
    return cv2.remap(bend, points, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def project(matrix: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points (h,w,2) float32 through a 3×3 matrix: (points, third coordinate)."""
    placed = cv2.perspectiveTransform(points, matrix)  # in float64 inside, and in one pass
    return placed, points @ matrix[2, :2].astype(np.float32) + np.float32(matrix[2, 2])


def texture_points(layer: Layer, time: float, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The texture point shown at frame points (h,w,2), and which of them the layer lies in front of the camera."""
    straight, inverse_depth = project(np.linalg.inv(layer.place(time)), points)
    found, amount = straight, layer.sway(time)
    if layer.bend is not None and amount:
        for _ in range(BEND_ITERATIONS):
            found = straight - amount * look(layer.bend, found)
    return found, inverse_depth > 0


def frame_points(layer: Layer, time: float, points: np.ndarray) -> np.ndarray:
    """Where texture points (h,w,2) appear in the frame at `time`; NaN for those behind the camera or FAR beyond it."""
    amount = layer.sway(time)
    if layer.bend is not None and amount:
        points = points + amount * look(layer.bend, points)
    placed, depth = project(layer.place(time), points)
    placed[(depth <= 0) | (np.abs(placed).max(axis=-1) > FAR)] = np.nan
    return placed


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
    step = np.diff(points, axis=0, append=points[-2:-1] if len(points) > 1 else points)
    texels = np.einsum("hwc,hwc->hw", step, step)  # a pixel, squared
    result = cv2.remap(layer.texture, points, None, cv2.INTER_LINEAR, borderMode=border)
    for level, texture in enumerate(layer.pyramid[1:], 1):
        coarse = texels >= (FINEST * 2 ** (level - 0.5)) ** 2
        if not coarse.any():
            break
        scale = np.float32(0.5**level)
        values = cv2.remap(texture, points * scale + (scale - 1) / 2, None, cv2.INTER_LINEAR, borderMode=border)
        cv2.copyTo(values, coarse.view(np.uint8), result)
    return result.astype(np.float32)


def view(layers: list[Layer], time: float, height: int, width: int) -> View:
    """The frame at `time`; the layers lie from back to front, the first must cover the frame."""
    image = np.zeros((height, width, 3), np.float32)
    label = np.zeros((height, width), np.int16)
    grid = pixel_grid(height, width)
    points = []
    for number, layer in enumerate(layers):
        rows, columns = region(layer, time, height, width)
        patch = grid[rows, columns]
        found, front = texture_points(layer, time, patch) if patch.size else (patch, patch[..., 0] > 0)
        points.append((rows, columns, found))
        if not patch.size:
            continue
        sampled = sample_texture(layer, found)
        color, alpha = cv2.cvtColor(sampled, cv2.COLOR_RGBA2RGB), sampled[..., 3] * front / 255
        behind = image[rows, columns]
        # All of one layout: broadcasting over three channels at a time is slow.
        behind += cv2.cvtColor(alpha, cv2.COLOR_GRAY2RGB) * (color - behind)
        label[rows, columns][alpha > 0.5] = number
    return View(time, image, label, points)


def flow_to(layers: list[Layer], shown: View, time: float) -> np.ndarray:
    """The exact flow (H,W,2) from the view to the frame at `time`: of the topmost layer at each pixel.

    NaN where a point passes the camera, as what stands at a road's side does: it has no place in the other frame.
    """
    height, width = shown.label.shape
    flow = np.zeros((height, width, 2), np.float32)
    grid = pixel_grid(height, width)
    for number, (layer, (rows, columns, found)) in enumerate(zip(layers, shown.points, strict=True)):
        mine = shown.label[rows, columns] == number
        if mine.any():
            target = frame_points(layer, time, found)
            cv2.copyTo(target - grid[rows, columns], mine.view(np.uint8), flow[rows, columns])
    return flow


def visible_in(shown: View, flow: np.ndarray, other: View) -> np.ndarray:
    """Which pixels (H,W) of the view the other one shows too: inside the frame, and the same layer on top there.

    Exact to the pixel: the label of the nearest pixel decides.
    """
    height, width = shown.label.shape
    x = np.arange(width, dtype=np.float32) + flow[..., 0]
    y = np.arange(height, dtype=np.float32)[:, None] + flow[..., 1]
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    column = np.clip(np.rint(np.nan_to_num(x)), 0, width - 1).astype(int)
    row = np.clip(np.rint(np.nan_to_num(y)), 0, height - 1).astype(int)
    return inside & (other.label[row, column] == shown.label)

"""Procedural textures for the synthetic set, with the edges and the spectrum of natural images."""

from pathlib import Path

import cv2
import numpy as np

from mdflow.data.io import read_image
from mdflow.data.pixels import IMAGE_SUFFIXES
from mdflow.errors import InputError

SIZE = 512  # a texture is SIZE×SIZE


def make_textures(count: int, seed: int, folder: Path | None = None) -> list[np.ndarray]:
    """`count` textures (SIZE,SIZE,3) uint8, reproducible by seed; half of them from the images in `folder`, if given.

    Raises InputError when the folder has no image.
    """
    rng = np.random.default_rng([seed, 0x7E])
    makers = [noise_texture, dead_leaves_texture, grating_texture, cell_texture]
    textures = [makers[index % len(makers)](rng) for index in range(count)]
    if folder is not None:
        images = image_files(folder)
        for index in range(0, count, 2):
            textures[index] = photograph_texture(rng, images[rng.integers(len(images))])
    return textures


def image_files(folder: Path) -> list[Path]:
    """The images below `folder`, sorted."""
    found = (path for path in Path(folder).rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    files = sorted(path for path in found if not path.name.startswith("."))
    if not files:
        raise InputError(f"No image in the texture folder {folder}; expected PNG, JPG, PPM or WebP files.")
    return files


def photograph_texture(rng: np.random.Generator, path: Path) -> np.ndarray:
    """A random square of a photograph."""
    image = read_image(path)
    side = int(min(image.shape[:2]) * rng.uniform(0.5, 1))
    top, left = rng.integers(image.shape[0] - side + 1), rng.integers(image.shape[1] - side + 1)
    square = image[top : top + side, left : left + side]
    return cv2.resize(square, (SIZE, SIZE), interpolation=cv2.INTER_AREA if side > SIZE else cv2.INTER_CUBIC)


def random_colors(rng: np.random.Generator, count: int) -> np.ndarray:
    """Colours (count,3) in 0..255 scattered around one mean, as the things in one picture are."""
    mean = rng.uniform(30, 225, 3)
    spread = rng.uniform(10, 70)
    return np.clip(mean + rng.normal(0, spread, (count, 1)) + rng.normal(0, 0.5 * spread, (count, 3)), 0, 255)


def noise_field(rng: np.random.Generator, channels: int, persistence: float, coarsest: int = 3) -> np.ndarray:
    """Multi-octave smooth noise (SIZE,SIZE,channels), zero mean, unit deviation; persistence 0.5 gives about 1/f."""
    field = np.zeros((SIZE, SIZE * channels), np.float32)
    cells, amplitude = coarsest, 1.0
    while cells <= SIZE:
        octave = rng.standard_normal((cells, cells, channels)).astype(np.float32)
        fine = cv2.resize(octave, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
        cv2.scaleAdd(fine.reshape(field.shape), amplitude, field, field)
        cells, amplitude = cells * 2, amplitude * persistence
    mean, deviation = (float(value.item()) for value in cv2.meanStdDev(field))
    return ((field - mean) / (deviation + 1e-6)).reshape(SIZE, SIZE, channels)


def noise_texture(rng: np.random.Generator) -> np.ndarray:
    """Clouds, stone, grass: noise that mixes two or three colours."""
    low, high = random_colors(rng, 2)
    mix = noise_field(rng, 1, rng.uniform(0.4, 0.85))
    texture = low + (high - low) / (1 + np.exp(-1.5 * mix))
    return to_uint8(texture + rng.uniform(2, 12) * noise_field(rng, 3, rng.uniform(0.6, 0.95), coarsest=16))


def dead_leaves_texture(rng: np.random.Generator) -> np.ndarray:
    """Occluding shapes of power-law size: sharp edges at every scale (Lee, Mumford & Huang, IJCV 2001)."""
    count = int(rng.integers(80, 500))
    colors = random_colors(rng, count)
    canvas = np.empty((SIZE, SIZE, 3), np.float32)
    canvas[:] = colors[0]
    radii = 4 + 140 * rng.power(0.25, count)
    for color, radius in zip(colors, sorted(radii, reverse=True), strict=True):
        center = rng.uniform(0, SIZE, 2)
        points = center + radius * star_polygon(rng, int(rng.integers(3, 14)), rng.uniform(0, 0.5))
        cv2.fillPoly(canvas, [np.round(points * 16).astype(np.int32)], color.tolist(), cv2.LINE_AA, shift=4)
    shading = 1 + rng.uniform(0.02, 0.12) * noise_field(rng, 1, rng.uniform(0.6, 0.95))
    return to_uint8(canvas * shading)


def grating_texture(rng: np.random.Generator) -> np.ndarray:
    """Bricks, fences, fabric: two warped gratings; ambiguous on purpose."""
    x, y = np.meshgrid(np.arange(SIZE, dtype=np.float32), np.arange(SIZE, dtype=np.float32))
    bend = 12 * noise_field(rng, 2, 0.4)
    low, high = random_colors(rng, 2)
    mix = np.zeros((SIZE, SIZE), np.float32)
    for _ in range(rng.integers(1, 3)):
        angle, period = rng.uniform(0, np.pi), rng.uniform(8, 90)
        phase = (np.cos(angle) * (x + bend[..., 0]) + np.sin(angle) * (y + bend[..., 1])) * (2 * np.pi / period)
        mix += np.tanh(rng.uniform(1, 6) * np.sin(phase))
    texture = low + (high - low) * (0.5 + 0.25 * mix[..., None])
    return to_uint8(texture + rng.uniform(4, 20) * noise_field(rng, 3, rng.uniform(0.5, 0.9)))


def cell_texture(rng: np.random.Generator) -> np.ndarray:
    """Pebbles, leaves, scales: Voronoi cells, each shaded from its seed."""
    seeds = np.full((SIZE, SIZE), 255, np.uint8)
    count = int(rng.integers(30, 900))
    seeds[tuple(rng.integers(0, SIZE, (2, count)))] = 0
    distance, labels = cv2.distanceTransformWithLabels(seeds, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    colors = random_colors(rng, labels.max() + 1).astype(np.float32)
    fall = distance / distance.max()
    texture = colors[labels] * (1 - rng.uniform(0, 0.8) * fall[..., None])
    return to_uint8(texture + rng.uniform(2, 12) * noise_field(rng, 3, rng.uniform(0.6, 0.95), coarsest=8))


def star_polygon(rng: np.random.Generator, corners: int, irregularity: float) -> np.ndarray:
    """A polygon (corners,2) around the origin, radius about 1, corners drawn in and out by `irregularity`."""
    angles = (np.arange(corners) + rng.uniform(-0.3, 0.3, corners)) * (2 * np.pi / corners)
    radius = 1 + irregularity * rng.uniform(-1, 1, corners)
    squeeze = rng.uniform(0.35, 1)
    turn = rng.uniform(0, 2 * np.pi)
    points = np.stack([radius * np.cos(angles), squeeze * radius * np.sin(angles)], axis=1)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return points @ rotation.T


def to_uint8(texture: np.ndarray) -> np.ndarray:
    """Values rounded and clipped to 0..255."""
    return np.clip(np.rint(texture), 0, 255).astype(np.uint8)

"""What makes real footage hard: surfaces without texture or with too regular a one, shadows and reflections."""

import cv2
import numpy as np

from mdflow.data.scenes.motion import PlaneMotion
from mdflow.data.scenes.scene import Layer
from mdflow.data.scenes.scenery import Textures, choose, draw_outline, random_direction
from mdflow.data.scenes.textures import SIZE, noise_field, random_colors, to_uint8

OPAQUE = 127  # an alpha above this takes a pixel over, with its motion: a shadow stays below


def hard_textures(rng: np.random.Generator, textures: Textures) -> Textures:
    """The few textures of a hard scene: some of the bank's, some plain, some of small tiles."""
    count = int(rng.integers(2, 8))
    chosen = [textures[index] for index in rng.integers(len(textures), size=count)]
    makers = [plain_texture, tiled_texture]
    return chosen + [makers[rng.integers(2)](rng) for _ in range(rng.integers(2, 6))]


def plain_texture(rng: np.random.Generator) -> np.ndarray:
    """A painted wall, a sky, a table: one colour, a little uneven."""
    color = random_colors(rng, 1)
    uneven = rng.uniform(0, 12) * noise_field(rng, 1, rng.uniform(0.2, 0.5))
    return to_uint8(color + uneven + rng.uniform(0, 2) * noise_field(rng, 3, 0.9, coarsest=32))


def tiled_texture(rng: np.random.Generator) -> np.ndarray:
    """Tiles, bricks, a net, dots, fabric: one small pattern that repeats exactly, on a surface a little uneven."""
    height, width = rng.integers(5, 48, 2)
    tile = np.zeros((height, width), np.float32)
    for _ in range(rng.integers(1, 4)):
        center, radius = rng.uniform(0, 1, 2) * [width, height], rng.uniform(0.15, 0.6) * min(height, width)
        if rng.random() < 0.5:
            cv2.circle(tile, np.rint(center).astype(int).tolist(), max(1, int(radius)), rng.uniform(0.4, 1), -1)
        else:
            corner = np.rint(center + rng.uniform(0, 1, 2) * [width, height]).astype(int).tolist()
            cv2.rectangle(tile, np.rint(center).astype(int).tolist(), corner, rng.uniform(0.4, 1), -1)
    shifted = np.roll(tile, width // 2, axis=1) if rng.random() < 0.5 else tile
    pair = np.concatenate([tile, shifted])
    mix = np.tile(pair, (SIZE // (2 * height) + 1, SIZE // width + 1))[:SIZE, :SIZE, None]
    low, high = random_colors(rng, 2)
    uneven = rng.uniform(0, 10) * noise_field(rng, 1, rng.uniform(0.3, 0.8))
    return to_uint8(low + (high - low) * mix + uneven)


def with_shadows(
    rng: np.random.Generator, layers: list[Layer], textures: Textures, height: int, width: int, speed: float
) -> list[Layer]:
    """The scene with up to four shadows and reflections between its layers; no flow of the scene changes."""
    layers = list(layers)
    for _ in range(rng.integers(0, 5)):
        texture = shadow(rng) if rng.random() < 0.7 else reflection(rng, textures)
        layers.insert(int(rng.integers(1, len(layers) + 1)), adrift(rng, texture, height, width, speed))
    return layers


def shadow(rng: np.random.Generator) -> np.ndarray:
    """A dark shape with a soft edge (side,side,4)."""
    alpha = np.zeros((160, 160), np.uint8)
    draw_outline(rng, alpha)
    alpha = cv2.GaussianBlur(alpha, (0, 0), np.exp(rng.uniform(np.log(0.6), np.log(12))))
    tint = rng.uniform(0, 30, 3)
    color = np.broadcast_to(to_uint8(tint), (*alpha.shape, 3))
    return np.dstack([color, (alpha * (rng.uniform(0.15, 0.95) * OPAQUE / 255)).astype(np.uint8)])


def reflection(rng: np.random.Generator, textures: Textures) -> np.ndarray:
    """A faint picture of something else, as in a window or on a wet road (side,side,4)."""
    texture = choose(rng, textures)[:256, :256]
    alpha = np.zeros(texture.shape[:2], np.uint8)
    draw_outline(rng, alpha)
    alpha = cv2.GaussianBlur(alpha, (0, 0), rng.uniform(2, 20))
    return np.dstack([texture, (alpha * (rng.uniform(0.1, 0.6) * OPAQUE / 255)).astype(np.uint8)])


def adrift(rng: np.random.Generator, texture: np.ndarray, height: int, width: int, speed: float) -> Layer:
    """The texture as a layer of any size that moves, turns and grows in the image plane."""
    side = len(texture)
    radius = min(height, width) * np.exp(rng.uniform(np.log(0.1), np.log(0.8)))
    velocity = random_direction(rng) * speed * rng.gamma(1.5, 0.5)
    motion = PlaneMotion(
        center=rng.uniform(0, 1, 2) * [width, height] - 0.5 * velocity,
        anchor=np.array([side, side]) / 2,
        velocity=velocity,
        acceleration=np.zeros(2),
        angle=rng.uniform(0, 2 * np.pi),
        turn=float(np.clip(rng.normal(0, 0.3) * speed / radius, -0.3, 0.3)),
        scale=2.4 * radius / side,
        zoom=float(np.clip(rng.normal(0, 0.2) * speed / radius, -0.2, 0.2)),
        squeeze=rng.normal(0, 0.3),
    )
    return Layer(texture, motion)

"""Large surfaces that repeat: bricks, tiles, window fronts, nets. Light and borders alone tell their places apart."""

import numpy as np

from mdflow.data.scenes.hardness import plain_texture
from mdflow.data.scenes.scenery import Textures
from mdflow.data.scenes.textures import SIZE, noise_field, random_colors, to_uint8

PERIODS = (5.0, 60.0)  # texels
HIGHEST = 2  # harmonic of a pattern


def regular_surfaces(rng: np.random.Generator, textures: Textures) -> Textures:
    """The few textures of a scene's large surfaces: three fifths repeat, the others are plain or of the bank."""

    def surface() -> np.ndarray:
        kind = rng.random()
        if kind < 0.6:
            return regular_texture(rng)
        return plain_texture(rng) if kind < 0.8 else textures[rng.integers(len(textures))]

    return [lit(rng, surface()) for _ in range(rng.integers(2, 5))]


def regular_texture(rng: np.random.Generator) -> np.ndarray:
    """Dots, bricks, stripes, nets: a periodic function on a skewed lattice, cut off at a level between two colours."""
    wave = np.zeros((SIZE, SIZE), np.float32)
    lattice = random_lattice(rng)
    for _ in range(rng.integers(2, 7)):
        harmonic = rng.integers(-HIGHEST, HIGHEST + 1, 2)
        wave += rng.normal() * plane_wave(harmonic @ lattice, rng.uniform(0, 2 * np.pi))
    wave = (wave - wave.mean()) / (wave.std() + 1e-6)
    mix = 1 / (1 + np.exp(-rng.uniform(1.5, 12) * (wave - rng.normal(0, 0.6))))
    low, high = random_colors(rng, 2)
    uneven = rng.uniform(0, 6) * noise_field(rng, 1, rng.uniform(0.3, 0.9))
    return to_uint8(low + (high - low) * mix[..., None] + uneven)


def random_lattice(rng: np.random.Generator) -> np.ndarray:
    """The wave vectors (2,2) of a lattice, cycles a texel: at any angle, skewed by up to 30 degrees."""
    angle = rng.uniform(0, 2 * np.pi)
    angles = np.array([angle, angle + np.deg2rad(rng.choice([90, rng.uniform(60, 120)]))])
    first = np.exp(rng.uniform(*np.log(PERIODS)))
    periods = np.clip(first * np.array([1, np.exp(rng.uniform(-1, 1))]), *PERIODS)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1) / periods[:, None]


def plane_wave(vector: np.ndarray, phase: float) -> np.ndarray:
    """cos(2π vector·(x, y) + phase) over a texture, by the addition theorem from rows and columns: cheap."""
    across, down = (2 * np.pi * vector[:, None] * np.arange(SIZE)).astype(np.float32)
    return np.outer(np.cos(down), np.cos(across + phase)) - np.outer(np.sin(down), np.sin(across + phase))


def lit(rng: np.random.Generator, texture: np.ndarray) -> np.ndarray:
    """The texture under lamps and soft shadows that stay with it."""
    return to_uint8(texture * np.exp(rng.uniform(0, 0.4) * noise_field(rng, 1, rng.uniform(0.2, 0.45))))

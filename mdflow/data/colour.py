"""Photometric augmentation of a pair, in the loader's workers."""

import os

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it asks the package index for updates on import

import albumentations
import numpy as np


class Colour:
    """Colour jitter and gamma drawn once for both frames (for a share of pairs per frame), blur and noise per frame.

    strength 1 has SMURF's ranges (Stone et al., CVPR 2021): hue ±0.159, saturation and contrast 0.6–1.4,
    brightness ±0.4.
    """

    def __init__(self, strength: float, asymmetric: float) -> None:
        self.asymmetric = asymmetric
        amount = 0.4 * strength
        self.tone = albumentations.Compose(
            [
                albumentations.ColorJitter(
                    brightness=amount,
                    contrast=amount,
                    saturation=amount,
                    hue=min(0.159 * strength, 0.5),
                    p=0.8,
                ),
                albumentations.RandomGamma((100 - 30 * strength, 100 + 40 * strength), p=0.3),
            ]
        )
        self.lens = albumentations.Compose(
            [
                albumentations.GaussianBlur(blur_limit=0, sigma_limit=(0.3, 0.3 + 1.2 * strength), p=0.2),
                albumentations.GaussNoise(std_range=(0, 0.03 * strength), p=0.3),
            ]
        )

    def __call__(self, image1: np.ndarray, image2: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """The pair (H,W,3) uint8 as another camera might have seen it, reproducible by seed."""
        shared = np.random.default_rng(seed).random() >= self.asymmetric
        frames = []
        for number, image in enumerate((image1, image2)):
            self.tone.set_random_seed(seed if shared else seed + number)
            self.lens.set_random_seed(seed + number)
            frames.append(self.lens(image=self.tone(image=image)["image"])["image"])
        return frames[0], frames[1]

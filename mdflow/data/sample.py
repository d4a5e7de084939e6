"""What every dataset yields: one pair of frames and whatever is known about its flow."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True)
class Sample:
    """A pair of frames, with ground truth where the dataset has it.

    Images are (H,W,3) uint8 RGB, flows (H,W,2) float32 in pixels, masks (H,W) bool.
    `valid1` marks the pixels of frame 1 whose flow12 is known, `visible1` those that frame 2 also shows
    (not occluded, not out of frame), `foreground1` those on moving objects (KITTI-2015's object maps). `image0` is the
    frame before image1, as far from it as image2 is (mdflow.data.previous).
    A field that the dataset does not have is None.
    `name` is unique in its dataset and made of path parts, such as "alley_1/frame_0001".
    """

    name: str
    image1: np.ndarray
    image2: np.ndarray
    flow12: np.ndarray | None = None
    valid1: np.ndarray | None = None
    visible1: np.ndarray | None = None
    flow21: np.ndarray | None = None
    valid2: np.ndarray | None = None
    visible2: np.ndarray | None = None
    foreground1: np.ndarray | None = None
    image0: np.ndarray | None = None

    @property
    def known1(self) -> np.ndarray:
        """Where flow12 is known and finite, (H,W) bool; the sample must have labels."""
        finite = np.isfinite(self.flow12).all(axis=-1)
        return finite if self.valid1 is None else finite & self.valid1


class Dataset(Protocol):
    """A map-style dataset of pairs, in a fixed order."""

    name: str

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...


def spread(dataset: Dataset | Sequence[Sample], count: int) -> list[Sample]:
    """`count` samples at equal distances from the first to the last, or all if there are fewer."""
    indices = np.linspace(0, len(dataset) - 1, min(count, len(dataset))).astype(int)
    return [dataset[index] for index in indices.tolist()]

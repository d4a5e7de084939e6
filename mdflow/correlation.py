"""The local cost volume: how well each pixel of frame 1 matches its neighbours in frame 2."""

import torch
import torch.nn.functional as F
from torch import Tensor

from mdflow.banded_correlation import banded_correlation
from mdflow.tiled_correlation import tiled_correlation

Displacements = list[tuple[int, int]]


def square_displacements(radius: int) -> Displacements:
    """All (dy, dx) with |dy|, |dx| <= radius, row-major."""
    steps = range(-radius, radius + 1)
    return [(dy, dx) for dy in steps for dx in steps]


def local_correlation(
    features1: Tensor, features2: Tensor, radius: int, displacements: Displacements | None = None
) -> Tensor:
    """Mean over channels of features1(x) · features2(x + d) for each displacement d, (B,K,H,W).

    features are (B,C,H,W); features2 counts as zero outside. `displacements` are (dy, dx) within
    `radius`; None means all (2·radius+1)² of them, row-major. The backend follows from the device, and an export
    has one of its own; all give the same values to rounding.
    """
    displacements = displacements or square_displacements(radius)
    with torch.autocast(features1.device.type, enabled=False):  # half precision cannot hold the sums
        if torch.compiler.is_exporting():
            everything = banded_correlation(features1, features2, radius)
        elif features1.device.type == "cpu":
            everything = tiled_correlation(features1, features2, radius)
        else:
            return plain_correlation(features1, features2, radius, displacements)
    chosen = [(dy + radius) * (2 * radius + 1) + dx + radius for dy, dx in displacements]
    return everything if chosen == list(range(everything.shape[1])) else everything[:, chosen]


def plain_correlation(features1: Tensor, features2: Tensor, radius: int, displacements: Displacements) -> Tensor:
    """One shifted product a displacement: simple, exportable, and the yardstick of every other backend."""
    height, width = features1.shape[-2:]
    padded = F.pad(features2, (radius,) * 4)
    rows = [radius + dy for dy, _ in displacements]
    columns = [radius + dx for _, dx in displacements]
    return torch.stack(
        [
            (features1 * padded[:, :, top : top + height, left : left + width]).mean(1)
            for top, left in zip(rows, columns, strict=True)
        ],
        dim=1,
    )

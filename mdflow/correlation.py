"""The local cost volume: how well each pixel of frame 1 matches its neighbours in frame 2."""

import torch
import torch.nn.functional as F
from torch import Tensor


def square_displacements(radius: int) -> list[tuple[int, int]]:
    """All (dy, dx) with |dy|, |dx| <= radius, row-major."""
    steps = range(-radius, radius + 1)
    return [(dy, dx) for dy in steps for dx in steps]


def local_correlation(
    features1: Tensor, features2: Tensor, radius: int, displacements: list[tuple[int, int]] | None = None
) -> Tensor:
    """Mean over channels of features1(x) · features2(x + d) for each displacement d, (B,K,H,W).

    features are (B,C,H,W); features2 counts as zero outside. `displacements` are (dy, dx) within
    `radius`; None means all (2·radius+1)² of them, row-major.
    """
    displacements = displacements or square_displacements(radius)
    height, width = features1.shape[-2:]
    padded = F.pad(features2, (radius,) * 4)
    return torch.stack(
        [
            (features1 * padded[:, :, radius + dy : radius + dy + height, radius + dx : radius + dx + width]).mean(1)
            for dy, dx in displacements
        ],
        dim=1,
    )

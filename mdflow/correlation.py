"""The local cost volume: how well each pixel of frame 1 matches its neighbours in frame 2."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mdflow.errors import InputError
from mdflow.kernels import HAS_TRITON
from mdflow.kernels.banded_correlation import banded_correlation
from mdflow.kernels.listed_correlation import has_listed_correlation, listed_correlation
from mdflow.kernels.native import require_one_shape
from mdflow.kernels.tiled_correlation import tiled_correlation

Displacements = list[tuple[int, int]]

BACKENDS = ("plain", "listed", "tiled", "banded", "triton")
forced_backend: str | None = None  # set by `backend`


def square_displacements(radius: int) -> Displacements:
    """All (dy, dx) with |dy|, |dx| <= radius, row-major."""
    steps = range(-radius, radius + 1)
    return [(dy, dx) for dy in steps for dx in steps]


def local_correlation(
    features1: Tensor, features2: Tensor, radius: int, displacements: Displacements | None = None
) -> Tensor:
    """Mean over channels of features1(x) · features2(x + d) for each displacement d, (B,K,H,W).

    features are (B,C,H,W), InputError if they differ in shape; features2 counts as zero outside. `displacements` are
    (dy, dx) within `radius`; None means all (2·radius+1)² of them, row-major. The backend follows from the device, and
    an export has one of its own, but for calls within `backend(name)`; all give the same values to rounding.
    """
    require_one_shape(features1, features2)
    displacements = displacements or square_displacements(radius)
    name = forced_backend or usual_backend(features1)
    with torch.autocast(features1.device.type, enabled=False):  # half precision cannot hold the sums
        if name == "plain":
            return plain_correlation(features1, features2, radius, displacements)
        if name == "listed":
            return listed_correlation(features1, features2, displacements)
        if name == "triton":
            from mdflow.kernels.triton_correlation import triton_correlation  # not installed on every machine

            return triton_correlation(features1, features2, displacements)
        if name == "banded":
            return banded_correlation(features1, features2, radius, displacements)
        everything = tiled_correlation(features1, features2, radius)
    chosen = [(dy + radius) * (2 * radius + 1) + dx + radius for dy, dx in displacements]
    if chosen == list(range(everything.shape[1])):
        return everything
    return everything.movedim(1, -1)[..., chosen].movedim(-1, 1)  # the channels stay last in memory


class LocalCorrelation(nn.Module):
    """`local_correlation` as a part of a network, so that a quantised one can have another in its place."""

    def __init__(self, radius: int, displacements: Displacements | None = None) -> None:
        super().__init__()
        self.radius, self.displacements = radius, displacements or square_displacements(radius)

    def forward(self, features1: Tensor, features2: Tensor) -> Tensor:
        return local_correlation(features1, features2, self.radius, self.displacements)


def usual_backend(features: Tensor) -> str:
    """The name of the fastest backend for features (B,C,H,W), or of the one that exports."""
    if torch.compiler.is_exporting():
        return "banded"
    if features.device.type == "cuda" and HAS_TRITON:
        return "triton"
    if has_listed_correlation(features):
        return "listed"
    return "tiled" if features.device.type == "cpu" else "plain"


@contextmanager
def backend(name: str) -> Iterator[None]:
    """Within, every local correlation is computed by the backend `name`.

    Raises InputError if there is none such, or if it needs what is not installed.
    """
    global forced_backend
    if name not in BACKENDS:
        raise InputError(f"There is no correlation backend '{name}'; expected one of {', '.join(BACKENDS)}.")
    if name == "triton" and not HAS_TRITON:
        raise InputError("The correlation backend 'triton' needs Triton, which is not installed; pip install triton.")
    before, forced_backend = forced_backend, name
    try:
        yield
    finally:
        forced_backend = before


def plain_correlation(features1: Tensor, features2: Tensor, radius: int, displacements: Displacements) -> Tensor:
    """One shifted product a displacement: simple, exportable, and the yardstick of every other backend."""
    height, width = features1.shape[-2:]
    kind = torch.promote_types(features1.dtype, torch.float32)
    features1, padded = features1.to(kind), F.pad(features2.to(kind), (radius,) * 4)
    rows = [radius + dy for dy, _ in displacements]
    columns = [radius + dx for _, dx in displacements]
    return torch.stack(
        [
            (features1 * padded[:, :, top : top + height, left : left + width]).mean(1)
            for top, left in zip(rows, columns, strict=True)
        ],
        dim=1,
    )

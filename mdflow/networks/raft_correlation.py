"""RAFT's matching cost: every pixel of frame 1 against a window around its current match in frame 2.

Both classes give the same numbers (Teed & Deng, ECCV 2020, section 3.2). AllPairs computes the whole
cost once, O((H·W)²) memory and time; OnDemand computes at each lookup what the windows need, O(H·W): with a kernel
(mdflow.kernels.windows) in less time, without one (mdflow.networks.raft_windows) at the size of Sintel in more.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from mdflow.geometry import sample
from mdflow.kernels.windows import has_windows, pack, windows
from mdflow.networks.raft_windows import window_costs

LEVELS = 4
CORRELATIONS = ("fastest", "all_pairs", "on_demand")
# Pixels of a map, for each lookup, up to which all pairs take no more time than windows without their kernel.
ALL_PAIRS = 1024
WHOLE = 512  # pixels of a level up to which OnDemand computes all its costs: no more work than windows, and no copies


class AllPairs:
    """The cost of all pairs, computed once."""

    def __init__(self, features1: Tensor, features2: Tensor, radius: int, align_corners: bool = True) -> None:
        self.window, self.align_corners = window_offsets(radius, features1), align_corners
        self.pyramid = cost_pyramid(as_queries(features1), features2)

    def __call__(self, points: Tensor) -> Tensor:
        """Costs (B, LEVELS·(2·radius+1)², h, w) around points (B,2,h,w), in pixels of features2."""
        costs = look_up(self.pyramid, as_queries(points), self.window, self.align_corners)
        return costs.unflatten(1, points.shape[-2:]).movedim(-1, 1)


class OnDemand:
    """The same costs for little memory, computed again at each lookup and in the backward pass."""

    def __init__(self, features1: Tensor, features2: Tensor, radius: int, align_corners: bool = True) -> None:
        self.radius, self.align_corners = radius, align_corners
        self.features1 = features1.float() / math.sqrt(features1.shape[1])
        self.levels = halved(features2.float())
        self.has_kernel = has_kernel(self.levels[0], radius, align_corners)
        self.packed = pack(self.features1, self.levels, radius) if self.has_kernel else []

    def __call__(self, points: Tensor) -> Tensor:
        """Costs (B, LEVELS·(2·radius+1)², h, w) around points (B,2,h,w), in pixels of features2."""
        if self.has_kernel and not points.requires_grad:
            return windows(self.features1, self.levels, points, self.radius, self.packed)
        costs = [self.at_level(level, points / 2**number) for number, level in enumerate(self.levels)]
        return torch.cat(costs, dim=1)

    def at_level(self, level: Tensor, points: Tensor) -> Tensor:
        """Costs (B,(2·radius+1)²,h,w) around points (B,2,h,w), in pixels of the level."""
        if level.shape[-2] * level.shape[-1] > WHOLE:
            return window_costs(self.features1, level, points, self.radius, self.align_corners)
        return checkpoint(self.at_small_level, level, points, use_reentrant=False)

    def at_small_level(self, level: Tensor, points: Tensor) -> Tensor:
        """The same, from the costs of the whole level."""
        cost = inner_products(as_queries(self.features1), level)
        found = look_up([cost], as_queries(points), window_offsets(self.radius, points), self.align_corners)
        return found.unflatten(1, points.shape[-2:]).movedim(-1, 1)


def open_correlation(
    choice: str, features1: Tensor, features2: Tensor, radius: int, align_corners: bool, lookups: int
) -> AllPairs | OnDemand:
    """The costs of features1 with features2 (B,C,h,w) by one of CORRELATIONS, for about so many lookups."""
    if choice == "fastest":
        many = features1.shape[-2] * features1.shape[-1] > ALL_PAIRS * lookups
        choice = "on_demand" if many or has_kernel(features2, radius, align_corners) else "all_pairs"
    return {"all_pairs": AllPairs, "on_demand": OnDemand}[choice](features1, features2, radius, align_corners)


def has_kernel(features2: Tensor, radius: int, align_corners: bool) -> bool:
    """Whether windows have a kernel that gives the same costs.

    PyTorch's sampling finds the only pixel of a side wherever it looks: wrong, but what small frames always had.
    """
    return align_corners and min(features2.shape[-2:]) >= 2**LEVELS and has_windows(features2, radius)


def as_queries(maps: Tensor) -> Tensor:
    """(B,C,h,w) as one vector for each pixel, (B,h·w,C)."""
    return maps.flatten(2).transpose(1, 2)


def window_offsets(radius: int, like: Tensor) -> Tensor:
    """Offsets (2,K,K) of a lookup window; x changes along the rows, the order of the released weights."""
    steps = torch.arange(-radius, radius + 1, device=like.device, dtype=torch.float32)
    return torch.stack(torch.meshgrid(steps, steps, indexing="ij"))


def cost_pyramid(queries: Tensor, features2: Tensor) -> list[Tensor]:
    """Scaled inner products (B·N,1,h,w) of queries (B,N,C) with every pixel of features2 (B,C,H,W).

    At 1, 1/2, 1/4 and 1/8 of the size of features2; a side of one pixel stays.
    """
    queries = queries.float() / math.sqrt(queries.shape[2])
    # Averaging is linear: the mean of costs is the cost of the mean, for a third of the time.
    return [inner_products(queries, level) for level in halved(features2.float())]


def inner_products(queries: Tensor, features2: Tensor) -> Tensor:
    """Queries (B,N,C) with every pixel of features2 (B,C,H,W), as maps (B·N,1,H,W)."""
    # Half precision cannot hold these sums.
    with torch.autocast(queries.device.type, enabled=False):
        return (queries.float() @ features2.flatten(2).float()).view(-1, 1, *features2.shape[-2:])


def halved(maps: Tensor) -> list[Tensor]:
    """Maps (B,C,h,w) at 1, 1/2, 1/4 and 1/8 of their size; a side of one pixel stays."""
    pyramid = [maps]
    while len(pyramid) < LEVELS:
        height, width = pyramid[-1].shape[-2:]
        pyramid.append(F.avg_pool2d(pyramid[-1], (min(2, height), min(2, width))))
    return pyramid


def look_up(pyramid: list[Tensor], points: Tensor, window: Tensor, align_corners: bool) -> Tensor:
    """Values (B,N,K) of all levels in the window around points (B,N,2) of the finest level's grid."""
    centres = points.reshape(-1, 2, 1, 1)
    values = [
        sample(cost, centres / 2**level + window, align_corners=align_corners).flatten(1)
        for level, cost in enumerate(pyramid)
    ]
    return torch.cat(values, dim=1).view(*points.shape[:2], -1)

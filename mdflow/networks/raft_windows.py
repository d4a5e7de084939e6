"""Matching costs in a window around each pixel's match, without those of all pairs.

Neighbouring pixels look at nearly the same place: the costs of a tile of them are one matrix product with the block of
image 2 that holds all their windows. The few tiles whose windows lie too far apart are taken pixel by pixel.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from mdflow.geometry import sample

TILE = 4  # pixels of image 1, each way
SLACK = 6  # pixels of image 2 by which a tile's block is wider than one window
GATHERED = 2**15  # vectors of image 2 that are held at a time


def window_costs(
    features1: Tensor, features2: Tensor, points: Tensor, radius: int, align_corners: bool = True
) -> Tensor:
    """Inner products (B,(2·radius+1)²,h,w) of features1 (B,C,h,w) with bilinear samples of features2 (B,C,H,W).

    Around points (B,2,h,w) in pixels of features2, offsets down the columns first; zero outside. In float32.
    align_corners as in mdflow.geometry.sample.
    """
    batch, _, height, width = features1.shape
    # Half precision cannot hold these sums.
    with torch.autocast(features1.device.type, enabled=False):
        windows = Windows(features2.float(), radius, align_corners)
        queries, targets = tiles(features1.float(), "constant"), tiles(points, "replicate")
        image = torch.arange(batch, device=points.device).repeat_interleave(len(queries) // batch)
        together = windows.fit(targets, windows.shared)
        near, far = together.nonzero().flatten(), (~together).nonzero().flatten()
        found = windows.costs(queries[near], targets[near], image[near], windows.shared)
        single = [part[far].flatten(0, 1)[:, None] for part in (queries, targets)]
        alone = windows.costs(*single, image[far].repeat_interleave(TILE**2), windows.own)
        costs = torch.cat([found, alone.view(-1, TILE**2, windows.count)])
        back = torch.cat([near, far]).argsort()
    rows, columns = -(-height // TILE), -(-width // TILE)
    costs = costs[back].view(batch, rows, columns, TILE, TILE, -1).permute(0, 5, 1, 3, 2, 4)
    return costs.reshape(batch, windows.count, rows * TILE, columns * TILE)[..., :height, :width]


class Windows:
    """Blocks of image 2 (B,C,H,W) and what lies in them."""

    def __init__(self, features2: Tensor, radius: int, align_corners: bool) -> None:
        self.size, self.align_corners = features2.shape[-2:], align_corners
        steps = torch.arange(-radius, radius + 1, device=features2.device, dtype=torch.float32)
        self.offsets = torch.stack(torch.meshgrid(steps, steps, indexing="ij"), dim=-1).flatten(0, 1)
        self.count = len(self.offsets)
        # In pixels of a map of n pixels a window is up to n/(n − 1) times as wide where corners are not aligned.
        widest = max(side / max(side - 1, 1) for side in self.size)
        self.own = int(2 * radius * (1 if align_corners else widest)) + 3
        self.shared = self.own + SLACK
        self.margin = self.shared
        padded = F.pad(features2, (self.margin,) * 4).permute(0, 2, 3, 1)
        self.padded_size = padded.shape[1:3]
        self.vectors = padded.reshape(-1, padded.shape[-1])

    def pixels(self, points: Tensor) -> Tensor:
        """Where points (...,2) are read, in pixels: see mdflow.geometry.sample."""
        if self.align_corners:
            return points
        sides = points.new_tensor(self.size).flip(0)
        return points * (sides / (sides - 1).clamp_min(1)) - 0.5

    def corner(self, targets: Tensor) -> Tensor:
        """The first pixel (N,2) of the windows around targets (N,T,2) of a tile."""
        return self.pixels(targets.amin(1) + self.offsets[0]).floor()

    def fit(self, targets: Tensor, side: int) -> Tensor:
        """Whether all windows (N,) of a tile lie in a block of `side` pixels."""
        last = self.pixels(targets.amax(1) + self.offsets[-1]).floor() + 1
        return (last - self.corner(targets) < side).all(1)

    def costs(self, queries: Tensor, targets: Tensor, image: Tensor, side: int) -> Tensor:
        """Costs (N,T,K) of tiles of queries (N,T,C) around targets (N,T,2), each tile with a block of its own."""
        parts = zip(*(part.split(max(GATHERED // side**2, 1)) for part in (queries, targets, image)), strict=True)
        found = [checkpoint(self.block_costs, *part, side, use_reentrant=False) for part in parts]
        return torch.cat(found)

    def block_costs(self, queries: Tensor, targets: Tensor, image: Tensor, side: int) -> Tensor:
        """The same for a few tiles."""
        height, width = self.size
        # A block that lies outside is moved to the margin, where all is zero as well; one that lies nowhere, of a
        # flow that is not finite, to the origin: its costs are not finite either way.
        bounds = targets.new_tensor([width, height])
        corner = torch.minimum(self.corner(targets).nan_to_num().clamp_min(-self.margin), bounds)
        x, y = (corner.long() + self.margin).unbind(1)
        steps = torch.arange(side, device=x.device)
        first = image * self.padded_size[0] * self.padded_size[1] + y * self.padded_size[1] + x
        index = first[:, None, None] + steps[:, None] * self.padded_size[1] + steps
        block = self.vectors.index_select(0, index.flatten()).view(len(queries), side**2, queries.shape[-1])
        cost = (queries @ block.transpose(1, 2)).view(-1, 1, side, side)
        places = self.pixels(targets[:, :, None] + self.offsets) - corner[:, None, None]
        return sample(cost, places.view(-1, 1, self.count, 2).permute(0, 3, 1, 2)).view(*targets.shape[:2], self.count)


def tiles(maps: Tensor, padding: str) -> Tensor:
    """Maps (B,C,h,w) as tiles (B·rows·columns, TILE², C)."""
    height, width = maps.shape[-2:]
    filled = F.pad(maps, (0, -width % TILE, 0, -height % TILE), mode=padding)
    cut = filled.unflatten(3, (-1, TILE)).unflatten(2, (-1, TILE))  # (B,C,rows,TILE,columns,TILE)
    return cut.permute(0, 2, 4, 3, 5, 1).flatten(0, 2).flatten(1, 2)

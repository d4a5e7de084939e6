"""The local cost volume: how well each pixel of frame 1 matches its neighbours in frame 2."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

Displacements = list[tuple[int, int]]
TILE = 16  # columns of a row that share one matrix product; 8 and 32 were slower on two cores


def square_displacements(radius: int) -> Displacements:
    """All (dy, dx) with |dy|, |dx| <= radius, row-major."""
    steps = range(-radius, radius + 1)
    return [(dy, dx) for dy in steps for dx in steps]


def local_correlation(
    features1: Tensor, features2: Tensor, radius: int, displacements: Displacements | None = None
) -> Tensor:
    """Mean over channels of features1(x) · features2(x + d) for each displacement d, (B,K,H,W).

    features are (B,C,H,W); features2 counts as zero outside. `displacements` are (dy, dx) within
    `radius`; None means all (2·radius+1)² of them, row-major. The backend follows from the device and from
    whether gradients are needed; both give the same values to rounding.
    """
    displacements = displacements or square_displacements(radius)
    needs_gradient = torch.is_grad_enabled() and (features1.requires_grad or features2.requires_grad)
    if needs_gradient and features1.device.type == "cpu":
        return tiled_correlation(features1, features2, radius, displacements)
    return plain_correlation(features1, features2, radius, displacements)


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


def tiled_correlation(features1: Tensor, features2: Tensor, radius: int, displacements: Displacements) -> Tensor:
    """Tiles of a row as matrix products, of which the diagonals near the middle are kept.

    Computes about three times the products that are needed, at a matrix product's speed, and has a
    backward of its own that stores no shifted copies. In float32 at least, also under autocast.
    """
    side = 2 * radius + 1
    chosen = [(dy + radius) * side + dx + radius for dy, dx in displacements]
    kind = torch.promote_types(features1.dtype, torch.float32)
    with torch.autocast(features1.device.type, enabled=False):
        full = TiledCorrelation.apply(features1.to(kind), features2.to(kind), radius)
    if chosen == list(range(side * side)):
        return full
    return full.index_select(1, torch.tensor(chosen, device=full.device))


class TiledCorrelation(torch.autograd.Function):
    """All (2r+1)² displacements by banded matrix products.

    Both maps become rows of pixels, (B·(H+2r), W, C), image 1 padded below and image 2 all around, so that
    a vertical displacement is an offset of rows and all rows of all images go through one batched product.
    """

    @staticmethod
    def forward(context, features1: Tensor, features2: Tensor, radius: int) -> Tensor:
        batch, channels, height, width = features1.shape
        tiled_width = -(-width // TILE) * TILE
        rows1 = features1.new_zeros(batch, height + 2 * radius, tiled_width, channels)
        rows1[:, :height, :width] = features1.permute(0, 2, 3, 1)
        rows2 = features1.new_zeros(batch, height + 2 * radius, tiled_width + 2 * radius, channels)
        rows2[:, radius : radius + height, radius : radius + width] = features2.permute(0, 2, 3, 1)
        rows1, rows2 = rows1.flatten(0, 1), rows2.flatten(0, 1)
        context.save_for_backward(rows1, rows2)
        context.shape, context.radius = features1.shape, radius
        side = 2 * radius + 1
        cost = features1.new_empty(batch * (height + 2 * radius), side, side, tiled_width)
        count = len(rows1) - 2 * radius
        band, diagonals = new_band(rows1, count, radius)
        for left in range(0, tiled_width, TILE):
            tile1 = rows1[:count, left : left + TILE]
            for dy in range(side):
                tile2 = rows2[dy : dy + count, left : left + TILE + 2 * radius]
                torch.bmm(tile1, tile2.transpose(1, 2), out=band)
                cost[:count, dy, :, left : left + TILE] = diagonals
        cost = cost.view(batch, height + 2 * radius, side * side, tiled_width)[:, :height, :, :width]
        return cost.permute(0, 2, 1, 3) / channels

    @staticmethod
    @once_differentiable
    def backward(context, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        rows1, rows2 = context.saved_tensors
        (batch, channels, height, width), radius = context.shape, context.radius
        side, count, tiled_width = 2 * radius + 1, len(rows1) - 2 * radius, rows1.shape[1]
        cost = gradient.new_zeros(batch, height + 2 * radius, side * side, tiled_width)
        cost[:, :height, :, :width] = gradient.permute(0, 2, 1, 3) / channels
        cost = cost.view(-1, side, side, tiled_width)
        gradient1, gradient2 = torch.zeros_like(rows1), torch.zeros_like(rows2)
        band, diagonals = new_band(rows1, count, radius)
        for left in range(0, tiled_width, TILE):
            tile1 = rows1[:count, left : left + TILE]
            total1 = torch.zeros_like(tile1)
            for dy in range(side):
                diagonals.copy_(cost[:count, dy, :, left : left + TILE])
                columns2 = slice(left, left + TILE + 2 * radius)
                total1.baddbmm_(band, rows2[dy : dy + count, columns2])
                gradient2[dy : dy + count, columns2] += torch.bmm(band.transpose(1, 2), tile1)
            gradient1[:count, left : left + TILE] = total1
        gradient1 = gradient1.view(batch, -1, tiled_width, channels)[:, :height, :width]
        gradient2 = gradient2.view(batch, -1, tiled_width + 2 * radius, channels)
        gradient2 = gradient2[:, radius : radius + height, radius : radius + width]
        return gradient1.permute(0, 3, 1, 2), gradient2.permute(0, 3, 1, 2), None


def new_band(rows: Tensor, count: int, radius: int) -> tuple[Tensor, Tensor]:
    """Zeroed products of a tile of image 1 with one of image 2, and the view of their 2r+1 kept diagonals."""
    breadth = TILE + 2 * radius
    band = rows.new_zeros(count, TILE, breadth)
    return band, band.as_strided((count, 2 * radius + 1, TILE), (TILE * breadth, 1, breadth + 1))

"""The local cost volume by matrix products: tiles of a row of image 1 against the window of image 2 around them.

A product computes about twice the values that are needed (the diagonals near its middle are kept), at a matrix
product's speed and without a shifted copy of anything. Forward and backward are operators of their own, which
torch.compile calls as they are: unrolled, they would take it minutes.
"""

import torch
from torch import Tensor

TILE = 8  # pixels of a row in one matrix product; 16 and 32 were slower on two cores

# Defined one by one: torch.library.custom_op would load the compiler at the first call, seconds of it.
torch.library.define("mdflow::correlate_rows", "(Tensor rows1, Tensor rows2, int radius) -> Tensor")
torch.library.define(
    "mdflow::correlate_rows_backward", "(Tensor gradient, Tensor rows1, Tensor rows2, int radius) -> (Tensor, Tensor)"
)
correlate_rows = torch.ops.mdflow.correlate_rows.default
correlate_rows_backward = torch.ops.mdflow.correlate_rows_backward.default


def tiled_correlation(features1: Tensor, features2: Tensor, radius: int) -> Tensor:
    """All (2·radius+1)² displacements, row-major, as mdflow.correlation.local_correlation; in float32 at least."""
    batch, channels, height, width = features1.shape
    padded_width = -(-width // TILE) * TILE
    kind = torch.promote_types(features1.dtype, torch.float32)
    # Rows below image 1 and all around image 2: a vertical displacement is then an offset of rows, and the rows of
    # all images go through one batched product.
    rows1 = features1.new_zeros((batch, height + 2 * radius, padded_width, channels), dtype=kind)
    rows1[:, :height, :width] = features1.permute(0, 2, 3, 1)
    rows2 = features2.new_zeros((batch, height + 2 * radius, padded_width + 2 * radius, channels), dtype=kind)
    rows2[:, radius : radius + height, radius : radius + width] = features2.permute(0, 2, 3, 1)
    cost = correlate_rows(rows1, rows2, radius)
    return cost[:, :height, :width].permute(0, 3, 1, 2)


@torch.library.impl("mdflow::correlate_rows", "cpu")
def _correlate_rows(rows1: Tensor, rows2: Tensor, radius: int) -> Tensor:
    """Mean products (B,h,w,(2·radius+1)²) of rows1 (B,h,w,C) with rows2 (B,h,w+2·radius,C).

    The last 2·radius rows of each image hold nothing of use. w is a multiple of TILE.
    """
    side = 2 * radius + 1
    cost = rows1.new_empty(*rows1.shape[:3], side * side)
    flat = cost.view(-1, rows1.shape[2], side, side)
    lines1 = rows1.flatten(0, 1)
    count = len(lines1) - 2 * radius
    band, diagonals = new_band(rows1, count, radius)
    for left in range(0, rows1.shape[2], TILE):
        window2 = windows(rows2, left, count, radius)
        tile1 = lines1[:count, left : left + TILE]
        torch.baddbmm(band, tile1, window2.transpose(1, 2), beta=0, alpha=1 / rows1.shape[3], out=band)
        flat[:count, left : left + TILE] = diagonals
    return cost


@torch.library.register_fake("mdflow::correlate_rows")
def _(rows1: Tensor, rows2: Tensor, radius: int) -> Tensor:
    return rows1.new_empty(*rows1.shape[:3], (2 * radius + 1) ** 2)


@torch.library.impl("mdflow::correlate_rows_backward", "cpu")
def _correlate_rows_backward(gradient: Tensor, rows1: Tensor, rows2: Tensor, radius: int) -> tuple[Tensor, Tensor]:
    """The gradients of rows1 and rows2 from that of their cost."""
    side, breadth = 2 * radius + 1, TILE + 2 * radius
    flat = gradient.reshape(-1, rows1.shape[2], side, side)
    gradient1, gradient2 = torch.zeros_like(rows1), torch.zeros_like(rows2)
    lines1, out1, out2 = rows1.flatten(0, 1), gradient1.flatten(0, 1), gradient2.flatten(0, 1)
    count = len(lines1) - 2 * radius
    band, diagonals = new_band(rows1, count, radius)
    for left in range(0, rows1.shape[2], TILE):
        torch.mul(flat[:count, left : left + TILE], 1 / rows1.shape[3], out=diagonals)
        out1[:count, left : left + TILE] = torch.bmm(band, windows(rows2, left, count, radius))
        parts = torch.bmm(band.transpose(1, 2), lines1[:count, left : left + TILE]).unflatten(1, (side, breadth))
        for dy in range(side):
            out2[dy : dy + count, left : left + breadth] += parts[:, dy]
    return gradient1, gradient2


@torch.library.register_fake("mdflow::correlate_rows_backward")
def _(gradient: Tensor, rows1: Tensor, rows2: Tensor, radius: int) -> tuple[Tensor, Tensor]:
    return torch.empty_like(rows1), torch.empty_like(rows2)


def _save(ctx, inputs: tuple, output: Tensor) -> None:
    rows1, rows2, ctx.radius = inputs
    ctx.save_for_backward(rows1, rows2)


def _differentiate(context, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
    return *correlate_rows_backward(gradient, *context.saved_tensors, context.radius), None


torch.library.register_autograd("mdflow::correlate_rows", _differentiate, setup_context=_save)


def windows(rows2: Tensor, left: int, count: int, radius: int) -> Tensor:
    """The pixels (count, (2·radius+1)·breadth, C) of image 2 around a tile of each of the first `count` rows.

    Neighbouring rows' windows overlap in memory: one copy of the tile's columns serves all of them.
    """
    breadth, channels = TILE + 2 * radius, rows2.shape[-1]
    columns = rows2.flatten(0, 1)[:, left : left + breadth].contiguous()
    shape = (count, (2 * radius + 1) * breadth, channels)
    return columns.as_strided(shape, (breadth * channels, channels, 1))


def new_band(rows: Tensor, count: int, radius: int) -> tuple[Tensor, Tensor]:
    """Zeroed products of a tile with its window, and the view (count, TILE, dy, dx) of those that are kept."""
    side, breadth = 2 * radius + 1, TILE + 2 * radius
    line = side * breadth
    band = rows.new_zeros(count, TILE, line)
    return band, band.as_strided((count, TILE, side, side), (TILE * line, line + 1, breadth, 1))

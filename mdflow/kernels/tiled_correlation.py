"""The local cost volume by matrix products: tiles of a row of image 1 against the window of image 2 around them.

A product computes about twice the values that are needed (the diagonals near its middle are kept), at a matrix
product's speed and without a shifted copy of anything. Forward and backward are operators of their own, which
torch.compile calls as they are: unrolled, they would take it minutes.
"""

import torch
from torch import Tensor

TILE = 8  # pixels of a row in one matrix product; 16 and 32 were slower on two cores

# Defined one by one: torch.library.custom_op would load the compiler at the first call, seconds of it.
torch.library.define("mdflow::correlate_tiles", "(Tensor features1, Tensor features2, int radius) -> Tensor")
torch.library.define(
    "mdflow::correlate_tiles_backward",
    "(Tensor gradient, Tensor features1, Tensor features2, int radius) -> (Tensor, Tensor)",
)
correlate_tiles = torch.ops.mdflow.correlate_tiles.default
correlate_tiles_backward = torch.ops.mdflow.correlate_tiles_backward.default


def tiled_correlation(features1: Tensor, features2: Tensor, radius: int) -> Tensor:
    """All (2·radius+1)² displacements, row-major, as mdflow.correlation.local_correlation; in float32 at least."""
    kind = torch.promote_types(features1.dtype, torch.float32)
    return correlate_tiles(features1.to(kind), features2.to(kind), radius).movedim(-1, 1)


@torch.library.impl("mdflow::correlate_tiles", "cpu")
def _correlate_tiles(features1: Tensor, features2: Tensor, radius: int) -> Tensor:
    """Mean products (B,h,w,(2·radius+1)²) of features (B,C,h,w)."""
    batch, channels, height, width = features1.shape
    rows1, rows2 = padded_rows(features1, radius, 0), padded_rows(features2, radius, radius)
    cost = rows1.new_empty(batch, height, width, 2 * radius + 1, 2 * radius + 1)
    band, diagonals = new_band(rows1, radius)
    for left in range(0, width, TILE):
        tile, wide = Tile(rows1, rows2, left, radius), min(TILE, width - left)
        used = band[: tile.count]
        torch.baddbmm(used, tile.pixels1, tile.windows2.transpose(1, 2), beta=0, alpha=1 / channels, out=used)
        cost[:, :, left : left + wide] = diagonals[:, :height, :wide]
    return cost.flatten(3)


@torch.library.register_fake("mdflow::correlate_tiles")
def _(features1: Tensor, features2: Tensor, radius: int) -> Tensor:
    batch, _, height, width = features1.shape
    return features1.new_empty(batch, height, width, (2 * radius + 1) ** 2)


@torch.library.impl("mdflow::correlate_tiles_backward", "cpu")
def _correlate_tiles_backward(
    gradient: Tensor, features1: Tensor, features2: Tensor, radius: int
) -> tuple[Tensor, Tensor]:
    """The gradients of both features from that of their cost."""
    _, channels, height, width = features1.shape
    side, breadth = 2 * radius + 1, TILE + 2 * radius
    shares = gradient.unflatten(3, (side, side))
    rows1, rows2 = padded_rows(features1, radius, 0), padded_rows(features2, radius, radius)
    gradient1, gradient2 = torch.empty_like(rows1), torch.zeros_like(rows2)  # the first is written whole
    out1, out2 = gradient1.flatten(0, 1), gradient2.flatten(0, 1)
    band, diagonals = new_band(rows1, radius)
    for left in range(0, width, TILE):
        tile, wide = Tile(rows1, rows2, left, radius), min(TILE, width - left)
        used = band[: tile.count]
        if wide < TILE:
            band.zero_()  # the last tile is narrower than what the one before has left there
        torch.mul(shares[:, :, left : left + wide], 1 / channels, out=diagonals[:, :height, :wide])
        out1[: tile.count, left : left + TILE] = torch.bmm(used, tile.windows2)
        parts = torch.bmm(used.transpose(1, 2), tile.pixels1).unflatten(1, (side, breadth))
        for dy in range(side):
            out2[dy : dy + tile.count, left : left + breadth] += parts[:, dy]
    return inner(gradient1, features1, 0), inner(gradient2, features2, radius)


@torch.library.register_fake("mdflow::correlate_tiles_backward")
def _(gradient: Tensor, features1: Tensor, features2: Tensor, radius: int) -> tuple[Tensor, Tensor]:
    rows1, rows2 = empty_rows(features1, radius, 0), empty_rows(features2, radius, radius)
    return inner(rows1, features1, 0), inner(rows2, features2, radius)


def _save(ctx, inputs: tuple, output: Tensor) -> None:
    features1, features2, ctx.radius = inputs
    ctx.save_for_backward(features1, features2)


def _differentiate(context, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
    return *correlate_tiles_backward(gradient, *context.saved_tensors, context.radius), None


torch.library.register_autograd("mdflow::correlate_tiles", _differentiate, setup_context=_save)


def empty_rows(features: Tensor, radius: int, border: int) -> Tensor:
    """Room for features (B,C,h,w) as rows of pixels (B,h+2·radius,w',C), w' whole tiles and two borders.

    With the rows below image 1 and all around image 2 a vertical displacement is an offset of rows, and the rows of all
    images go through one batched product.
    """
    batch, channels, height, width = features.shape
    return features.new_empty(batch, height + 2 * radius, -(-width // TILE) * TILE + 2 * border, channels)


def inner(rows: Tensor, features: Tensor, border: int) -> Tensor:
    """What of the rows stands for the features, in their shape."""
    height, width = features.shape[-2:]
    return rows[:, border : border + height, border : border + width].permute(0, 3, 1, 2)


def padded_rows(features: Tensor, radius: int, border: int) -> Tensor:
    """Features as rows of pixels, zero around them."""
    rows = empty_rows(features, radius, border).zero_()
    inner(rows, features, border).copy_(features)
    return rows


class Tile:
    """TILE pixels of all rows of image 1 from `left` on, and their windows in image 2.

    The last 2·radius rows are left out. `windows2` (count, (2·radius+1)·breadth, C): those of neighbouring rows overlap
    in memory, so one copy of the tile's columns serves all of them.
    """

    def __init__(self, rows1: Tensor, rows2: Tensor, left: int, radius: int) -> None:
        lines1 = rows1.flatten(0, 1)
        self.count = len(lines1) - 2 * radius
        self.pixels1 = lines1[: self.count, left : left + TILE]
        breadth, channels = TILE + 2 * radius, rows2.shape[-1]
        columns = rows2.flatten(0, 1)[:, left : left + breadth].contiguous()
        shape = (self.count, (2 * radius + 1) * breadth, channels)
        self.windows2 = columns.as_strided(shape, (breadth * channels, channels, 1))


def new_band(rows1: Tensor, radius: int) -> tuple[Tensor, Tensor]:
    """Zeroed products (rows, TILE, dy·breadth) of a tile of each row with its window.

    And the view (B,h,TILE,dy,dx) of those that are kept.
    """
    batch, height = rows1.shape[:2]
    side, breadth = 2 * radius + 1, TILE + 2 * radius
    line = side * breadth
    band = rows1.new_zeros(batch * height, TILE, line)
    kept = band.as_strided((batch, height, TILE, side, side), (height * TILE * line, TILE * line, line + 1, breadth, 1))
    return band, kept

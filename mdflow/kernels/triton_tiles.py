"""Which pixels a program of a GPU kernel works on: a tile of one image. Needs Triton."""

import triton
import triton.language as tl

DEVICES = ("cuda", "cpu")  # of the operators; on a CPU Triton's interpreter runs them, with TRITON_INTERPRET=1


@triton.jit
def tile_pixels(width, TILE_HEIGHT: tl.constexpr, TILE_WIDTH: tl.constexpr):
    """Coordinates (y, x) of this program's pixels, tiles in reading order; some may lie outside the image."""
    tile, pixel = tl.program_id(0), tl.arange(0, TILE_HEIGHT * TILE_WIDTH)
    tiles_in_row = tl.cdiv(width, TILE_WIDTH)
    y = tile // tiles_in_row * TILE_HEIGHT + pixel // TILE_WIDTH
    x = tile % tiles_in_row * TILE_WIDTH + pixel % TILE_WIDTH
    return y, x


@triton.jit
def inside(y, x, height, width):
    """Whether pixels lie in the image."""
    return (y >= 0) & (y < height) & (x >= 0) & (x < width)


def tiles(height: int, width: int, tile_height: int, tile_width: int) -> int:
    """How many tiles cover an image."""
    return triton.cdiv(height, tile_height) * triton.cdiv(width, tile_width)

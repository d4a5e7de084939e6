"""The local cost volume on a GPU, forward and backward, for the displacements asked for alone. Needs Triton.

A program keeps its tile of image 1 in registers and reads the shifted tiles of image 2 around it, which the cache
serves. The displacements are known when a kernel is compiled: FastFlowNet's 53 of 81 cost 53. Features may lie in
memory in any order; with their channels last they are read in the longest pieces.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from mdflow.errors import InputError
from mdflow.kernels.triton_tiles import DEVICES, inside, tile_pixels, tiles

TILE_VALUES = 2048  # pixels × channels of a tile, what a program's registers hold
INTERPRETED = triton.knobs.runtime.interpret  # TRITON_INTERPRET=1 at the import: the kernels run on a CPU

torch.library.define("mdflow::correlate", "(Tensor features1, Tensor features2, int[] rows, int[] columns) -> Tensor")
torch.library.define(
    "mdflow::correlate_backward",
    "(Tensor gradient, Tensor features1, Tensor features2, int[] rows, int[] columns) -> (Tensor, Tensor)",
)
correlate = torch.ops.mdflow.correlate.default
correlate_backward = torch.ops.mdflow.correlate_backward.default


def triton_correlation(features1: Tensor, features2: Tensor, displacements: list[tuple[int, int]]) -> Tensor:
    """Means over channels (B,K,H,W) of features1 (B,C,H,W) times features2 at each of K displacements (dy, dx).

    As mdflow.correlation.local_correlation; summed in float32, or float64 for such features. Raises InputError for
    features that no GPU holds.
    """
    if not features1.is_cuda and not INTERPRETED:
        raise InputError(
            f"The correlation backend 'triton' needs a GPU, and the features are on {features1.device}; move the "
            "network and its images to 'cuda', or set TRITON_INTERPRET=1 before the start to try it without one."
        )
    rows, columns = zip(*displacements, strict=True)
    return correlate(features1, features2, rows, columns)


@torch.library.impl("mdflow::correlate", DEVICES)
def _correlate(features1: Tensor, features2: Tensor, rows: list[int], columns: list[int]) -> Tensor:
    """triton_correlation as an operator, which torch.compile calls as it is."""
    cost = new_cost(features1, features2, rows, columns)
    grid, constants = launch(features1, rows, columns)
    cost_tile[grid](features1, features2, cost, features1.stride(), features2.stride(), *cost.shape[2:], **constants)
    return cost


@torch.library.register_fake("mdflow::correlate")
def new_cost(features1: Tensor, features2: Tensor, rows: list[int], columns: list[int]) -> Tensor:
    """Room for the costs."""
    batch, _, height, width = features1.shape
    kind = torch.promote_types(features1.dtype, torch.float32)
    return features1.new_empty(batch, len(rows), height, width, dtype=kind)


@torch.library.impl("mdflow::correlate_backward", DEVICES)
def _correlate_backward(
    gradient: Tensor, features1: Tensor, features2: Tensor, rows: list[int], columns: list[int]
) -> tuple[Tensor, Tensor]:
    """The gradients of both features from that of their cost.

    Each pixel collects its own: of image 1 from the pixels that it was compared with, of image 2 from those that were
    compared with it.
    """
    gradient = gradient.contiguous()
    result1, result2 = new_gradients(gradient, features1, features2, rows, columns)
    back = [-row for row in rows], [-column for column in columns]
    for other, result, steps, shifted in (
        (features2, result1, (rows, columns), False),
        (features1, result2, back, True),
    ):
        grid, constants = launch(result, *steps)
        strides = other.stride(), result.stride()
        gradient_tile[grid](gradient, other, result, *strides, *result.shape[2:], SHIFTED=shifted, **constants)
    return result1, result2


@torch.library.register_fake("mdflow::correlate_backward")
def new_gradients(
    gradient: Tensor, features1: Tensor, features2: Tensor, rows: list[int], columns: list[int]
) -> tuple[Tensor, Tensor]:
    """Room for the gradients."""
    return torch.empty_like(features1), torch.empty_like(features2)


def _save(ctx, inputs: tuple, output: Tensor) -> None:
    features1, features2, ctx.rows, ctx.columns = inputs
    ctx.save_for_backward(features1, features2)


def _differentiate(context, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
    return *correlate_backward(gradient, *context.saved_tensors, context.rows, context.columns), None, None


torch.library.register_autograd("mdflow::correlate", _differentiate, setup_context=_save)


def launch(features: Tensor, rows: list[int], columns: list[int]) -> tuple[tuple[int, int], dict[str, object]]:
    """The grid of programs over features (B,C,H,W), and what is known to the kernels when they are compiled."""
    batch, channels, height, width = features.shape
    block = triton.next_power_of_2(channels)
    pixels = max(TILE_VALUES // block, 4)
    tile_width = triton.next_power_of_2(round(pixels**0.5))
    tile_height = pixels // tile_width
    constants = {
        "CHANNELS": channels,
        "BLOCK": block,
        "TILE_HEIGHT": tile_height,
        "TILE_WIDTH": tile_width,
        "ROWS": tuple(rows),
        "COLUMNS": tuple(columns),
    }
    return (tiles(height, width, tile_height, tile_width), batch), constants


@triton.jit
def cost_tile(
    features1,
    features2,
    cost,
    strides1,
    strides2,
    height,
    width,
    CHANNELS: tl.constexpr,
    BLOCK: tl.constexpr,
    TILE_HEIGHT: tl.constexpr,
    TILE_WIDTH: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """The costs of one tile of one image, all displacements."""
    y, x = tile_pixels(width, TILE_HEIGHT, TILE_WIDTH)
    one = load_vectors(features1, strides1, y, x, height, width, CHANNELS, BLOCK, cost)
    for number in tl.static_range(len(ROWS)):
        other = load_vectors(
            features2, strides2, y + ROWS[number], x + COLUMNS[number], height, width, CHANNELS, BLOCK, cost
        )
        where = costs_at(y, x, number, height, width, len(ROWS))
        tl.store(cost + where, tl.sum(one * other, axis=1) / CHANNELS, mask=inside(y, x, height, width))


@triton.jit
def gradient_tile(
    gradient,
    features,
    result,
    strides,
    result_strides,
    height,
    width,
    CHANNELS: tl.constexpr,
    BLOCK: tl.constexpr,
    TILE_HEIGHT: tl.constexpr,
    TILE_WIDTH: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    SHIFTED: tl.constexpr,
):
    """The gradient of one tile of one image from the other image's features, all displacements.

    SHIFTED: the costs in question are those of the other image's pixels, as they are for image 2.
    """
    y, x = tile_pixels(width, TILE_HEIGHT, TILE_WIDTH)
    total = tl.zeros((TILE_HEIGHT * TILE_WIDTH, BLOCK), gradient.dtype.element_ty)
    for number in tl.static_range(len(ROWS)):
        other_y, other_x = y + ROWS[number], x + COLUMNS[number]
        other = load_vectors(features, strides, other_y, other_x, height, width, CHANNELS, BLOCK, gradient)
        cost_y, cost_x = (other_y, other_x) if SHIFTED else (y, x)
        where = costs_at(cost_y, cost_x, number, height, width, len(ROWS))
        weight = tl.load(gradient + where, mask=inside(cost_y, cost_x, height, width), other=0.0)
        total += weight[:, None] * other
    channel = tl.arange(0, BLOCK)
    mask = inside(y, x, height, width)[:, None] & (channel < CHANNELS)[None, :]
    tl.store(result + vectors_at(result_strides, y, x, BLOCK), total / CHANNELS, mask=mask)


@triton.jit
def costs_at(y, x, number, height, width, COUNT: tl.constexpr):
    """Where the costs of pixels at a displacement lie in (B,K,H,W) of this program's image."""
    image = tl.program_id(1).to(tl.int64) * COUNT + number
    return image * height * width + y * width + x


@triton.jit
def vectors_at(strides, y, x, BLOCK: tl.constexpr):
    """Where the feature vectors (pixels, BLOCK) of pixels lie in this program's image."""
    start = tl.program_id(1).to(tl.int64) * strides[0]
    return start + (y * strides[2] + x * strides[3])[:, None] + (tl.arange(0, BLOCK) * strides[1])[None, :]


@triton.jit
def load_vectors(features, strides, y, x, height, width, CHANNELS: tl.constexpr, BLOCK: tl.constexpr, like):
    """The feature vectors (pixels, BLOCK) of pixels in the type of `like`; zero outside the image."""
    mask = inside(y, x, height, width)[:, None] & (tl.arange(0, BLOCK) < CHANNELS)[None, :]
    return tl.load(features + vectors_at(strides, y, x, BLOCK), mask=mask, other=0.0).to(like.dtype.element_ty)

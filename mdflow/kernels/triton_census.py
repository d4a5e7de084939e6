"""The soft census distance on a GPU, forward and backward: one pass over the images, no maps. Needs Triton."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from mdflow.kernels.census import SOFTNESS, TOLERANCE
from mdflow.kernels.triton_tiles import DEVICES, inside, tile_pixels, tiles

CONSTANTS = {"SOFTNESS": SOFTNESS, "TOLERANCE": TOLERANCE, "TILE_HEIGHT": 8, "TILE_WIDTH": 32}


torch.library.define("mdflow::census_distance", "(Tensor gray1, Tensor gray2, int radius) -> Tensor")
torch.library.define("mdflow::census_gradient", "(Tensor gradient, Tensor gray, Tensor other, int radius) -> Tensor")
census_distance = torch.ops.mdflow.census_distance.default
census_gradient = torch.ops.mdflow.census_gradient.default


@torch.library.impl("mdflow::census_distance", DEVICES)
def _census_distance(gray1: Tensor, gray2: Tensor, radius: int) -> Tensor:
    """Σ Δd²/(0.1 + Δd²) over the window, (B,1,H,W) of such images in 0..255; see CensusDistance."""
    gray1, gray2 = gray1.contiguous(), gray2.contiguous()
    distance = torch.empty_like(gray1)
    height, width = gray1.shape[2:]
    distance_tile[grid(gray1)](gray1, gray2, distance, height, width, radius, **CONSTANTS)
    return distance


@torch.library.register_fake("mdflow::census_distance")
def _(gray1: Tensor, gray2: Tensor, radius: int) -> Tensor:
    return torch.empty_like(gray1, memory_format=torch.contiguous_format)


@torch.library.impl("mdflow::census_gradient", DEVICES)
def _census_gradient(gradient: Tensor, gray: Tensor, other: Tensor, radius: int) -> Tensor:
    """The gradient of `gray` from that of its distance to `other`; the distance is the same both ways round."""
    gradient, gray, other = gradient.contiguous(), gray.contiguous(), other.contiguous()
    result = torch.empty_like(gray)
    height, width = gray.shape[2:]
    gradient_tile[grid(gray)](gradient, gray, other, result, height, width, radius, **CONSTANTS)
    return result


@torch.library.register_fake("mdflow::census_gradient")
def _(gradient: Tensor, gray: Tensor, other: Tensor, radius: int) -> Tensor:
    return torch.empty_like(gray, memory_format=torch.contiguous_format)


def _save(ctx, inputs: tuple, output: Tensor) -> None:
    gray1, gray2, ctx.radius = inputs
    ctx.save_for_backward(gray1, gray2)


def _differentiate(context, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
    gray1, gray2 = context.saved_tensors
    needed1, needed2, _ = context.needs_input_grad
    return (
        census_gradient(gradient, gray1, gray2, context.radius) if needed1 else None,
        census_gradient(gradient, gray2, gray1, context.radius) if needed2 else None,
        None,
    )


torch.library.register_autograd("mdflow::census_distance", _differentiate, setup_context=_save)


def grid(gray: Tensor) -> tuple[int, int]:
    """Programs: tiles of an image, images."""
    batch, _, height, width = gray.shape
    return tiles(height, width, CONSTANTS["TILE_HEIGHT"], CONSTANTS["TILE_WIDTH"]), batch


@triton.jit
def distance_tile(
    gray1,
    gray2,
    distance,
    height,
    width,
    RADIUS: tl.constexpr,
    SOFTNESS: tl.constexpr,
    TOLERANCE: tl.constexpr,
    TILE_HEIGHT: tl.constexpr,
    TILE_WIDTH: tl.constexpr,
):
    """The distance of one tile of one image."""
    y, x = tile_pixels(width, TILE_HEIGHT, TILE_WIDTH)
    image = tl.program_id(1).to(tl.int64) * height * width
    mine = inside(y, x, height, width)
    here = image + y * width + x
    centre1 = tl.load(gray1 + here, mask=mine, other=0.0)
    centre2 = tl.load(gray2 + here, mask=mine, other=0.0)
    total = tl.zeros_like(centre1)
    for dy in range(-RADIUS, RADIUS + 1):
        for dx in tl.static_range(-RADIUS, RADIUS + 1):
            known = inside(y + dy, x + dx, height, width)
            there = here + dy * width + dx
            step1 = tl.load(gray1 + there, mask=known, other=0.0) - centre1
            step2 = tl.load(gray2 + there, mask=known, other=0.0) - centre2
            soft1 = step1 * tl.rsqrt(step1 * step1 + SOFTNESS)
            soft2 = step2 * tl.rsqrt(step2 * step2 + SOFTNESS)
            squared = (soft1 - soft2) * (soft1 - soft2)
            total += tl.where(known, squared / (squared + TOLERANCE), 0.0)
    tl.store(distance + here, total, mask=mine)


@triton.jit
def gradient_tile(
    gradient,
    gray,
    other,
    result,
    height,
    width,
    RADIUS: tl.constexpr,
    SOFTNESS: tl.constexpr,
    TOLERANCE: tl.constexpr,
    TILE_HEIGHT: tl.constexpr,
    TILE_WIDTH: tl.constexpr,
):
    """The gradient of one tile of `gray`: each pixel is the centre of its window and in its neighbours' windows.

    Both ends of a step see the same term with the opposite sign, so their gradients add before it is computed.
    """
    y, x = tile_pixels(width, TILE_HEIGHT, TILE_WIDTH)
    image = tl.program_id(1).to(tl.int64) * height * width
    mine = inside(y, x, height, width)
    here = image + y * width + x
    centre = tl.load(gray + here, mask=mine, other=0.0)
    other_centre = tl.load(other + here, mask=mine, other=0.0)
    gradient_centre = tl.load(gradient + here, mask=mine, other=0.0)
    total = tl.zeros_like(centre)
    for dy in range(-RADIUS, RADIUS + 1):
        for dx in tl.static_range(-RADIUS, RADIUS + 1):
            known = inside(y + dy, x + dx, height, width)
            there = here + dy * width + dx
            step = tl.load(gray + there, mask=known, other=0.0) - centre
            other_step = tl.load(other + there, mask=known, other=0.0) - other_centre
            at_both = tl.load(gradient + there, mask=known, other=0.0) + gradient_centre
            scale = tl.rsqrt(step * step + SOFTNESS)
            difference = step * scale - other_step * tl.rsqrt(other_step * other_step + SOFTNESS)
            below = difference * difference + TOLERANCE
            # d(Δ²/(c + Δ²))/dΔ = 2cΔ/(c + Δ²)², and s'(t) = 0.81/(0.81 + t²)^1.5
            slope = 2 * TOLERANCE * SOFTNESS * difference / (below * below) * scale * scale * scale
            total -= tl.where(known, slope * at_both, 0.0)
    tl.store(result + here, total, mask=mine)

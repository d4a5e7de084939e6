"""The soft census distance, forward and backward, without ever holding its maps in memory.

On a CPU in float32 a kernel takes all of it (cpp/census.cpp), else PyTorch offset by offset.
"""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mdflow.kernels.native import call, panel

SOFTNESS = 0.81  # of a gray-level step, in 0..255 units squared (DDFlow)
TOLERANCE = 0.1  # of a difference of two soft steps, squared


def half_window(radius: int) -> list[tuple[int, int]]:
    """The offsets (dy, dx) of a (2r+1)² window without its centre, one of each opposite pair."""
    steps = range(-radius, radius + 1)
    return [(dy, dx) for dy in range(radius + 1) for dx in steps if dy > 0 or dx > 0]


def ends(image: Tensor, dy: int, dx: int) -> tuple[Tensor, Tensor]:
    """Views of an image (H,W) at x and at x + (dy, dx), for all x where both lie inside."""
    height, width = image.shape
    if dy >= height or abs(dx) >= width:
        return image[:0], image[:0]
    left, right = max(0, -dx), width - max(0, dx)
    return image[: height - dy, left:right], image[dy:, left + dx : right + dx]


class CensusDistance(torch.autograd.Function):
    """Σ Δd²/(0.1 + Δd²) over the window, d = s(neighbour − centre), s(t) = t/√(0.81 + t²); see losses.census.

    s is odd, so the term of an offset at x is that of the opposite offset at its other end: each pair of
    offsets is computed once and added at both ends. One image at a time, so that what is worked on stays
    in a processor's cache; the backward pass computes the steps anew instead of keeping them.
    """

    @staticmethod
    def forward(context, gray1: Tensor, gray2: Tensor, radius: int) -> Tensor:
        context.save_for_backward(gray1, gray2)
        context.radius = radius
        if has_kernel(gray1, gray2):
            gray1, gray2 = gray1.contiguous(), gray2.contiguous()
            distance = torch.empty_like(gray1)
            call("census_distance", [gray1, gray2, distance], sizes_of(gray1, radius), SOFTNESS, TOLERANCE)
            return distance
        distance = torch.zeros_like(gray1)
        for one, other, total in zip(gray1[:, 0], gray2[:, 0], distance[:, 0], strict=True):
            for offset in half_window(radius):
                squared = soft_step(one, offset).sub_(soft_step(other, offset)).square_()
                squared.div_(squared + TOLERANCE)
                for end in ends(total, *offset):
                    end.add_(squared)
        return distance

    @staticmethod
    @once_differentiable
    def backward(context, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        gray1, gray2 = context.saved_tensors
        if has_kernel(gray1, gray2):
            return *kernel_gradients(gray1, gray2, gradient, context.radius, context.needs_input_grad), None
        gradients = [torch.zeros_like(gray1) if needed else None for needed in context.needs_input_grad[:2]]
        for index in range(len(gray1)):
            found = [None if whole is None else whole[index, 0] for whole in gradients]
            add_gradients(gray1[index, 0], gray2[index, 0], gradient[index, 0], context.radius, found)
        return gradients[0], gradients[1], None


def has_kernel(*grays: Tensor) -> bool:
    """Whether images like these have one."""
    return all(gray.device.type == "cpu" and gray.dtype == torch.float32 for gray in grays) and panel() is not None


def sizes_of(gray: Tensor, radius: int) -> list[int]:
    """What the kernel is told of images (B,1,H,W)."""
    return [len(gray), *gray.shape[2:], radius]


def kernel_gradients(
    gray1: Tensor, gray2: Tensor, gradient: Tensor, radius: int, needed: tuple[bool, ...]
) -> tuple[Tensor | None, Tensor | None]:
    """The gradients that are needed, by the kernel; the distance is the same both ways round."""
    if not needed[0]:
        second, first = kernel_gradients(gray2, gray1, gradient, radius, needed[1::-1])
        return first, second
    gray1, gray2, gradient = gray1.contiguous(), gray2.contiguous(), gradient.contiguous()
    found = torch.empty_like(gray1), torch.empty_like(gray2) if needed[1] else None
    call("census_gradients", [gray1, gray2, gradient, *found], sizes_of(gray1, radius), SOFTNESS, TOLERANCE)
    return found


def add_gradients(one: Tensor, other: Tensor, gradient: Tensor, radius: int, gradients: list[Tensor | None]) -> None:
    """Add the distance's gradients by image one and image other (H,W) to those of `gradients` that are not None."""
    for offset in half_window(radius):
        difference = soft_step(one, offset).sub_(soft_step(other, offset))
        at_start, at_end = ends(gradient, *offset)
        # d(Δ²/(c + Δ²))/dΔ = 2cΔ/(c + Δ²)²
        slope = difference.mul(2 * TOLERANCE).div_((difference.square_().add_(TOLERANCE)).square_())
        slope.mul_(at_start + at_end)
        for image, total, sign in ((one, gradients[0], 1.0), (other, gradients[1], -1.0)):
            if total is None:
                continue
            start, end = ends(image, *offset)
            # s'(t) = 0.81/(0.81 + t²)^1.5
            steep = (end - start).square_().add_(SOFTNESS).rsqrt_()
            steep = steep.mul(steep.square()).mul_(SOFTNESS * sign).mul_(slope)
            start_gradient, end_gradient = ends(total, *offset)
            end_gradient.add_(steep)
            start_gradient.sub_(steep)


def soft_step(image: Tensor, offset: tuple[int, int]) -> Tensor:
    """s(image(x + offset) − image(x)) for all x where both lie inside."""
    start, end = ends(image, *offset)
    step = end - start
    return step.mul_(step.square().add_(SOFTNESS).rsqrt_())

"""Normalisation and ReLU of a map in two passes, on a CPU without gradients; the kernel is in cpp/normalization.cpp."""

import torch
from torch import Tensor

from mdflow.kernels.native import are_half, call, channels_last, map_sizes

torch.library.define("mdflow::statistics", "(Tensor x, float least) -> (Tensor, Tensor)")
torch.library.define(
    "mdflow::affine_",
    "(Tensor(a!) x, Tensor scale, Tensor shift, bool relu, Tensor? shortcut) -> ()",
    tags=torch.Tag.needs_fixed_stride_order,
)


def statistics(x: Tensor, least: float) -> tuple[Tensor, Tensor]:
    """The factors and the shifts (B,C) that take each channel of each item to mean 0 and variance 1.

    `least` is added to the variance. In float32.
    """
    return torch.ops.mdflow.statistics.default(x, least)


@torch.library.impl("mdflow::statistics", "cpu")
def _statistics(x: Tensor, least: float) -> tuple[Tensor, Tensor]:
    x, results = channels_last(x), new_statistics(x, least)
    call("statistics", [x, *results], map_sizes(x), least, *are_half(x))
    return results


@torch.library.register_fake("mdflow::statistics")
def new_statistics(x: Tensor, least: float) -> tuple[Tensor, Tensor]:
    """Room for the results."""
    return tuple(x.new_empty(x.shape[:2], dtype=torch.float32) for _ in range(2))


def affine_(x: Tensor, scale: Tensor, shift: Tensor, relu: bool = False, shortcut: Tensor | None = None) -> Tensor:
    """x times `scale` plus `shift`, or its ReLU; with a shortcut its ReLU, then ReLU of the sum of both.

    x, shortcut (B,C,H,W), float32 or both bfloat16, scale and shift (B,C) or (1,C). Computed in float32. The result has
    its channels last in memory; where x has so too, it takes x's place.
    """
    x = channels_last(x)
    torch.ops.mdflow.affine_.default(x, scale, shift, relu, shortcut)
    return x


@torch.library.impl("mdflow::affine_", "cpu")
def _affine(x: Tensor, scale: Tensor, shift: Tensor, relu: bool, shortcut: Tensor | None) -> None:
    scale, shift = (each.expand(len(x), -1).contiguous() for each in (scale, shift))
    maps = [x, scale, shift, None if shortcut is None else channels_last(shortcut)]
    call("affine", maps, map_sizes(x), relu, *are_half(x))


@torch.library.register_fake("mdflow::affine_")
def _change_nothing(x: Tensor, scale: Tensor, shift: Tensor, relu: bool, shortcut: Tensor | None) -> None:
    """Shapes stay."""

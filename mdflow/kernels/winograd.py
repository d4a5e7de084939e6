"""Convolutions of stride 1 by minimal filtering (Winograd), on a CPU in float32; Lavin & Gray, CVPR 2016.

Of the products of a 3×3 kernel a quarter is left, of a 1×5 or 5×1 one two fifths. The results differ by rounding from
those of a direct convolution, about twice as much as those do from float64. The kernels are in winograd_cpp.
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mdflow.kernels.native import native_library

SOURCES = Path(__file__).with_name("winograd_cpp")
PLACES = {(3, 3): 36, (5, 1): 8, (1, 5): 8}  # products of a tile, by kernel
allowed = True  # set by `direct_convolutions`

torch.library.define(
    "mdflow::winograd", "(Tensor x, Tensor transformed, Tensor? bias, int outputs, int groups, int taps) -> Tensor"
)


@contextmanager
def direct_convolutions() -> Iterator[None]:
    """Within, every convolution is PyTorch's own."""
    global allowed
    before, allowed = allowed, False
    try:
        yield
    finally:
        allowed = before


@torch.compiler.assume_constant_result
def fewest_channels() -> int | None:
    """The inputs and outputs that a group needs at least; None where this machine has no such kernels, or is not to."""
    library = native_library(SOURCES) if allowed else None
    return library and library.panel() // 2


def winograd(x: Tensor, transformed: Tensor, bias: Tensor | None, outputs: int, groups: int, taps: int) -> Tensor:
    """The convolution of x (B,C,H,W) that keeps its size, channels last in memory; without a gradient.

    transformed: `transform_weights` of the weights; taps: the rows of their kernel, one of PLACES.
    """
    return torch.ops.mdflow.winograd.default(x, transformed, bias, outputs, groups, taps)


@torch.library.impl("mdflow::winograd", "cpu")
def _winograd(x: Tensor, transformed: Tensor, bias: Tensor | None, outputs: int, groups: int, taps: int) -> Tensor:
    x, y = x.contiguous(memory_format=torch.channels_last), new_outputs(x, transformed, bias, outputs, groups, taps)
    bias = x.new_zeros(outputs) if bias is None else bias
    call("convolve", [x, transformed, bias, y], [len(x), *x.shape[2:], x.shape[1], outputs, groups], taps)
    return y


@torch.library.register_fake("mdflow::winograd")
def new_outputs(x: Tensor, transformed: Tensor, bias: Tensor | None, outputs: int, groups: int, taps: int) -> Tensor:
    """Room for the outputs."""
    size = x.shape[0], outputs, *x.shape[2:]
    return torch.empty(size, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)


def transform_weights(weight: Tensor, groups: int, turned: bool = False) -> Tensor:
    """Weights (O,I,kh,kw) at the places of their lines, as `winograd` takes them.

    turned: for the convolution that takes a gradient of the outputs to one of the inputs.
    """
    inputs, outputs = weight.shape[1] * groups, len(weight)
    if turned:
        inputs, outputs = outputs, inputs
    panel = native_library(SOURCES).panel()
    panels = -(-outputs // groups // panel)
    values = weight.new_empty(groups, PLACES[tuple(weight.shape[2:])], panels, inputs // groups, panel)
    call("transform_weights", [weight.contiguous(), values], [inputs, outputs, groups], weight.shape[2], int(turned))
    return values


def weight_gradient(x: Tensor, gradient: Tensor, weight: Tensor, groups: int) -> Tensor:
    """The gradient of weights like `weight` from that of the outputs (B,O,H,W), for inputs x (B,I,H,W)."""
    x, gradient = (maps.contiguous(memory_format=torch.channels_last) for maps in (x, gradient))
    result = torch.empty_like(weight, memory_format=torch.contiguous_format)
    sizes = [len(x), *x.shape[2:], x.shape[1], len(weight), groups]
    call("weight_gradient", [x, gradient, result], sizes, weight.shape[2])
    return result


def call(function: str, tensors: list[Tensor], sizes: list[int], *flags: int) -> None:
    """A function of winograd_cpp, on as many threads as PyTorch takes."""
    pointers = [ctypes.c_void_p(tensor.data_ptr()) for tensor in tensors]
    getattr(native_library(SOURCES), function)(*pointers, *map(ctypes.c_long, sizes), *flags, torch.get_num_threads())


class WinogradConvolution(torch.autograd.Function):
    """`winograd` with gradients. The weights (O,I,kh,kw) are transformed at each call, since training changes them."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor | None, groups: int) -> Tensor:
        """(B,I,H,W) to (B,O,H,W)."""
        ctx.save_for_backward(x, weight)
        ctx.groups = groups
        return winograd(x, transform_weights(weight, groups), bias, len(weight), groups, weight.shape[2])

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        """The gradients that are wanted; that of x is a convolution of the same kind."""
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias, _ = ctx.needs_input_grad
        turned = transform_weights(weight, ctx.groups, turned=True) if of_x else None
        return (
            winograd(gradient, turned, None, x.shape[1], ctx.groups, weight.shape[2]) if of_x else None,
            weight_gradient(x, gradient, weight, ctx.groups) if of_weight else None,
            gradient.sum((0, 2, 3)) if of_bias else None,
            None,
        )

"""Convolutions of stride 1 by minimal filtering (Winograd), on a CPU in float32; Lavin & Gray, CVPR 2016.

Each with the LeakyReLU and the shuffle of channels behind it, for which the outputs need not be fetched again.

Of the products of a 3×3 kernel a quarter is left, of a 1×5 or 5×1 one two fifths; 1×1 has nothing to filter and takes
the same way, since PyTorch has it on one thread at half the rate. The results differ by rounding from
those of a direct convolution, about twice as much as those do from float64. The kernels are in cpp.
"""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mdflow.kernels.activation import activation_gradient
from mdflow.kernels.kept import once
from mdflow.kernels.native import call, channels_last, panel

PLACES = {(3, 3): 36, (5, 1): 8, (1, 5): 8, (1, 1): 1}  # products of a tile, by kernel

# Operators, so that what only follows shapes (the compiler, the count of operations) never looks at the memory.
torch.library.define(
    "mdflow::winograd",
    "(Tensor x, Tensor weight, Tensor? bias, int groups, bool turned, float slope, int parts) -> Tensor",
    tags=torch.Tag.needs_fixed_stride_order,  # or the compiler would hand over channels first, which costs a copy
)
torch.library.define("mdflow::winograd_gradient", "(Tensor x, Tensor gradient, Tensor weight, int groups) -> Tensor")


def winograd(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    groups: int,
    turned: bool = False,
    slope: float = 1.0,
    parts: int = 1,
) -> Tensor:
    """The convolution of x (B,I,H,W) with weights (O,I,kh,kw), kernels of PLACES, that keeps its size; no gradient.

    Then F.leaky_relu of a slope (1: none) and F.channel_shuffle by `parts` (1: none). The result has its channels last
    in memory. turned: the convolution that takes a gradient of the outputs to one of the inputs.
    """
    return torch.ops.mdflow.winograd.default(x, weight, bias, groups, turned, slope, parts)


@torch.library.impl("mdflow::winograd", "cpu")
def _winograd(
    x: Tensor, weight: Tensor, bias: Tensor | None, groups: int, turned: bool, slope: float, parts: int
) -> Tensor:
    x, y = channels_last(x), new_outputs(x, weight, bias, groups, turned, slope, parts)
    values = once(weight, turned, lambda: transform_weights(weight, groups, turned))
    bias = x.new_zeros(y.shape[1]) if bias is None else bias
    sizes = [len(x), *x.shape[2:], x.shape[1], y.shape[1], groups]
    call("convolve", [x, values, bias, y], sizes, *weight.shape[2:], float(slope), parts)
    return y


@torch.library.register_fake("mdflow::winograd")
def new_outputs(
    x: Tensor, weight: Tensor, bias: Tensor | None, groups: int, turned: bool, slope: float, parts: int
) -> Tensor:
    """Room for the outputs."""
    size = x.shape[0], weight.shape[1] * groups if turned else len(weight), *x.shape[2:]
    return torch.empty(size, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)


def transform_weights(weight: Tensor, groups: int, turned: bool) -> Tensor:
    """The weights at the places of their lines: (groups, places, panels of outputs, inputs, outputs of a panel)."""
    inputs, outputs = weight.shape[1], len(weight) // groups
    if turned:
        inputs, outputs = outputs, inputs
    panels = -(-outputs // panel())
    values = weight.new_empty(groups, PLACES[tuple(weight.shape[2:])], panels, inputs, panel())
    sizes = [inputs * groups, outputs * groups, groups]
    call("transform_weights", [weight.contiguous(), values], sizes, *weight.shape[2:], turned)
    return values


def weight_gradient(x: Tensor, gradient: Tensor, weight: Tensor, groups: int) -> Tensor:
    """The gradient of weights like `weight` from that of the outputs (B,O,H,W), for inputs x (B,I,H,W)."""
    return torch.ops.mdflow.winograd_gradient.default(x, gradient, weight, groups)


@torch.library.impl("mdflow::winograd_gradient", "cpu")
def _winograd_gradient(x: Tensor, gradient: Tensor, weight: Tensor, groups: int) -> Tensor:
    x, gradient = channels_last(x), channels_last(gradient)
    result = new_gradient(x, gradient, weight, groups)
    sizes = [len(x), *x.shape[2:], x.shape[1], len(weight), groups]
    call("weight_gradient", [x, gradient, result], sizes, *weight.shape[2:])
    return result


@torch.library.register_fake("mdflow::winograd_gradient")
def new_gradient(x: Tensor, gradient: Tensor, weight: Tensor, groups: int) -> Tensor:
    """Room for the weights' gradient."""
    return torch.empty_like(weight, memory_format=torch.contiguous_format)


class WinogradConvolution(torch.autograd.Function):
    """`winograd` with gradients."""

    @staticmethod
    def forward(
        ctx, x: Tensor, weight: Tensor, bias: Tensor | None, groups: int, slope: float = 1.0, parts: int = 1
    ) -> Tensor:
        """(B,I,H,W) to (B,O,H,W)."""
        y = winograd(x, weight, bias, groups, slope=slope, parts=parts)
        ctx.alone = slope == 1 and parts == 1
        ctx.save_for_backward(x, weight, None if ctx.alone else y)
        ctx.groups, ctx.slope, ctx.parts = groups, slope, parts
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients that are wanted; that of x is a convolution of the same kind."""
        x, weight, y = ctx.saved_tensors
        of_x, of_weight, of_bias, *_ = ctx.needs_input_grad
        if ctx.alone:
            bias = gradient.sum((0, 2, 3)) if of_bias else None
        else:
            gradient, bias = activation_gradient(gradient, y, ctx.slope, ctx.parts)
        return (
            winograd(gradient, weight, None, ctx.groups, turned=True) if of_x else None,
            weight_gradient(x, gradient, weight, ctx.groups) if of_weight else None,
            bias if of_bias else None,
            None,
            None,
            None,
        )

"""Back through LeakyReLU and a shuffle of channels, on a CPU in float32; the kernel is in cpp/activation.cpp."""

import torch
from torch import Tensor

from mdflow.kernels.native import call, channels_last

torch.library.define(
    "mdflow::activation_gradient",
    "(Tensor gradient, Tensor y, float slope, int parts) -> (Tensor, Tensor)",
    tags=torch.Tag.needs_fixed_stride_order,
)


def activation_gradient(gradient: Tensor, y: Tensor, slope: float, parts: int) -> tuple[Tensor, Tensor]:
    """The gradient of what F.leaky_relu (slope 0 or more), then F.channel_shuffle by `parts`, made y of, from y's.

    All (B,C,H,W). The second result is the sum over items and pixels, (C,): the gradient of a bias.
    """
    return torch.ops.mdflow.activation_gradient.default(gradient, y, slope, parts)


@torch.library.impl("mdflow::activation_gradient", "cpu")
def _activation_gradient(gradient: Tensor, y: Tensor, slope: float, parts: int) -> tuple[Tensor, Tensor]:
    gradient, y = channels_last(gradient), channels_last(y)
    result, bias = new_results(gradient, y, slope, parts)
    channels = y.shape[1]
    sizes = [y.numel() // channels, parts, channels // parts]
    call("activation_gradient", [gradient, y, result, bias], sizes, slope)
    return result, bias


@torch.library.register_fake("mdflow::activation_gradient")
def new_results(gradient: Tensor, y: Tensor, slope: float, parts: int) -> tuple[Tensor, Tensor]:
    """Room for the results."""
    return torch.empty_like(y, memory_format=torch.channels_last), y.new_empty(y.shape[1])

"""The convolution that networks are made of."""

import torch
from torch import Tensor, nn

from mdflow.kernels.half import DEPTH, Link, convolve_chain
from mdflow.kernels.native import has_matrix_unit, panel
from mdflow.kernels.winograd import PLACES, WinogradConvolution, winograd


class Convolution(nn.Conv2d):
    """nn.Conv2d, several times as fast on a CPU in float32 where its kernel allows (mdflow.kernels.winograd).

    In bfloat16 without a gradient it has a kernel too, where the processor has a matrix unit (mdflow.kernels.half). Its
    parameters and its results are those of nn.Conv2d, to rounding.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B,C,H,W) to the outputs."""
        if takes_half(self, x):
            return convolve_chain(x.bfloat16(), [link(self)])
        if not self.is_open(x):
            return super().forward(x)
        if has_gradient(self, x):
            return WinogradConvolution.apply(x, self.weight, self.bias, self.groups)
        return winograd(x, self.weight, self.bias, self.groups)

    def is_open(self, x: Tensor) -> bool:
        """Whether the faster way in float32 is."""
        if torch.compiler.is_exporting() or x.device.type != "cpu" or torch.is_autocast_enabled("cpu"):
            return False
        if x.dtype != torch.float32 or self.weight.dtype != torch.float32:
            return False
        same = self.padding == tuple(side // 2 for side in self.kernel_size) and self.padding_mode == "zeros"
        if not same or self.kernel_size not in PLACES or self.stride != (1, 1) or self.dilation != (1, 1):
            return False
        width = panel()
        return width is not None and min(self.in_channels, self.out_channels) // self.groups >= width // 2


def has_gradient(layer: nn.Conv2d, x: Tensor) -> bool:
    """Whether the outputs will be differentiated."""
    return torch.is_grad_enabled() and (x.requires_grad or layer.weight.requires_grad)


def takes_half(layer: nn.Module, x: Tensor) -> bool:
    """Whether a layer is a convolution that `convolve_chain` can do with such maps."""
    if not isinstance(layer, Convolution) or torch.compiler.is_exporting() or x.device.type != "cpu":
        return False
    if not torch.is_autocast_enabled("cpu") or torch.get_autocast_dtype("cpu") != torch.bfloat16:
        return False
    plain = layer.padding_mode == "zeros" and layer.dilation == (1, 1) and layer.stride[0] == layer.stride[1]
    alone = layer.groups == 1 or layer.in_channels // layer.groups % DEPTH == 0
    return plain and alone and has_matrix_unit() and not has_gradient(layer, x)


def link(layer: Convolution, slope: float = 1.0, parts: int = 1) -> Link:
    """A convolution for `convolve_chain`, with LeakyReLU of a slope and a shuffle of channels by so many parts."""
    return Link(layer.weight, layer.bias, layer.stride[0], layer.padding, layer.groups, slope, parts)

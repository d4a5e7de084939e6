"""The convolution that networks are made of."""

import torch
from torch import Tensor, nn

from mdflow.kernels.half import DEPTH, Link, convolve_chain
from mdflow.kernels.native import asks_matrix_unit, panel
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
        return self.filtered(x) if takes_float(self, x) else super().forward(x)

    def filtered(self, x: Tensor, slope: float = 1.0, parts: int = 1) -> Tensor:
        """By minimal filtering, of what it takes; then F.leaky_relu of a slope and F.channel_shuffle by `parts`."""
        if has_gradient(self, x):
            return WinogradConvolution.apply(x, self.weight, self.bias, self.groups, slope, parts)
        return winograd(x, self.weight, self.bias, self.groups, slope=slope, parts=parts)


def has_gradient(layer: nn.Conv2d, x: Tensor) -> bool:
    """Whether the outputs will be differentiated."""
    learn = layer.weight.requires_grad or (layer.bias is not None and layer.bias.requires_grad)
    return torch.is_grad_enabled() and (x.requires_grad or learn)


def takes_float(layer: nn.Module, x: Tensor) -> bool:
    """Whether a layer is a convolution that `winograd` can do with such maps."""
    if not isinstance(layer, Convolution) or torch.compiler.is_exporting() or x.device.type != "cpu":
        return False
    if x.dim() != 4 or x.shape[1] != layer.in_channels:  # PyTorch takes it, or says what is wrong
        return False
    if torch.is_autocast_enabled("cpu") or x.dtype != torch.float32 or layer.weight.dtype != torch.float32:
        return False
    same = layer.padding == tuple(side // 2 for side in layer.kernel_size) and layer.padding_mode == "zeros"
    if not same or layer.kernel_size not in PLACES or layer.stride != (1, 1) or layer.dilation != (1, 1):
        return False
    width = panel()
    return width is not None and min(layer.in_channels, layer.out_channels) // layer.groups >= width // 2


def takes_half(layer: nn.Module, x: Tensor) -> bool:
    """Whether a layer is a convolution that `convolve_chain` can do with such maps."""
    if not isinstance(layer, Convolution) or torch.compiler.is_exporting() or x.device.type != "cpu":
        return False
    plain = layer.padding_mode == "zeros" and layer.dilation == (1, 1) and layer.stride[0] == layer.stride[1]
    alone = layer.groups == 1 or layer.in_channels // layer.groups % DEPTH == 0
    return plain and alone and x.dim() == 4 and asks_matrix_unit() and not has_gradient(layer, x)


def link(layer: Convolution, slope: float = 1.0, parts: int = 1) -> Link:
    """A convolution for `convolve_chain`, with LeakyReLU of a slope and a shuffle of channels by so many parts."""
    return Link(layer.weight, layer.bias, layer.stride[0], layer.padding, layer.groups, slope, parts)

"""The convolution that networks are made of."""

import torch
from torch import Tensor, nn

from mdflow.kernels.native import panel
from mdflow.kernels.winograd import PLACES, WinogradConvolution, winograd


class Convolution(nn.Conv2d):
    """nn.Conv2d, several times as fast on a CPU in float32 where its kernel allows (mdflow.kernels.winograd).

    Its parameters and its results are those of nn.Conv2d, to rounding.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B,C,H,W) to the outputs."""
        if not self.is_open(x):
            return super().forward(x)
        if torch.is_grad_enabled() and (x.requires_grad or self.weight.requires_grad):
            return WinogradConvolution.apply(x, self.weight, self.bias, self.groups)
        return winograd(x, self.weight, self.bias, self.groups)

    def is_open(self, x: Tensor) -> bool:
        """Whether the faster way is."""
        if torch.compiler.is_exporting() or x.device.type != "cpu" or torch.is_autocast_enabled("cpu"):
            return False
        if x.dtype != torch.float32 or self.weight.dtype != torch.float32:
            return False
        same = self.padding == tuple(side // 2 for side in self.kernel_size) and self.padding_mode == "zeros"
        if not same or self.kernel_size not in PLACES or self.stride != (1, 1) or self.dilation != (1, 1):
            return False
        width = panel()
        return width is not None and min(self.in_channels, self.out_channels) // self.groups >= width // 2

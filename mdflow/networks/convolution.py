"""The convolution that networks are made of."""

import torch
from torch import Tensor, nn

from mdflow.kernels.winograd import PLACES, WinogradConvolution, fewest_channels, transform_weights, winograd


class Convolution(nn.Conv2d):
    """nn.Conv2d, several times as fast on a CPU in float32 where its kernel allows (mdflow.kernels.winograd).

    Its parameters and its results are those of nn.Conv2d, to rounding.
    """

    def __init__(self, *arguments: object, **options: object) -> None:
        super().__init__(*arguments, **options)
        # The weights that were transformed last, their version, and what they became.
        self.prepared: tuple[Tensor, int, Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """(B,C,H,W) to the outputs."""
        if not self.suits(x):
            return super().forward(x)
        if torch.is_grad_enabled() and (x.requires_grad or self.weight.requires_grad):
            return WinogradConvolution.apply(x, self.weight, self.bias, self.groups)
        return winograd(x, self.transformed(), self.bias, self.out_channels, self.groups, self.kernel_size[0])

    def suits(self, x: Tensor) -> bool:
        """Whether the faster way is open."""
        if torch.compiler.is_exporting() or x.device.type != "cpu" or torch.is_autocast_enabled("cpu"):
            return False
        if x.dtype != torch.float32 or self.weight.dtype != torch.float32:
            return False
        same = self.padding == tuple(side // 2 for side in self.kernel_size) and self.padding_mode == "zeros"
        if not same or self.kernel_size not in PLACES or self.stride != (1, 1) or self.dilation != (1, 1):
            return False
        fewest = fewest_channels()
        return fewest is not None and min(self.in_channels, self.out_channels) // self.groups >= fewest

    def transformed(self) -> Tensor:
        """Its weights, transformed; anew when they have changed."""
        weight = self.weight
        if self.prepared is None or self.prepared[0] is not weight or self.prepared[1] != weight._version:
            self.prepared = weight, weight._version, transform_weights(weight.detach(), self.groups)
        return self.prepared[2]

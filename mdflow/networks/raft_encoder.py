"""RAFT's residual encoders (Teed & Deng, ECCV 2020, appendix): an image to a map at 1/8 of its size."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mdflow.errors import InputError
from mdflow.kernels.native import computes
from mdflow.kernels.normalization import rectify_, statistics
from mdflow.networks.convolution import Convolution

Norm = Callable[[int], nn.Module]
EPSILON = 1e-5  # added to variances


class InstanceNorm(nn.Module):
    """nn.InstanceNorm2d, but a single image's channels stay last: its statistics are those of a batch of one."""

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(x, None, None, training=True) if len(x) == 1 else F.instance_norm(x)

    def factors(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The factors and shifts (B,C) of the channels."""
        return statistics(x, EPSILON)


class BatchNorm(nn.BatchNorm2d):
    """nn.BatchNorm2d."""

    def factors(self, x: Tensor) -> tuple[Tensor, Tensor] | None:
        """The factors and shifts (1,C) of the channels; None where it learns, from the batch's own statistics."""
        if self.training or (torch.is_grad_enabled() and self.weight.requires_grad):
            return None
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        return scale[None], (self.bias - self.running_mean * scale)[None]


class NoNorm(nn.Identity):
    """Nothing."""

    def factors(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The factors and shifts (1,C) of the channels."""
        shift = x.new_zeros(1, x.shape[1], dtype=torch.float32)
        return shift + 1, shift


NORMS: dict[str, Norm] = {
    "batch": BatchNorm,
    "instance": lambda channels: InstanceNorm(),
    "none": lambda channels: NoNorm(),
}


def rectified(norm: nn.Module, x: Tensor, shortcut: Tensor | None = None) -> Tensor:
    """ReLU of the normalised map; with a shortcut, then ReLU of the sum of both."""
    factors = norm.factors(x) if computes(x, *([] if shortcut is None else [shortcut])) else None
    if factors is not None:
        return rectify_(x, *factors, shortcut)
    y = F.relu_(norm(x))
    return y if shortcut is None else F.relu_(shortcut + y)


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions beside a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int, norm: Norm) -> None:
        super().__init__()
        self.conv1, self.norm1 = Convolution(inputs, outputs, 3, stride, 1), norm(outputs)
        self.conv2, self.norm2 = Convolution(outputs, outputs, 3, 1, 1), norm(outputs)
        self.shortcut = shortcut(inputs, outputs, stride, norm)

    def forward(self, x: Tensor) -> Tensor:
        y = rectified(self.norm1, self.conv1(x))
        return rectified(self.norm2, self.conv2(y), self.shortcut(x))


class BottleneckBlock(nn.Module):
    """A 3×3 convolution between two 1×1 ones on a quarter of the channels, beside a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int, norm: Norm) -> None:
        super().__init__()
        narrow = outputs // 4
        self.conv1, self.norm1 = Convolution(inputs, narrow, 1), norm(narrow)
        self.conv2, self.norm2 = Convolution(narrow, narrow, 3, stride, 1), norm(narrow)
        self.conv3, self.norm3 = Convolution(narrow, outputs, 1), norm(outputs)
        self.shortcut = shortcut(inputs, outputs, stride, norm)

    def forward(self, x: Tensor) -> Tensor:
        y = rectified(self.norm1, self.conv1(x))
        y = rectified(self.norm2, self.conv2(y))
        return rectified(self.norm3, self.conv3(y), self.shortcut(x))


def shortcut(inputs: int, outputs: int, stride: int, norm: Norm) -> nn.Module:
    """The identity where the block keeps the resolution, else a strided 1×1 convolution."""
    if stride == 1:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride), norm(outputs))


class ResidualEncoder(nn.Module):
    """Image (B,3,H,W) to (B,outputs,H/8,W/8): a 7×7 stem, then three stages of two blocks."""

    def __init__(
        self,
        outputs: int,
        norm: str,
        widths: tuple[int, int, int] = (64, 96, 128),
        block: type = ResidualBlock,
    ) -> None:
        super().__init__()
        if norm not in NORMS:
            raise InputError(f"Unknown normalisation '{norm}'; choose from {', '.join(NORMS)}.")
        make_norm = NORMS[norm]
        self.conv1, self.norm1 = Convolution(3, widths[0], 7, 2, 3), make_norm(widths[0])
        stages, inputs = [], widths[0]
        for width, stride in zip(widths, (1, 2, 2), strict=True):
            stages.append(nn.Sequential(block(inputs, width, stride, make_norm), block(width, width, 1, make_norm)))
            inputs = width
        self.layer1, self.layer2, self.layer3 = stages
        self.conv2 = Convolution(inputs, outputs, 1)
        self.by_image = norm == "instance"
        self.apply(initialize)

    def forward(self, image: Tensor) -> Tensor:
        if self.by_image and image.device.type == "cpu" and len(image) > 1:
            return torch.cat([self(one) for one in image.split(1)])
        x = rectified(self.norm1, self.conv1(image))
        return self.conv2(self.layer3(self.layer2(self.layer1(x))))


def initialize(module: nn.Module) -> None:
    """He's initialisation with the fan of the outputs, as RAFT's encoders."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

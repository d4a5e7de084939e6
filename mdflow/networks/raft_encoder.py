"""RAFT's residual encoders (Teed & Deng, ECCV 2020, appendix): an image to a map at 1/8 of its size."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mdflow.errors import InputError
from mdflow.kernels.native import computes
from mdflow.kernels.normalization import affine_, statistics
from mdflow.networks.convolution import Convolution
from mdflow.networks.layers import chained

Norm = Callable[[int], nn.Module]
EPSILON = 1e-5  # added to variances


class InstanceNorm(nn.Module):
    """nn.InstanceNorm2d, but a single image's channels stay last: its statistics are those of a batch of one."""

    def forward(self, x: Tensor) -> Tensor:
        # A single pixel, which is its own mean, is refused by PyTorch; an export of any size has no such.
        if not torch.compiler.is_exporting() and x.shape[-2:].numel() == 1:
            return torch.zeros_like(x)
        if len(x) == 1:
            return F.batch_norm(x, None, None, training=True, eps=EPSILON)
        return F.instance_norm(x, eps=EPSILON)

    def factors(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The factors and shifts (B,C) of the channels."""
        return statistics(x, EPSILON)


class BatchNorm(nn.BatchNorm2d):
    """nn.BatchNorm2d."""

    def factors(self, x: Tensor) -> tuple[Tensor, Tensor] | None:
        """The factors and shifts (1,C) of the channels; None where it learns, from the batch's own statistics."""
        learns = torch.is_grad_enabled() and (self.weight.requires_grad or self.bias.requires_grad)
        if self.training or learns or self.weight.dtype != torch.float32:
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


def normalized(
    convolution: nn.Module, norm: nn.Module, x: Tensor, relu: bool = True, shortcut: Tensor | None = None
) -> Tensor:
    """The normalised convolution or its ReLU; with a shortcut ReLU of the sum of that and its ReLU."""
    if shortcut is None and isinstance(norm, NoNorm):
        return chained(x, convolution, slope=0.0 if relu else 1.0)
    y = convolution(x)
    factors = norm.factors(y) if computes(y, *([] if shortcut is None else [shortcut])) else None
    if factors is not None:
        return affine_(y, *factors, relu, shortcut)
    y = norm(y)
    y = F.relu_(y) if relu else y
    return y if shortcut is None else F.relu_(shortcut + y)


class Shortcut(nn.Sequential):
    """A convolution and its normalisation."""

    def forward(self, x: Tensor) -> Tensor:
        return normalized(*self, x, relu=False)


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions beside a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int, norm: Norm) -> None:
        super().__init__()
        self.conv1, self.norm1 = Convolution(inputs, outputs, 3, stride, 1), norm(outputs)
        self.conv2, self.norm2 = Convolution(outputs, outputs, 3, 1, 1), norm(outputs)
        self.shortcut = shortcut(inputs, outputs, stride, norm)

    def forward(self, x: Tensor) -> Tensor:
        y = normalized(self.conv1, self.norm1, x)
        return normalized(self.conv2, self.norm2, y, shortcut=self.shortcut(x))


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
        y = normalized(self.conv1, self.norm1, x)
        y = normalized(self.conv2, self.norm2, y)
        return normalized(self.conv3, self.norm3, y, shortcut=self.shortcut(x))


def shortcut(inputs: int, outputs: int, stride: int, norm: Norm) -> nn.Module:
    """The identity where the block keeps the resolution, else a strided 1×1 convolution."""
    if stride == 1:
        return nn.Identity()
    return Shortcut(Convolution(inputs, outputs, 1, stride), norm(outputs))


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
        if self.by_image and image.device.type == "cpu" and len(image) > 1 and not self.has_kernels(image):
            return torch.cat([self(one) for one in image.split(1)])
        x = normalized(self.conv1, self.norm1, image)
        return self.conv2(self.layer3(self.layer2(self.layer1(x))))

    def has_kernels(self, image: Tensor) -> bool:
        """Whether instances are normalised by a kernel, of several images as well as of one."""
        return computes(image) and not (torch.is_grad_enabled() and self.conv1.weight.requires_grad)


def initialize(module: nn.Module) -> None:
    """He's initialisation with the fan of the outputs, as RAFT's encoders."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

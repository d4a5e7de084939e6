"""Blocks that several networks share."""

import torch
from torch import Tensor, nn

from mdflow.geometry import warp

HALF = (torch.bfloat16, torch.float16)


def convolution(
    inputs: int, outputs: int, kernel: int = 3, stride: int = 1, groups: int = 1, dilation: int = 1
) -> nn.Sequential:
    """A convolution that keeps the size (up to its stride), then LeakyReLU of slope 0.1."""
    padding = dilation * (kernel // 2)
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, groups),
        nn.LeakyReLU(0.1, inplace=True),
    )


def joined(*maps: Tensor) -> Tensor:
    """The channels of several maps in a row, as a convolution wants them: last in memory.

    In half precision if one of the maps is: under autocast the convolution would round the others all the same.
    """
    half, last = [one.dtype for one in maps if one.dtype in HALF], torch.channels_last
    kind = half[0] if half else maps[0].dtype
    alike = [one.to(kind).contiguous(memory_format=last) for one in maps]
    # A map of one channel counts as channels first too, and torch.cat then lays out the whole so.
    return torch.cat(alike, dim=1).contiguous(memory_format=last)


def normalize_features(features1: Tensor, features2: Tensor) -> tuple[Tensor, Tensor]:
    """Both maps centred and divided by their standard deviation, statistics of the pair together.

    Taken over space and channels, for each pair of the batch (UFlow, Jonschkowski et al., ECCV 2020,
    section 4.1). Without it a FastFlowNet trained from scratch sits at zero flow for thousands of steps.
    """
    both = torch.stack([features1, features2], dim=1)
    # In two passes, each at the speed of memory; torch.var_mean takes four times as long.
    both = both - both.mean(dim=(1, 2, 3, 4), keepdim=True)
    both = both * (both.square().mean(dim=(1, 2, 3, 4), keepdim=True) + 1e-6).rsqrt()
    return both[:, 0], both[:, 1]


def subtract_mean(image1: Tensor, image2: Tensor) -> tuple[Tensor, Tensor]:
    """Both images minus one scalar, the mean of the pair over frames, channels and pixels (MDFlow)."""
    mean = (image1.mean(dim=(1, 2, 3), keepdim=True) + image2.mean(dim=(1, 2, 3), keepdim=True)) / 2
    return image1 - mean, image2 - mean


def warp_inside(features2: Tensor, flow12: Tensor, align_corners: bool = True) -> Tensor:
    """warp, but zero wherever a part of the sample lies outside the map (PWC-Net's release)."""
    ones = features2.new_ones(features2.shape[0], 1, *features2.shape[-2:])
    warped, inside = warp(torch.cat([features2, ones], dim=1), flow12, align_corners=align_corners).split(
        [features2.shape[1], 1], dim=1
    )
    return warped * (inside > 0.9999).to(warped.dtype)


def initialize(module: nn.Module) -> None:
    """He's initialisation for convolutions, biases zero; as FlowNet and its successors."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.kaiming_normal_(module.weight, nonlinearity="leaky_relu", a=0.1)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


@torch.no_grad()
def start_near_zero(head: nn.Conv2d) -> None:
    """Let the convolution that gives a flow begin at a tenth of He's scale, which means tens of pixels to unlearn."""
    head.weight.mul_(0.1)


@torch.no_grad()
def start_as_bilinear(upsampling: nn.ConvTranspose2d) -> None:
    """Let a 4×4 transposed convolution of stride 2 begin as bilinear upsampling of each channel."""
    line = torch.tensor([0.25, 0.75, 0.75, 0.25])
    upsampling.weight.zero_()
    for channel in range(upsampling.in_channels):
        upsampling.weight[channel, channel] = line[:, None] * line

"""Blocks that several networks share."""

import math
from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mdflow.errors import InputError
from mdflow.geometry import enlarge, warp
from mdflow.kernels.cosines import cosines
from mdflow.kernels.half import convolve_chain
from mdflow.kernels.native import require_one_shape, runs_native
from mdflow.networks.convolution import Convolution, link, takes_float, takes_half

HALF = (torch.bfloat16, torch.float16)
LARGEST = 2**23  # pixels of an enlarged frame; the maps of larger ones would take ten gigabytes and more
PIXELS = (1, 2, 3)  # channels and pixels of each item of a batch
PLACES = (2, 3)
FLAT = 0.1  # of the typical square: a pixel whose own is no more keeps at most 0.7 of its length


class Activated(nn.Sequential):
    """A convolution and its LeakyReLU, at one go where a kernel can."""

    def forward(self, x: Tensor) -> Tensor:
        return chained(x, self)


class Head(nn.Sequential):
    """A convolution, ReLU and another convolution."""

    def __init__(self, first: nn.Conv2d, last: nn.Conv2d) -> None:
        super().__init__(first, nn.ReLU(inplace=True), last)

    def forward(self, x: Tensor) -> Tensor:
        first, _, last = self
        return last(chained(x, first, slope=0.0))


def convolution(
    inputs: int, outputs: int, kernel: int = 3, stride: int = 1, groups: int = 1, dilation: int = 1
) -> Activated:
    """A convolution that keeps the size (up to its stride), then LeakyReLU of slope 0.1."""
    padding = dilation * (kernel // 2)
    return Activated(
        Convolution(inputs, outputs, kernel, stride, padding, dilation, groups),
        nn.LeakyReLU(0.1, inplace=True),
    )


def chained(x: Tensor, *layers: nn.Module, slope: float = 1.0, parts: Sequence[int] = ()) -> Tensor:
    """Layers one after the other, single convolutions and those of `convolution`, at one go where a kernel can.

    Behind each single one there is a LeakyReLU of `slope` (1: none, 0: ReLU), and behind each layer the channels are
    shuffled by so many of `parts`, if those are given.
    """
    parts = parts or (1,) * len(layers)
    alone = [layer[0] if isinstance(layer, Activated) else layer for layer in layers]
    slopes = [layer[1].negative_slope if isinstance(layer, Activated) else slope for layer in layers]
    steps = list(zip(alone, slopes, parts, strict=True))
    if all(takes_half(layer, x) for layer in alone):
        return convolve_chain(x.bfloat16(), [link(*step) for step in steps])
    for step in steps:
        x = one_step(x, *step)
    return x


def one_step(x: Tensor, layer: nn.Module, slope: float, parts: int) -> Tensor:
    """A layer, LeakyReLU and a shuffle, each as it comes where no kernel takes them together."""
    if takes_float(layer, x):
        return layer.filtered(x, slope, parts)
    return shuffle_channels(leaky(layer(x), slope), parts)


def leaky(x: Tensor, slope: float) -> Tensor:
    """F.leaky_relu of a slope (1: none), in place."""
    if slope == 1:
        return x
    return F.leaky_relu_(x, slope) if slope else F.relu_(x)


def activated_cost(cost: Tensor) -> Tensor:
    """LeakyReLU of a cost volume, in place but for one with a gradient, which may be a view."""
    return F.leaky_relu(cost, 0.1, inplace=not cost.requires_grad)


def halved(images: Tensor, stride: int) -> Tensor:
    """Images (B,C,H,W) at half of their size, sides rounded up to multiples of a network's stride."""
    size = [math.ceil(side / 2 / stride) * stride for side in images.shape[-2:]]
    return F.interpolate(images, size, mode="bilinear", align_corners=False, antialias=True)


def scaled(images: Tensor, size: float, stride: int) -> Tensor:
    """Images at so many times their size: enlarged, as they are, or `halved`."""
    if size == 1:
        return images
    changed = halved(images, stride) if size < 1 else enlarge(images, size)
    # As the images came: the first convolutions would keep another order of channels, and take twice as long.
    return changed.contiguous(memory_format=torch.channels_last)


def scaled_frames(images: Tensor, sizes: Iterable[float], stride: int) -> list[Tensor]:
    """Images (B,3,H,W) at each of the sizes, the largest last; those that would be too large are left out."""
    pixels = images.shape[-2] * images.shape[-1]
    return [scaled(images, size, stride) for size in sizes if size <= 1 or size**2 * pixels <= LARGEST]


def fine_stages(fine_iterations: int, finest_iterations: int) -> list[tuple[int, int]]:
    """How many times their size the frames are looked at once more, and how many iterations then."""
    stages = (2, fine_iterations), (4, finest_iterations)
    return [(size, iterations) for size, iterations in stages if iterations]


def rounded(x: Tensor) -> Tensor:
    """In the precision that autocast, if it is on, would give it before the next convolution."""
    kind = x.device.type
    return x.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else x


def joined(*maps: Tensor) -> Tensor:
    """The channels of several maps in a row, as a convolution wants them: last in memory, and rounded."""
    last = torch.channels_last
    alike = [rounded(one).contiguous(memory_format=last) for one in maps]
    # A map of one channel counts as channels first too, and torch.cat then lays out the whole so.
    return torch.cat(alike, dim=1).contiguous(memory_format=last)


def shuffle_channels(x: Tensor, groups: int) -> Tensor:
    """F.channel_shuffle: channel c of group g to place c·groups + g.

    In half precision a product with a permutation, which is exact too and takes two thirds of the time.
    """
    if groups == 1:
        return x
    if torch.compiler.is_exporting():
        return F.channel_shuffle(x, groups)
    if x.dtype not in HALF:
        # Of channels that are last in memory in half of the time.
        return x.movedim(1, -1).unflatten(-1, (groups, -1)).transpose(-1, -2).flatten(-2).contiguous().movedim(-1, 1)
    order = F.channel_shuffle(torch.eye(x.shape[1], dtype=x.dtype, device=x.device)[None], groups)[0]
    return F.conv2d(x, order[..., None, None])


def normalize_features(features1: Tensor, features2: Tensor) -> tuple[Tensor, Tensor]:
    """Both maps with each channel centred over the pair, then each pixel divided by its own length.

    So the mean over channels of their product is nearly a cosine: even of untrained features the best match is then
    the right one at most pixels, where by the statistics of whole maps (UFlow, Jonschkowski et al., ECCV 2020, section
    4.1) the brightest pixel wins, and a FastFlowNet from nothing leaves zero flow late (docs/networks.md). A pixel
    that is far below the typical length, of a blank surface, stays short (FLAT). InputError if the shapes differ.
    """
    require_one_shape(features1, features2)
    # The compiler makes as few passes of it, together with what lies around.
    if runs_native(features1, features2) and not torch.compiler.is_compiling():
        return cosines(features1, features2, FLAT)
    kind = torch.promote_types(features1.dtype, torch.float32)
    centred1, centred2 = subtract_mean(features1.to(kind), features2.to(kind), over=PLACES)
    square1, square2 = mean_square(centred1), mean_square(centred2)
    typical = (square1.mean(dim=PLACES, keepdim=True) + square2.mean(dim=PLACES, keepdim=True)) / 2
    least = FLAT * typical + 1e-8
    return centred1 * (square1 + least).rsqrt(), centred2 * (square2 + least).rsqrt()


def mean_square(features: Tensor) -> Tensor:
    """The mean over channels of the squares, (B,1,h,w)."""
    # By the norm, which makes no map of squares.
    return torch.linalg.vector_norm(features, dim=1, keepdim=True).square() / features.shape[1]


def subtract_mean(map1: Tensor, map2: Tensor, over: Sequence[int] = PIXELS) -> tuple[Tensor, Tensor]:
    """Both maps minus the mean of the pair; of images one scalar over frames, channels and pixels (MDFlow)."""
    mean = (map1.mean(dim=over, keepdim=True) + map2.mean(dim=over, keepdim=True)) / 2
    return map1 - mean, map2 - mean


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


def check_choice(what: str, given: str, known: object) -> None:
    """Raise InputError unless `given` is one of the known names."""
    if given not in known:
        raise InputError(f"Unknown {what} '{given}'; choose from {', '.join(known)}.")

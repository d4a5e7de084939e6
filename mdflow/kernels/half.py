"""Convolutions in bfloat16 on a CPU with a matrix unit (AMX), without gradients; the kernel is in cpp/half.cpp.

A chain of them, each with bias, LeakyReLU and shuffle of channels, keeps what lies between two of them in the cache.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from mdflow.errors import InputError
from mdflow.kernels.kept import once
from mdflow.kernels.native import call, channels_last

SIDE, DEPTH = 16, 32  # outputs of a tile, and inputs
NUMBERS = 5  # of a link, beside the shape of its weights


@dataclass(frozen=True)
class Link:
    """A convolution as F.conv2d's, then F.leaky_relu (slope 1: none), then F.channel_shuffle by `parts` (1: none).

    In several groups each has a multiple of DEPTH inputs.
    """

    weight: Tensor
    bias: Tensor | None
    stride: int
    padding: tuple[int, int]
    groups: int
    slope: float
    parts: int


torch.library.define(
    "mdflow::convolve_chain",
    "(Tensor x, Tensor[] weights, Tensor[] biases, int[] numbers, float[] slopes) -> Tensor",
    tags=torch.Tag.needs_fixed_stride_order,
)


def convolve_chain(x: Tensor, links: Sequence[Link]) -> Tensor:
    """The links one after the other, of x (B,I,H,W) in bfloat16; weights and biases are rounded as autocast would.

    The result is bfloat16, its channels last in memory. InputError if a link takes other channels than come to it.
    """
    channels = x.shape[1]
    for link in links:
        wanted = link.weight.shape[1] * link.groups
        if wanted != channels:
            raise InputError(f"The convolution takes {wanted} channels, got {channels}.")
        channels = len(link.weight)
    biases = [link.weight.new_zeros(len(link.weight)) if link.bias is None else link.bias for link in links]
    numbers = [n for link in links for n in (link.groups, link.stride, *link.padding, link.parts)]
    weights, slopes = [link.weight for link in links], [link.slope for link in links]
    return torch.ops.mdflow.convolve_chain.default(x, weights, biases, numbers, slopes)


@torch.library.impl("mdflow::convolve_chain", "cpu")
def _convolve(
    x: Tensor, weights: list[Tensor], biases: list[Tensor], numbers: list[int], slopes: list[float]
) -> Tensor:
    y = new_outputs(x, weights, biases, numbers, slopes)
    # Each thread has rows of its own, and computes those before and behind them that later links look at anew.
    if len(y) * y.shape[2] >= 2 * len(weights) * torch.get_num_threads():
        return run_links(x, weights, biases, numbers, slopes, y)
    for i, one in enumerate(zip(weights, biases, strict=True)):
        options = *([part] for part in one), numbers[NUMBERS * i : NUMBERS * (i + 1)], slopes[i : i + 1]
        x = run_links(x, *options, new_outputs(x, *options))
    return x


def run_links(
    x: Tensor, weights: list[Tensor], biases: list[Tensor], numbers: list[int], slopes: list[float], y: Tensor
) -> Tensor:
    """The links at one go, to y."""
    x, layers, held = channels_last(x), [], []
    for i, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        groups, stride, *padding, parts = numbers[NUMBERS * i : NUMBERS * (i + 1)]
        packed = once(weight, "half", lambda weight=weight, groups=groups: pack_weights(weight, groups))
        padded = once(bias, "half", lambda bias=bias: F.pad(bias.detach().bfloat16().float(), (0, SIDE)))
        order = channel_order(len(weight), parts)
        layers += [weight.shape[1] * groups, len(weight), groups, *weight.shape[2:], stride, *padding]
        held += [packed, padded, order]
    pointers = torch.tensor([0 if each is None else each.data_ptr() for each in held])
    maps = [x, torch.tensor(layers), pointers, torch.tensor(slopes, dtype=torch.float32), y]
    call("convolve_chain", maps, [len(x), *x.shape[2:], len(weights)])
    return y


@torch.library.register_fake("mdflow::convolve_chain")
def new_outputs(
    x: Tensor, weights: list[Tensor], biases: list[Tensor], numbers: list[int], slopes: list[float]
) -> Tensor:
    """Room for the outputs."""
    sides = x.shape[2:]
    for i, weight in enumerate(weights):
        _, stride, *padding, _ = numbers[NUMBERS * i : NUMBERS * (i + 1)]
        sizes = zip(sides, padding, weight.shape[2:], strict=True)
        sides = [(side + 2 * more - kernel) // stride + 1 for side, more, kernel in sizes]
    size = len(x), len(weights[-1]), *sides
    return torch.empty(size, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)


def pack_weights(weight: Tensor, groups: int) -> Tensor:
    """Weights (O,I,kh,kw) as the kernel reads them.

    (groups, columns of SIDE outputs, rows of the kernel, chunks of DEPTH inputs, pairs of inputs, outputs, 2).
    """
    values = weight.detach().bfloat16().unflatten(0, (groups, -1)).permute(0, 1, 3, 4, 2)
    inputs = values.shape[-1]
    if inputs > DEPTH:
        values = F.pad(values, (0, -inputs % DEPTH))
    rows = values.flatten(-2)
    rows = F.pad(rows, (0, -rows.shape[-1] % DEPTH, 0, 0, 0, -rows.shape[1] % SIDE))
    pairs = rows.unflatten(-1, (-1, DEPTH // 2, 2)).unflatten(1, (-1, SIDE))
    return pairs.permute(0, 1, 3, 4, 5, 2, 6).contiguous()


@functools.cache
def channel_order(outputs: int, parts: int) -> Tensor | None:
    """Which channel each one of the shuffled outputs is; None without a shuffle."""
    return torch.arange(outputs, dtype=torch.int32).view(parts, -1).t().flatten() if parts > 1 else None

"""The shuffle of channels that are last in memory, as an operator: the compiler would gather number by number."""

import torch
from torch import Tensor

from mdflow.kernels.native import call, channels_last, panel

torch.library.define("mdflow::shuffle", "(Tensor x, int groups) -> Tensor", tags=torch.Tag.needs_fixed_stride_order)


def shuffle(x: Tensor, groups: int) -> Tensor:
    """F.channel_shuffle of x (B,C,H,W), on a CPU in half of its time, in float32 with a kernel in less."""
    return torch.ops.mdflow.shuffle.default(x, groups)


@torch.library.impl("mdflow::shuffle", "CompositeExplicitAutograd")
def _shuffle(x: Tensor, groups: int) -> Tensor:
    if x.device.type != "cpu" or x.dtype != torch.float32 or panel() is None:
        return x.movedim(1, -1).unflatten(-1, (groups, -1)).transpose(-1, -2).flatten(-2).contiguous().movedim(-1, 1)
    x = channels_last(x)
    shuffled = torch.empty_like(x)
    call("shuffle_channels", [x, shuffled], [x.numel() // x.shape[1], groups, x.shape[1] // groups])
    return shuffled


@torch.library.register_fake("mdflow::shuffle")
def _(x: Tensor, groups: int) -> Tensor:
    return torch.empty_like(x, memory_format=torch.channels_last)


def remember(ctx, inputs: tuple[Tensor, int], output: Tensor) -> None:
    """What the way back needs."""
    ctx.groups = inputs[0].shape[1] // inputs[1]


def back(ctx, gradient: Tensor) -> tuple[Tensor, None]:
    """A shuffle by as many groups as channels of a group undoes it."""
    return shuffle(gradient, ctx.groups), None


torch.library.register_autograd("mdflow::shuffle", back, setup_context=remember)

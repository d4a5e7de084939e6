"""The local cost volume at listed displacements alone, on a CPU in float32; the kernels are in cpp/correlation.cpp."""

import functools

import torch
from torch import Tensor

from mdflow.errors import InputError
from mdflow.kernels.native import PIECE, call, channels_last, panel

torch.library.define(
    "mdflow::correlate_listed",
    "(Tensor features1, Tensor features2, int[] displacements) -> Tensor",
    tags=torch.Tag.needs_fixed_stride_order,
)
torch.library.define(
    "mdflow::correlate_listed_backward",
    "(Tensor gradient, Tensor features1, Tensor features2, int[] displacements) -> (Tensor, Tensor)",
)


def has_listed_correlation(features: Tensor) -> bool:
    """Whether maps (B,C,h,w) like these can be correlated so."""
    kind = features.device.type == "cpu" and features.dtype != torch.float64
    return kind and features.shape[1] % PIECE == 0 and panel() is not None


def listed_correlation(features1: Tensor, features2: Tensor, displacements: list[tuple[int, int]]) -> Tensor:
    """As mdflow.correlation.local_correlation, the channels last in memory; InputError where there is no kernel."""
    if not has_listed_correlation(features1):
        raise InputError(
            f"Correlation at listed displacements needs kernels for the processor, float32 and a multiple of {PIECE} "
            f"channels, got {features1.shape[1]} in {features1.dtype}; take another backend."
        )
    listed = [step for displacement in displacements for step in displacement]
    maps = [channels_last(features.float()) for features in (features1, features2)]
    return torch.ops.mdflow.correlate_listed.default(*maps, listed).movedim(-1, 1)


@torch.library.impl("mdflow::correlate_listed", "cpu")
def _correlate(features1: Tensor, features2: Tensor, displacements: list[int]) -> Tensor:
    costs = new_costs(features1, features2, displacements)
    maps = [channels_last(features1), channels_last(features2), listed_steps(tuple(displacements)), costs]
    call("correlate", maps, sizes_of(features1, displacements))
    return costs


@torch.library.register_fake("mdflow::correlate_listed")
def new_costs(features1: Tensor, features2: Tensor, displacements: list[int]) -> Tensor:
    """Room for the costs (B,h,w,K)."""
    batch, _, height, width = features1.shape
    return features1.new_empty(batch, height, width, len(displacements) // 2)


@torch.library.impl("mdflow::correlate_listed_backward", "cpu")
def _gradients(
    gradient: Tensor, features1: Tensor, features2: Tensor, displacements: list[int]
) -> tuple[Tensor, Tensor]:
    found = new_gradients(gradient, features1, features2, displacements)
    maps = [channels_last(features1), channels_last(features2), listed_steps(tuple(displacements))]
    call("correlation_gradients", [*maps, gradient.contiguous(), *found], sizes_of(features1, displacements))
    return found


@torch.library.register_fake("mdflow::correlate_listed_backward")
def new_gradients(
    gradient: Tensor, features1: Tensor, features2: Tensor, displacements: list[int]
) -> tuple[Tensor, Tensor]:
    """Room for the gradients of both features."""
    return tuple(torch.empty_like(maps, memory_format=torch.channels_last) for maps in (features1, features2))


@functools.cache
def listed_steps(displacements: tuple[int, ...]) -> Tensor:
    """The displacements as the kernels read them."""
    return torch.tensor(displacements, dtype=torch.int64)


def sizes_of(features1: Tensor, displacements: list[int]) -> list[int]:
    """What the kernels are told of the maps."""
    batch, channels, height, width = features1.shape
    return [batch, height, width, channels, len(displacements) // 2]


def remember(ctx, inputs: tuple, output: Tensor) -> None:
    """What the way back needs."""
    features1, features2, ctx.displacements = inputs
    ctx.save_for_backward(features1, features2)


def back(ctx, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
    """The gradients of both features."""
    found = torch.ops.mdflow.correlate_listed_backward.default(gradient, *ctx.saved_tensors, ctx.displacements)
    return *found, None


torch.library.register_autograd("mdflow::correlate_listed", back, setup_context=remember)

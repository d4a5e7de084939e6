"""Features whose inner products are cosines, and the way back, on a CPU; the kernels are in cpp/cosines.cpp."""

import torch
from torch import Tensor

from mdflow.kernels.native import are_half, call, channels_last, map_sizes

torch.library.define(
    "mdflow::cosines",
    "(Tensor features1, Tensor features2, float flat) -> (Tensor, Tensor, Tensor)",
    tags=torch.Tag.needs_fixed_stride_order,
)
torch.library.define(
    "mdflow::cosine_gradients",
    "(Tensor gradient1, Tensor gradient2, Tensor features1, Tensor features2, Tensor statistics, float flat) "
    "-> (Tensor, Tensor)",
    tags=torch.Tag.needs_fixed_stride_order,
)


def cosines(features1: Tensor, features2: Tensor, flat: float) -> tuple[Tensor, Tensor]:
    """Both maps (B,C,h,w), float32 or bfloat16, centred by the means of both and each pixel divided by its length.

    A length is the root of the mean square over channels plus `flat` times that of both maps. In float32, with
    gradients.
    """
    cosines1, cosines2, _ = torch.ops.mdflow.cosines.default(features1, features2, flat)
    return cosines1, cosines2


@torch.library.impl("mdflow::cosines", "cpu")
def _cosines(features1: Tensor, features2: Tensor, flat: float) -> tuple[Tensor, Tensor, Tensor]:
    maps, results = [channels_last(features1), channels_last(features2)], new_cosines(features1, features2, flat)
    call("cosines", [*maps, *results], map_sizes(features1), flat, *are_half(*maps))
    return results


@torch.library.register_fake("mdflow::cosines")
def new_cosines(features1: Tensor, features2: Tensor, flat: float) -> tuple[Tensor, Tensor, Tensor]:
    """Room for the results."""
    last, single = torch.channels_last, torch.float32
    maps = [torch.empty_like(each, dtype=single, memory_format=last) for each in (features1, features2)]
    return *maps, features1.new_empty(len(features1), features1.shape[1] + 1, dtype=single)


@torch.library.impl("mdflow::cosine_gradients", "cpu")
def _gradients(
    gradient1: Tensor, gradient2: Tensor, features1: Tensor, features2: Tensor, statistics: Tensor, flat: float
) -> tuple[Tensor, Tensor]:
    results = new_gradients(gradient1, gradient2, features1, features2, statistics, flat)
    maps = [channels_last(each) for each in (gradient1, gradient2, features1, features2)]
    call("cosine_gradients", [*maps, statistics, *results], map_sizes(features1), flat, *are_half(features1, features2))
    return results


@torch.library.register_fake("mdflow::cosine_gradients")
def new_gradients(
    gradient1: Tensor, gradient2: Tensor, features1: Tensor, features2: Tensor, statistics: Tensor, flat: float
) -> tuple[Tensor, Tensor]:
    """Room for the results."""
    return tuple(torch.empty_like(each, memory_format=torch.channels_last) for each in (features1, features2))


def remember(ctx, inputs: tuple, output: tuple) -> None:
    """What the way back needs."""
    features1, features2, ctx.flat = inputs
    ctx.save_for_backward(features1, features2, output[2])


def back(ctx, gradient1: Tensor, gradient2: Tensor, _: Tensor) -> tuple[Tensor, Tensor, None]:
    """The gradients of both maps."""
    return *torch.ops.mdflow.cosine_gradients.default(gradient1, gradient2, *ctx.saved_tensors, ctx.flat), None


torch.library.register_autograd("mdflow::cosines", back, setup_context=remember)

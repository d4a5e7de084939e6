"""RAFT's convex upsampling in one pass, on a CPU without gradients; the kernel is in cpp/mixing.cpp."""

import torch
from torch import Tensor

from mdflow.kernels.native import are_half, call, channels_last

torch.library.define(
    "mdflow::convex_mix",
    "(Tensor logits, Tensor flow, int factor, float temperature, bool replicate) -> Tensor",
    tags=torch.Tag.needs_fixed_stride_order,
)


def convex_mix(logits: Tensor, flow: Tensor, factor: int, temperature: float, replicate: bool) -> Tensor:
    """A flow (B,2,h,w) in float32 to (B,2,factor·h,factor·w) in the same unit, each vector a mix of the 3×3 around it.

    The weights are the softmax of `temperature` times nine of the logits (B,9·factor²,h,w), float32 or bfloat16, the
    first neighbour's of all fine pixels first. Beyond the border there are zeros, or with `replicate` the border's own
    vectors.
    """
    return torch.ops.mdflow.convex_mix.default(logits, flow, factor, temperature, replicate)


@torch.library.impl("mdflow::convex_mix", "cpu")
def _convex_mix(logits: Tensor, flow: Tensor, factor: int, temperature: float, replicate: bool) -> Tensor:
    fine = new_flow(logits, flow, factor, temperature, replicate)
    sizes, half = [len(flow), *flow.shape[2:], factor], are_half(logits)
    call("convex_mix", [channels_last(logits), flow.contiguous(), fine], sizes, temperature, replicate, *half)
    return fine


@torch.library.register_fake("mdflow::convex_mix")
def new_flow(logits: Tensor, flow: Tensor, factor: int, temperature: float, replicate: bool) -> Tensor:
    """Room for the result."""
    batch, _, height, width = flow.shape
    return flow.new_empty(batch, 2, factor * height, factor * width)

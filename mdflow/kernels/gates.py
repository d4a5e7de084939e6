"""A recurrent unit between its convolutions, on a CPU without gradients; the kernel is in cpp/gates.cpp.

The sums, sigmoids and products of each half take one pass, which also joins what the next convolution wants joined.
"""

import torch
from torch import Tensor

from mdflow.kernels.native import are_half, call, channels_last

torch.library.define(
    "mdflow::unit_gates",
    "(Tensor gates, Tensor share, Tensor hidden, Tensor inputs) -> (Tensor, Tensor)",
    tags=torch.Tag.needs_fixed_stride_order,
)
torch.library.define(
    "mdflow::unit_state",
    "(Tensor candidate, Tensor share, Tensor update, Tensor hidden) -> Tensor",
    tags=torch.Tag.needs_fixed_stride_order,
)


def unit_gates(gates: Tensor, share: Tensor, hidden: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """The update, and what the candidate's convolution takes: the hidden state behind the reset, joined with `inputs`.

    gates (B,2C,h,w), update and reset; the context's share of them and of the candidate (B,3C,h,w); hidden (B,C,h,w);
    inputs (B,I,h,w): all float32 or all bfloat16, as are the results; the hidden state is either of them. Computed in
    float32.
    """
    return torch.ops.mdflow.unit_gates.default(gates, share, hidden, inputs)


@torch.library.impl("mdflow::unit_gates", "cpu")
def _unit_gates(gates: Tensor, share: Tensor, hidden: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor]:
    maps = [channels_last(each) for each in (gates, share, hidden, inputs)]
    results = new_gates(*maps)
    call("unit_gates", [*maps, *results], [*sizes_of(hidden), inputs.shape[1]], *are_half(gates, hidden))
    return results


@torch.library.register_fake("mdflow::unit_gates")
def new_gates(gates: Tensor, share: Tensor, hidden: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Room for the results."""
    batch, channels, height, width = hidden.shape
    widths = channels, channels + inputs.shape[1]
    return tuple(new_map(gates, (batch, wide, height, width)) for wide in widths)


def unit_state(candidate: Tensor, share: Tensor, update: Tensor, hidden: Tensor) -> Tensor:
    """The next hidden state, of the kind of the one before; maps (B,C,h,w), and the share, as for `unit_gates`."""
    return torch.ops.mdflow.unit_state.default(candidate, share, update, hidden)


@torch.library.impl("mdflow::unit_state", "cpu")
def _unit_state(candidate: Tensor, share: Tensor, update: Tensor, hidden: Tensor) -> Tensor:
    maps = [channels_last(each) for each in (candidate, share, update, hidden)]
    result = new_state(*maps)
    call("unit_state", [*maps, result], sizes_of(hidden), *are_half(candidate, hidden))
    return result


@torch.library.register_fake("mdflow::unit_state")
def new_state(candidate: Tensor, share: Tensor, update: Tensor, hidden: Tensor) -> Tensor:
    """Room for the result."""
    return new_map(hidden, hidden.shape)


def new_map(like: Tensor, size: tuple[int, ...]) -> Tensor:
    """Room for a map of the kind of another, its channels last in memory."""
    return torch.empty(size, dtype=like.dtype, device=like.device, memory_format=torch.channels_last)


def sizes_of(hidden: Tensor) -> list[int]:
    """What the kernels are told of the hidden state."""
    return [hidden.numel() // hidden.shape[1], hidden.shape[1]]

"""RAFT's update operator (Teed & Deng, ECCV 2020, section 3.3): matching cost and flow to a better flow."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mdflow.kernels.gates import unit_gates, unit_state
from mdflow.kernels.native import computes
from mdflow.networks.convolution import Convolution, has_gradient
from mdflow.networks.layers import Head, chained, joined
from mdflow.networks.raft_aggregation import MotionAggregation


class MotionEncoder(nn.Module):
    """Matching costs and flow to motion features; their last two channels are the flow itself.

    `cost_widths`: outputs of the convolutions on the cost, the first 1×1, a second 3×3.
    """

    def __init__(self, costs: int, cost_widths: tuple[int, ...], flow_widths: tuple[int, int], outputs: int) -> None:
        super().__init__()
        self.outputs = outputs
        self.cost = nn.ModuleList(
            Convolution(a, b, kernel, padding=kernel // 2)
            for (a, b), kernel in zip(pairwise((costs, *cost_widths)), (1, 3), strict=False)
        )
        self.flow1 = Convolution(2, flow_widths[0], 7, padding=3)
        self.flow2 = Convolution(flow_widths[0], flow_widths[1], 3, padding=1)
        self.joint = Convolution(cost_widths[-1] + flow_widths[1], outputs - 2, 3, padding=1)

    def forward(self, cost: Tensor, flow: Tensor) -> Tensor:
        cost, motion = chained(cost, *self.cost, slope=0.0), chained(flow, self.flow1, self.flow2, slope=0.0)
        return joined(chained(joined(cost, motion), self.joint, slope=0.0), flow)


class ConvGRU(nn.Module):
    """A convolutional gated recurrent unit whose context does not change between iterations.

    So the context's share of the gates is computed once, by `context`, and added at each iteration.
    """

    def __init__(self, hidden: int, inputs: int, context: int, kernel: tuple[int, int]) -> None:
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2)
        self.gates = Convolution(hidden + inputs, 2 * hidden, kernel, padding=padding)
        self.candidate = Convolution(hidden + inputs, hidden, kernel, padding=padding)
        self.context = Convolution(context, 3 * hidden, kernel, padding=padding, bias=False)
        # Drawn as if one convolution saw hidden state, inputs and context together.
        bound = ((hidden + inputs + context) * kernel[0] * kernel[1]) ** -0.5
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def forward(self, hidden: Tensor, inputs: Tensor, share: Tensor) -> Tensor:
        """The next hidden state; `share` is self.context of the context features."""
        channels, gates = hidden.shape[1], self.gates(joined(hidden, inputs))
        if computes(gates, share, inputs) and computes(hidden) and not has_gradient(self.candidate, hidden):
            update, joint = unit_gates(gates, share, hidden, inputs)
            return unit_state(self.candidate(joint), share, update, hidden)
        gates = torch.sigmoid(gates + share[:, : 2 * channels])
        update, reset = gates.chunk(2, dim=1)
        candidate = self.candidate(joined(reset * hidden, inputs)) + share[:, 2 * channels :]
        return hidden + update * (torch.tanh(candidate) - hidden)


class ContextTerms(NamedTuple):
    """What the context adds to every iteration: a share of each GRU's gates, and GMA's attention."""

    shares: list[Tensor]
    attention: Tensor | None


class UpdateBlock(nn.Module):
    """One iteration: motion features, then one GRU for each kernel, then a flow increment.

    `head`: width of the flow head; `aggregate`: share motion between pixels as GMA does.
    """

    def __init__(
        self,
        motion: MotionEncoder,
        hidden: int,
        context: int,
        kernels: Sequence[tuple[int, int]],
        head: int,
        aggregate: bool = False,
    ) -> None:
        super().__init__()
        self.motion = motion
        self.aggregation = MotionAggregation(context, motion.outputs) if aggregate else None
        inputs = 2 * motion.outputs if aggregate else motion.outputs
        self.grus = nn.ModuleList(ConvGRU(hidden, inputs, context, kernel) for kernel in kernels)
        self.flow = Head(Convolution(hidden, head, 3, padding=1), Convolution(head, 2, 3, padding=1))

    def prepare(self, context: Tensor) -> ContextTerms:
        """What can be computed of the context features once for all iterations."""
        attention = None if self.aggregation is None else self.aggregation.attention(context)
        return ContextTerms([gru.context(context) for gru in self.grus], attention)

    def forward(self, hidden: Tensor, terms: ContextTerms, cost: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
        """The next hidden state and the increment (B,2,h,w) of the flow."""
        motion = self.motion(cost, flow)
        if self.aggregation is not None:
            motion = joined(motion, self.aggregation(motion, terms.attention))
        for gru, share in zip(self.grus, terms.shares, strict=True):
            hidden = gru(hidden, motion, share)
        return hidden, self.flow(hidden)

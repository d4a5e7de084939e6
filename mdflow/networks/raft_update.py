"""RAFT's update operator (Teed & Deng, ECCV 2020, section 3.3): matching cost and flow to a better flow."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class MotionEncoder(nn.Module):
    """Matching costs and flow to motion features; their last two channels are the flow itself.

    `cost_widths`: outputs of the convolutions on the cost, the first 1×1, a second 3×3.
    """

    def __init__(
        self, costs: int, cost_widths: tuple[int, ...], flow_widths: tuple[int, int], outputs: int
    ) -> None:
        super().__init__()
        widths = (costs, *cost_widths)
        self.cost = nn.ModuleList(
            nn.Conv2d(a, b, kernel, padding=kernel // 2)
            for (a, b), kernel in zip(pairwise(widths), (1, 3), strict=False)
        )
        self.flow1 = nn.Conv2d(2, flow_widths[0], 7, padding=3)
        self.flow2 = nn.Conv2d(flow_widths[0], flow_widths[1], 3, padding=1)
        self.joint = nn.Conv2d(cost_widths[-1] + flow_widths[1], outputs - 2, 3, padding=1)

    def forward(self, cost: Tensor, flow: Tensor) -> Tensor:
        for layer in self.cost:
            cost = F.relu(layer(cost))
        motion = F.relu(self.flow2(F.relu(self.flow1(flow))))
        joint = F.relu(self.joint(torch.cat([cost, motion], dim=1)))
        return torch.cat([joint, flow], dim=1)


class ConvGRU(nn.Module):
    """A convolutional gated recurrent unit whose context does not change between iterations.

    So the context's share of the gates is computed once, by `context`, and added at each iteration.
    """

    def __init__(self, hidden: int, inputs: int, context: int, kernel: tuple[int, int]) -> None:
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2)
        self.gates = nn.Conv2d(hidden + inputs, 2 * hidden, kernel, padding=padding)
        self.candidate = nn.Conv2d(hidden + inputs, hidden, kernel, padding=padding)
        self.context = nn.Conv2d(context, 3 * hidden, kernel, padding=padding, bias=False)
        # Drawn as if one convolution saw hidden state, inputs and context together.
        bound = ((hidden + inputs + context) * kernel[0] * kernel[1]) ** -0.5
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def forward(self, hidden: Tensor, inputs: Tensor, share: Tensor) -> Tensor:
        """The next hidden state; `share` is self.context of the context features."""
        channels = hidden.shape[1]
        gates = torch.sigmoid(self.gates(torch.cat([hidden, inputs], dim=1)) + share[:, : 2 * channels])
        update, reset = gates.chunk(2, dim=1)
        candidate = self.candidate(torch.cat([reset * hidden, inputs], dim=1)) + share[:, 2 * channels :]
        return torch.lerp(hidden, torch.tanh(candidate), update)


class UpdateBlock(nn.Module):
    """One iteration: motion features, then one GRU for each kernel, then a flow increment."""

    def __init__(
        self,
        motion: MotionEncoder,
        hidden: int,
        inputs: int,
        context: int,
        kernels: list[tuple[int, int]],
        head: int,
    ) -> None:
        super().__init__()
        self.motion = motion
        self.grus = nn.ModuleList(ConvGRU(hidden, inputs, context, kernel) for kernel in kernels)
        self.flow = nn.Sequential(
            nn.Conv2d(hidden, head, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(head, 2, 3, padding=1)
        )

    def context_shares(self, context: Tensor) -> list[Tensor]:
        """What the context adds to the gates of each GRU, for all iterations."""
        return [gru.context(context) for gru in self.grus]

    def forward(
        self, hidden: Tensor, shares: list[Tensor], cost: Tensor, flow: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The next hidden state and the increment (B,2,h,w) of the flow."""
        motion = self.motion(cost, flow)
        for gru, share in zip(self.grus, shares, strict=True):
            hidden = gru(hidden, motion, share)
        return hidden, self.flow(hidden)


class ConvexUpsampling(nn.Module):
    """Flow at 1/8 to full resolution: each fine pixel a learned convex mix of its 3×3 coarse neighbours."""

    def __init__(self, hidden: int, width: int = 256) -> None:
        super().__init__()
        self.weights = nn.Sequential(
            nn.Conv2d(hidden, width, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(width, 9 * 64, 1)
        )

    def forward(self, flow: Tensor, hidden: Tensor) -> Tensor:
        batch, _, height, width = flow.shape
        # RAFT scales the logits by 1/4 to balance their gradient with the flow head's.
        weights = (0.25 * self.weights(hidden)).view(batch, 1, 9, 8, 8, height, width).softmax(dim=2)
        neighbours = F.unfold(8 * flow, 3, padding=1).view(batch, 2, 9, 1, 1, height, width)
        fine = (weights * neighbours).sum(dim=2)
        return fine.permute(0, 1, 4, 2, 5, 3).reshape(batch, 2, 8 * height, 8 * width)


class BilinearUpsampling(nn.Module):
    """Flow at 1/8 to full resolution without parameters, corners on corners as in RAFT-small."""

    def forward(self, flow: Tensor, hidden: Tensor) -> Tensor:
        return 8 * F.interpolate(flow, scale_factor=8, mode="bilinear", align_corners=True)

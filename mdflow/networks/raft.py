"""RAFT (Teed & Deng, ECCV 2020): a recurrent unit looks up matching costs and refines the flow."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mdflow.errors import InputError
from mdflow.geometry import coordinate_grid
from mdflow.networks.layers import subtract_mean
from mdflow.networks.network import Features, FlowNetwork
from mdflow.networks.raft_correlation import CORRELATIONS, LEVELS
from mdflow.networks.raft_encoder import BottleneckBlock, ResidualEncoder
from mdflow.networks.raft_update import BilinearUpsampling, ConvexUpsampling, MotionEncoder, UpdateBlock

PREPROCESSING = ("symmetric", "centred")


class RAFT(FlowNetwork):
    """RAFT assembled of its parts; `raft` and `raft_small` are the two published sizes.

    `preprocessing`: "symmetric" maps images to [−1,1] as the original, "centred" subtracts the pair's mean
    as MDFlow's release. `correlation`: "all_pairs" or the memory-light "on_demand". `align_corners`: False
    reproduces MDFlow's release, whose lookups are up to half a pixel off.
    """

    stride = 8

    def __init__(
        self,
        features: nn.Module,
        context: nn.Module,
        update: UpdateBlock,
        upsampling: nn.Module,
        hidden: int,
        radius: int,
        iterations: int,
        preprocessing: str,
        correlation: str,
        align_corners: bool,
    ) -> None:
        super().__init__()
        if preprocessing not in PREPROCESSING:
            raise InputError(
                f"Unknown preprocessing '{preprocessing}'; choose from {', '.join(PREPROCESSING)}."
            )
        if correlation not in CORRELATIONS:
            raise InputError(f"Unknown correlation '{correlation}'; choose from {', '.join(CORRELATIONS)}.")
        if iterations < 1:
            raise InputError(f"RAFT needs at least one iteration, got {iterations}.")
        self.features, self.context, self.update, self.upsampling = features, context, update, upsampling
        self.hidden, self.radius, self.iterations = hidden, radius, iterations
        self.preprocessing, self.correlation, self.align_corners = preprocessing, correlation, align_corners

    def encode(self, image1: Tensor, image2: Tensor) -> tuple[Features, Features]:
        """Each image's matching features and the image itself, of which `estimate` makes the context.

        The context is left to `estimate`, because one direction needs that of one image only.
        """
        if self.preprocessing == "centred":
            image1, image2 = subtract_mean(image1, image2)
        else:
            image1, image2 = 2 * image1 - 1, 2 * image2 - 1
        features1, features2 = self.features(torch.cat([image1, image2])).chunk(2)
        return [features1, image1], [features2, image2]

    def estimate(self, features1: Features, features2: Features) -> list[Tensor]:
        """A full-resolution flow after each iteration."""
        hidden, context = self.context(features1[1]).tensor_split([self.hidden], dim=1)
        hidden = torch.tanh(hidden)
        shares = self.update.context_shares(F.relu(context))
        lookup = CORRELATIONS[self.correlation](features1[0], features2[0], self.radius, self.align_corners)
        origin = coordinate_grid(*features1[0].shape[-2:], features1[0].device)
        flow = torch.zeros_like(origin).expand(features1[0].shape[0], -1, -1, -1)
        flows = []
        for _ in range(self.iterations):
            # The paper passes no gradient from an iteration to the flow it started from.
            flow = flow.detach()
            hidden, increment = self.update(hidden, shares, lookup(origin + flow), flow)
            flow = flow + increment
            flows.append(self.upsampling(flow, hidden))
        return flows


def raft(
    iterations: int = 12,
    context_norm: str = "batch",
    preprocessing: str = "symmetric",
    correlation: str = "all_pairs",
    align_corners: bool = True,
) -> RAFT:
    """RAFT, 5.3 M parameters; `context_norm`: "batch" as published, "instance" for small batches."""
    hidden, context, radius = 128, 128, 4
    costs = LEVELS * (2 * radius + 1) ** 2
    return RAFT(
        features=ResidualEncoder(256, "instance"),
        context=ResidualEncoder(hidden + context, context_norm),
        update=UpdateBlock(
            MotionEncoder(costs, cost_widths=(256, 192), flow_widths=(128, 64), outputs=128),
            hidden,
            inputs=128,
            context=context,
            kernels=[(1, 5), (5, 1)],
            head=256,
        ),
        upsampling=ConvexUpsampling(hidden),
        hidden=hidden,
        radius=radius,
        iterations=iterations,
        preprocessing=preprocessing,
        correlation=correlation,
        align_corners=align_corners,
    )


def raft_small(
    iterations: int = 12,
    context_norm: str = "none",
    preprocessing: str = "symmetric",
    correlation: str = "all_pairs",
    align_corners: bool = True,
) -> RAFT:
    """RAFT-small, 1.0 M parameters: bottleneck blocks, one 3×3 GRU, bilinear upsampling."""
    hidden, context, radius = 96, 64, 3
    costs = LEVELS * (2 * radius + 1) ** 2
    widths = (32, 64, 96)
    return RAFT(
        features=ResidualEncoder(128, "instance", widths, BottleneckBlock),
        context=ResidualEncoder(hidden + context, context_norm, widths, BottleneckBlock),
        update=UpdateBlock(
            MotionEncoder(costs, cost_widths=(96,), flow_widths=(64, 32), outputs=82),
            hidden,
            inputs=82,
            context=context,
            kernels=[(3, 3)],
            head=128,
        ),
        upsampling=BilinearUpsampling(),
        hidden=hidden,
        radius=radius,
        iterations=iterations,
        preprocessing=preprocessing,
        correlation=correlation,
        align_corners=align_corners,
    )

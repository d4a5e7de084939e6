"""RAFT (Teed & Deng, ECCV 2020): a recurrent unit looks up matching costs and refines the flow.

Also GMA (Jiang et al., ICCV 2021), which is RAFT with motion shared between pixels, and the uncertainty
head of U2Flow (CVPR 2026).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mdflow.errors import InputError
from mdflow.geometry import coordinate_grid
from mdflow.networks.layers import check_choice, subtract_mean
from mdflow.networks.network import Features, FlowNetwork
from mdflow.networks.raft_correlation import CORRELATIONS, LEVELS
from mdflow.networks.raft_encoder import BottleneckBlock, ResidualEncoder
from mdflow.networks.raft_update import MotionEncoder, UpdateBlock
from mdflow.networks.upsampling import BORDERS, UPSAMPLING, BilinearUpsampling, ConvexUpsampling

FACTOR = 8  # its maps are at 1/8 of the image
PREPROCESSING = ("symmetric", "centred")


@dataclass(frozen=True)
class Size:
    """What differs between the published sizes.

    Channels of hidden state, context and matching features; the lookup's radius; the parts; the kernels of
    the recurrent units; the width of the flow head.
    """

    hidden: int
    context: int
    features: int
    radius: int
    encoder: Callable[[int, str], nn.Module]
    motion: Callable[[int], MotionEncoder]
    kernels: tuple[tuple[int, int], ...]
    head: int
    upsampling: str


SIZES = {
    "base": Size(
        hidden=128,
        context=128,
        features=256,
        radius=4,
        encoder=ResidualEncoder,
        motion=partial(MotionEncoder, cost_widths=(256, 192), flow_widths=(128, 64), outputs=128),
        kernels=((1, 5), (5, 1)),
        head=256,
        upsampling="convex",
    ),
    "small": Size(
        hidden=96,
        context=64,
        features=128,
        radius=3,
        encoder=partial(ResidualEncoder, widths=(32, 64, 96), block=BottleneckBlock),
        motion=partial(MotionEncoder, cost_widths=(96,), flow_widths=(64, 32), outputs=82),
        kernels=((3, 3),),
        head=128,
        upsampling="bilinear",
    ),
}


class RAFT(FlowNetwork):
    """RAFT, 5.3 M parameters; size "small" 1.0 M; with `aggregate` GMA, 5.8 M, whose pixels share motion.

    `context_norm`: "batch" as published, "instance" as U2Flow trains it, "none" in the published small network.
    `preprocessing`: "symmetric" maps images to [−1,1] as the original, "centred" subtracts the pair's mean
    as MDFlow's release. `correlation`: "all_pairs" or the memory-light "on_demand". `align_corners`: False
    reproduces MDFlow's release, whose lookups are up to half a pixel off. `uncertainty`: a head for
    `estimate_with_uncertainty`. `upsampling`: "convex" or "bilinear", without it the size's own as published;
    `border`: "constant" mixes in zero flow from beyond the border, as published, "replicate" the border's own.
    """

    stride = FACTOR

    def __init__(
        self,
        iterations: int = 12,
        context_norm: str = "batch",
        preprocessing: str = "symmetric",
        correlation: str = "all_pairs",
        align_corners: bool = True,
        uncertainty: bool = False,
        aggregate: bool = False,
        size: str = "base",
        upsampling: str | None = None,
        border: str = "constant",
    ) -> None:
        super().__init__()
        check_choice("size", size, SIZES)
        check_choice("preprocessing", preprocessing, PREPROCESSING)
        check_choice("correlation", correlation, CORRELATIONS)
        if iterations < 1:
            raise InputError(f"The network needs at least one iteration, got {iterations}.")
        parts = SIZES[size]
        upsampling = upsampling or parts.upsampling
        check_choice("upsampling", upsampling, UPSAMPLING)
        check_choice("border", border, BORDERS)
        self.hidden, self.radius, self.iterations = parts.hidden, parts.radius, iterations
        motion = parts.motion(LEVELS * (2 * self.radius + 1) ** 2)
        self.features = parts.encoder(parts.features, "instance")
        self.context = parts.encoder(self.hidden + parts.context, context_norm)
        self.update = UpdateBlock(motion, self.hidden, parts.context, parts.kernels, parts.head, aggregate)
        self.upsampling = (
            ConvexUpsampling(self.hidden, FACTOR, border=border)
            if upsampling == "convex"
            else BilinearUpsampling(FACTOR)
        )
        self.preprocessing, self.correlation, self.align_corners = preprocessing, correlation, align_corners
        self.uncertainty = UncertaintyHead(self.hidden) if uncertainty else None

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
        return [self.upsampling(flow, hidden) for flow, hidden in self.iterate(features1, features2)]

    def estimate_last(self, features1: Features, features2: Features) -> list[Tensor]:
        """The flow after the last iteration; only that one is upsampled."""
        *_, (flow, hidden) = self.iterate(features1, features2)
        return [self.upsampling(flow, hidden)]

    def estimate_with_uncertainty(self, features1: Features, features2: Features) -> tuple[list[Tensor], list[Tensor]]:
        """The flows of `estimate`, and for each the log variance (B,1,H,W) of its error."""
        if self.uncertainty is None:
            raise InputError("This network has no uncertainty head; create it with uncertainty=True.")
        states = list(self.iterate(features1, features2))
        flows = [self.upsampling(flow, hidden) for flow, hidden in states]
        return flows, [self.uncertainty(hidden) for _, hidden in states]

    def grown(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Weights without an uncertainty head or convex upsampling start new ones."""
        parts = ("uncertainty.", "upsampling.")
        own = {key: value for key, value in self.state_dict().items() if key.startswith(parts)}
        return own | state

    def iterate(self, features1: Features, features2: Features) -> Iterator[tuple[Tensor, Tensor]]:
        """Flow (B,2,h,w) and hidden state after each iteration, at 1/8 of the image."""
        hidden, context = self.context(features1[1]).tensor_split([self.hidden], dim=1)
        refine = Refinement(self, features1[0], features2[0], F.relu(context))
        hidden = torch.tanh(hidden)
        # In float32 also under autocast: half precision would round 10 px to 0.04 px.
        flow = torch.zeros_like(features1[0][:, :2], dtype=torch.float32)
        for _ in range(self.iterations):
            # The paper passes no gradient from an iteration to the flow it started from.
            flow = flow.detach()
            hidden, increment = refine(hidden, flow)
            flow = flow + increment
            yield flow, hidden


class Refinement:
    """The update of one pair's flow: hidden state and flow to the next hidden state and an increment."""

    def __init__(self, network: FlowNetwork, features1: Tensor, features2: Tensor, context: Tensor) -> None:
        self.update, self.terms = network.update, network.update.prepare(context)
        correlation = CORRELATIONS[network.correlation]
        self.lookup = correlation(features1, features2, network.radius, network.align_corners)
        self.origin = coordinate_grid(*features1.shape[-2:], features1.device)

    def __call__(self, hidden: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
        return self.update(hidden, self.terms, self.lookup(self.origin + flow), flow)


class UncertaintyHead(nn.Module):
    """Log variance of the flow's error from the hidden state, decoupled: the flow gets no gradient from it.

    Two convolutions (U2Flow); it starts at a variance of one pixel².
    """

    def __init__(self, hidden: int, width: int = 256) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(hidden, width, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(width, 1, 3, padding=1)
        )
        nn.init.zeros_(self.layers[2].weight)
        nn.init.zeros_(self.layers[2].bias)

    def forward(self, hidden: Tensor) -> Tensor:
        """(B,hidden,h,w) to (B,1,8h,8w)."""
        coarse = self.layers(hidden.detach())
        return F.interpolate(coarse, scale_factor=FACTOR, mode="bilinear", align_corners=False)

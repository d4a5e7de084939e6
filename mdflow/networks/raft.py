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
from mdflow.geometry import coordinate_grid, resize_flow
from mdflow.networks.convolution import Convolution
from mdflow.networks.layers import Head, check_choice, fine_stages, normalize_features, scaled_frames, subtract_mean
from mdflow.networks.network import Features, FlowNetwork
from mdflow.networks.raft_correlation import CORRELATIONS, LEVELS, open_correlation
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
    as MDFlow's release. `correlation`: "all_pairs", the memory-light "on_demand", or of these the "fastest".
    `align_corners`: False reproduces MDFlow's release, whose lookups are up to half a pixel off. `uncertainty`: a head
    for `estimate_with_uncertainty`. `upsampling`: "convex" or "bilinear", without it the size's own as published;
    `border`: "constant" mixes in zero flow from beyond the border, as published, "replicate" the border's own.
    `normalize`: costs are cosines (see `normalize_features`), so that a network from nothing finds matches sooner; off
    as published.
    `coarse_iterations`: as many first, with the same weights, on the frames at half the size (0 as published), so that
    the others start from motion of twice the reach, seen in twice the surroundings; MS-RAFT (Jahedi et al., ICIP 2022)
    does so with features of several levels. `fine_iterations`: as many more on the frames enlarged to twice the size,
    from the flow so far (0 as published): small motion becomes as exact as at 1/4 of the frame; `finest_iterations`:
    then at four times. Frames whose enlarged ones had more than 8 million pixels go without; so does training, unless
    `fine_training`: these iterations take four and sixteen times the work of the others.
    """

    stride = FACTOR

    def __init__(
        self,
        iterations: int = 12,
        context_norm: str = "batch",
        preprocessing: str = "symmetric",
        correlation: str = "fastest",
        align_corners: bool = True,
        uncertainty: bool = False,
        aggregate: bool = False,
        size: str = "base",
        upsampling: str | None = None,
        border: str = "constant",
        normalize: bool = False,
        coarse_iterations: int = 0,
        fine_iterations: int = 0,
        finest_iterations: int = 0,
        fine_training: bool = False,
    ) -> None:
        super().__init__()
        check_choice("size", size, SIZES)
        check_choice("preprocessing", preprocessing, PREPROCESSING)
        check_choice("correlation", correlation, CORRELATIONS)
        others = fine_iterations, finest_iterations, coarse_iterations
        if iterations < 1 or min(others) < 0:
            raise InputError(
                "The network needs at least one iteration and none or more fine, finest and coarse ones, got "
                f"{iterations} and {', '.join(map(str, others))}."
            )
        parts = SIZES[size]
        upsampling = upsampling or parts.upsampling
        check_choice("upsampling", upsampling, UPSAMPLING)
        check_choice("border", border, BORDERS)
        self.hidden, self.radius = parts.hidden, parts.radius
        self.iterations, self.fine_training = iterations, fine_training
        self.fine_iterations, self.finest_iterations, self.coarse_iterations = others
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
        self.normalize = normalize
        self.uncertainty = UncertaintyHead(self.hidden) if uncertainty else None

    def stages(self) -> list[tuple[float, int]]:
        """How many times their size the frames are looked at, and how many iterations then, in this order."""
        coarse = [(0.5, self.coarse_iterations)] if self.coarse_iterations else []
        fine = fine_stages(self.fine_iterations, self.finest_iterations)
        without = self.training and not self.fine_training
        return [*coarse, (1, self.iterations), *([] if without else fine)]

    def encode(self, image1: Tensor, image2: Tensor) -> tuple[Features, Features]:
        """Each image's matching features and the image itself, for each of the stages.

        `estimate` makes the context of the image, because one direction needs that of one image only.
        """
        if self.preprocessing == "centred":
            image1, image2 = subtract_mean(image1, image2)
        else:
            image1, image2 = 2 * image1 - 1, 2 * image2 - 1
        frames = scaled_frames(torch.cat([image1, image2]), [size for size, _ in self.stages()], FACTOR)
        pairs = []
        for images in frames:
            matched1, matched2 = self.features(images).chunk(2)
            if self.normalize:
                matched1, matched2 = normalize_features(matched1, matched2)
            pairs += [(matched1, matched2), images.chunk(2)]
        return [pair[0] for pair in pairs], [pair[1] for pair in pairs]

    def estimate(self, features1: Features, features2: Features) -> list[Tensor]:
        """A full-resolution flow after each iteration."""
        size = self.full_size(features1)
        return [self.upsampled(flow, hidden, size) for flow, hidden in self.iterate(features1, features2)]

    def estimate_last(self, features1: Features, features2: Features) -> list[Tensor]:
        """The flow after the last iteration; only that one is upsampled."""
        *_, (flow, hidden) = self.iterate(features1, features2)
        return [self.upsampled(flow, hidden, self.full_size(features1))]

    def estimate_with_uncertainty(self, features1: Features, features2: Features) -> tuple[list[Tensor], list[Tensor]]:
        """The flows of `estimate`, and for each the log variance (B,1,H,W) of its error."""
        if self.uncertainty is None:
            raise InputError("This network has no uncertainty head; create it with uncertainty=True.")
        size = self.full_size(features1)
        states = list(self.iterate(features1, features2))
        flows = [self.upsampled(flow, hidden, size) for flow, hidden in states]
        return flows, [self.uncertainty(hidden, size) for _, hidden in states]

    def full_size(self, features1: Features) -> torch.Size:
        """Height and width of the images as they were given."""
        own = [size for size, _ in self.stages()].index(1)
        return features1[2 * own + 1].shape[-2:]

    def upsampled(self, flow: Tensor, hidden: Tensor, size: tuple[int, int]) -> Tensor:
        """The flow of an iteration at the size of the images, or of the maps of the next ones."""
        return resize_flow(self.upsampling(flow, hidden), size)

    def grown(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Weights without an uncertainty head or convex upsampling start new ones."""
        parts = ("uncertainty.", "upsampling.")
        own = {key: value for key, value in self.state_dict().items() if key.startswith(parts)}
        return own | state

    def iterate(self, features1: Features, features2: Features) -> Iterator[tuple[Tensor, Tensor]]:
        """Flow (B,2,h,w) and hidden state after each iteration: 1/8 of the size of each stage's frames."""
        start = state = None
        for number, (_, iterations) in enumerate(self.stages()[: len(features1) // 2]):
            maps = slice(2 * number, 2 * number + 2)
            if state is not None:
                start = self.upsampled(*state, features1[maps][0].shape[-2:])
            for state in self.refine(start, features1[maps], features2[maps], iterations):
                yield state

    def refine(
        self, flow: Tensor | None, features1: Features, features2: Features, iterations: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Flow and hidden state after each of the iterations from `flow` or none, all at the features' size."""
        if flow is None:
            # In float32 also under autocast: half precision would round 10 px to 0.04 px.
            flow = torch.zeros_like(features1[0][:, :2], dtype=torch.float32)
        hidden, context = self.context(features1[1]).tensor_split([self.hidden], dim=1)
        refine = Refinement(self, features1[0], features2[0], F.relu(context), self.correlation, iterations)
        hidden = torch.tanh(hidden)
        for _ in range(iterations):
            # The paper passes no gradient from an iteration to the flow it started from.
            flow = flow.detach()
            hidden, increment = refine(hidden, flow)
            flow = flow + increment
            yield flow, hidden


class Refinement:
    """The update of one pair's flow: hidden state and flow to the next hidden state and an increment.

    `correlation` is one of CORRELATIONS, to be looked into about `lookups` times.
    """

    def __init__(
        self,
        network: FlowNetwork,
        features1: Tensor,
        features2: Tensor,
        context: Tensor,
        correlation: str,
        lookups: int,
    ) -> None:
        self.update, self.terms = network.update, network.update.prepare(context)
        options = network.radius, network.align_corners, lookups
        self.lookup = open_correlation(correlation, features1, features2, *options)
        self.origin = coordinate_grid(*features1.shape[-2:], features1.device)

    def __call__(self, hidden: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
        return self.update(hidden, self.terms, self.lookup(self.origin + flow), flow)


class UncertaintyHead(nn.Module):
    """Log variance of the flow's error from the hidden state, decoupled: the flow gets no gradient from it.

    Two convolutions (U2Flow); it starts at a variance of one pixel².
    """

    def __init__(self, hidden: int, width: int = 256) -> None:
        super().__init__()
        self.layers = Head(Convolution(hidden, width, 3, padding=1), nn.Conv2d(width, 1, 3, padding=1))
        nn.init.zeros_(self.layers[2].weight)
        nn.init.zeros_(self.layers[2].bias)

    def forward(self, hidden: Tensor, size: tuple[int, int]) -> Tensor:
        """(B,hidden,h,w) to (B,1,height,width) of `size`."""
        return F.interpolate(self.layers(hidden.detach()), size, mode="bilinear", align_corners=False)

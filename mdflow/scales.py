"""A network that looks at its frames in several sizes and keeps, for every pixel, the flow that explains it best."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mdflow.errors import InputError
from mdflow.fitting import resize
from mdflow.geometry import warp
from mdflow.losses import census
from mdflow.networks.network import Features, FlowNetwork
from mdflow.occlusion import visible_inside

SCALES = (0.5, 0.75, 1.0, 1.5, 2.0)
WINDOW = 21  # pixels over which the census distance of a flow is averaged
DOUBT = 0.5  # census distance above the best by which a flow counts e times less
ALIKE = 0.1  # flows agree within this share of their length, or a pixel
UNSEEN = 100.0  # added to the distance where a flow is not visible: more than any distance, at most 46.8

FlowPair = tuple[Tensor, Tensor]  # flow12, flow21


class AtScales(FlowNetwork):
    """`network` on frames enlarged and reduced by `scales`.

    A pyramid's finest level is coarser than the frame, so enlarged frames give the small motions more exactly
    (Middlebury: EPE 0.36 to 0.21 px for the shipped FastFlowNet); reduced ones bring the large motions within its
    reach. Which flow is best is seen without labels (`most_credible`). The time is that of all sizes and both
    directions; for labels, and wherever accuracy is worth more than time. It gives the last flow alone. Raises
    InputError for scales that are not positive.
    """

    def __init__(self, network: FlowNetwork, scales: Sequence[float] = SCALES) -> None:
        super().__init__()
        if min(scales, default=0) <= 0:
            raise InputError(f"Scales must be positive, at least one; got {list(scales)}.")
        self.network, self.scales, self.stride = network, tuple(scales), network.stride
        self.name, self.options = network.name, network.options

    def encode(self, image1: Tensor, image2: Tensor) -> tuple[Features, Features]:
        """The images themselves: each size has features of its own."""
        return [image1], [image2]

    def estimate(self, features1: Features, features2: Features) -> list[Tensor]:
        """The best flow alone, in a list."""
        image1, image2 = features1[0], features2[0]
        return [most_credible(image1, image2, self._flows(image1, image2))]

    def both_directions(
        self, image1: Tensor, image2: Tensor, last_only: bool = False
    ) -> tuple[list[Tensor], list[Tensor]]:
        """The best flows of both directions, in a list each."""
        image1, image2 = (features[0] for features in self.encode_pair(image1, image2))
        flows = self._flows(image1, image2)
        backwards = [flow[::-1] for flow in flows]
        return [most_credible(image1, image2, flows)], [most_credible(image2, image1, backwards)]

    def _flows(self, image1: Tensor, image2: Tensor) -> list[FlowPair]:
        return [self._at(scale, image1, image2) for scale in self.scales]

    def _at(self, scale: float, image1: Tensor, image2: Tensor) -> FlowPair:
        """(flow12, flow21) of the frames in another size, in pixels of their own."""
        original = tuple(image1.shape[-2:])
        inner = tuple(max(round(length * scale / self.stride), 1) * self.stride for length in original)
        fit = resize(original, self.stride, inner)
        flows = self.network.both_directions(fit.apply(image1), fit.apply(image2), last_only=True)
        return fit.undo(flows[0][-1].float()), fit.undo(flows[1][-1].float())


@torch.no_grad()
def most_credible(image1: Tensor, image2: Tensor, flows: Sequence[FlowPair]) -> Tensor:
    """Of several flows (flow12, flow21) of a pair the most credible flow12 of each pixel, (B,2,H,W).

    Of those that pass the forward-backward check and stay inside the frame: the one with the smallest mean census
    distance around the pixel, averaged with those that agree with it. Where none does, their median.
    """
    if len(flows) == 1:
        return flows[0][0]
    candidates = torch.stack([flow12 for flow12, _ in flows])
    visible = torch.stack([visible_inside(flow12, flow21) for flow12, flow21 in flows])
    distance = torch.stack([mean_distance(image1.float(), image2.float(), flow12) for flow12, _ in flows])
    distance = distance + UNSEEN * (1 - visible)
    lowest, choice = distance.min(0)
    best = candidates.gather(0, choice.expand(-1, 2, -1, -1)[None])[0]
    bound = (ALIKE * best.norm(dim=1, keepdim=True)).clamp(min=1)
    agrees = (candidates - best).norm(dim=2, keepdim=True) <= bound
    weight = agrees * torch.exp((lowest - distance) / DOUBT)
    flow = (weight * candidates).sum(0) / weight.sum(0)
    lost = (visible.amax(0) <= 0).expand_as(flow)
    flow[lost] = candidates[:, lost].median(0).values
    return flow


def mean_distance(image1: Tensor, image2: Tensor, flow12: Tensor) -> Tensor:
    """The census distance of a flow, averaged over the pixels around, (B,1,H,W)."""
    distance = census(image1, warp(image2, flow12, padding="border"))
    half = WINDOW // 2
    columns = F.avg_pool2d(distance, (WINDOW, 1), stride=1, padding=(half, 0), count_include_pad=False)
    return F.avg_pool2d(columns, (1, WINDOW), stride=1, padding=(0, half), count_include_pad=False)

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
WINDOW = 9  # pixels over which the census distance of a flow is averaged
UNSEEN = 100.0  # added to the distance where a flow is not visible: more than any distance, at most 46.8

FlowPair = tuple[Tensor, Tensor]  # flow12, flow21


class AtScales(FlowNetwork):
    """`network` on frames enlarged and reduced by `scales`, 1 among them.

    A pyramid's finest level is coarser than the frame, so enlarged frames give the small motions more exactly
    (Middlebury: EPE 0.38 to 0.23 px for the shipped FastFlowNet); reduced ones bring the large motions within its
    reach. Which flow is best is seen without labels: the one whose mean census distance around the pixel is the
    smallest, among those that pass the forward-backward check and stay inside the frame; where none does, that of
    the frame's own size. The time is that of all sizes and both directions; for labels, and wherever accuracy is
    worth more than time. It gives the last flow alone. Raises InputError when 1 is not among the scales.
    """

    def __init__(self, network: FlowNetwork, scales: Sequence[float] = SCALES) -> None:
        super().__init__()
        if 1.0 not in scales or min(scales) <= 0:
            raise InputError(f"Scales must be positive, 1 among them; got {', '.join(map(str, scales))}.")
        self.network, self.scales, self.stride = network, tuple(scales), network.stride
        self.name, self.options = network.name, network.options

    def encode(self, image1: Tensor, image2: Tensor) -> tuple[Features, Features]:
        """The images themselves: each size has features of its own."""
        return [image1], [image2]

    def estimate(self, features1: Features, features2: Features) -> list[Tensor]:
        """The best flow alone, in a list."""
        image1, image2 = features1[0], features2[0]
        return [self._best(image1, image2, self._flows(image1, image2))]

    def both_directions(
        self, image1: Tensor, image2: Tensor, last_only: bool = False
    ) -> tuple[list[Tensor], list[Tensor]]:
        """The best flows of both directions, in a list each."""
        image1, image2 = (features[0] for features in self.encode_pair(image1, image2))
        flows = self._flows(image1, image2)
        backwards = [flow[::-1] for flow in flows]
        return [self._best(image1, image2, flows)], [self._best(image2, image1, backwards)]

    def _best(self, image1: Tensor, image2: Tensor, flows: list[FlowPair]) -> Tensor:
        return most_credible(image1, image2, flows, fallback=self.scales.index(1.0))

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
def most_credible(image1: Tensor, image2: Tensor, flows: Sequence[FlowPair], fallback: int) -> Tensor:
    """Of several flows (flow12, flow21) of a pair the best flow12 of each pixel, (B,2,H,W).

    fallback: which of them to take where none is visible.
    """
    if len(flows) == 1:
        return flows[0][0]
    distances, visible = [], []
    for flow12, flow21 in flows:
        seen = visible_inside(flow12, flow21)
        distance = census(image1.float(), warp(image2.float(), flow12, padding="border"))
        near = F.avg_pool2d(distance, WINDOW, stride=1, padding=WINDOW // 2, count_include_pad=False)
        distances.append(near + UNSEEN * (1 - seen))
        visible.append(seen)
    choice = torch.stack(distances).argmin(0)
    choice = torch.where(torch.stack(visible).amax(0) > 0, choice, fallback)
    candidates = torch.stack([flow12 for flow12, _ in flows])
    return candidates.gather(0, choice.expand(-1, 2, -1, -1)[None])[0]

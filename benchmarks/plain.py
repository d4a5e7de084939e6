"""The formulations that public implementations run, to measure against: as they are written there, in our own words."""

from collections.abc import Callable
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor

from mdflow.correlation import Displacements, plain_correlation
from mdflow.data.batches import Batch
from mdflow.geometry import inside_frame, resize_flow, warp
from mdflow.kernels.native import without_kernels
from mdflow.losses import gray255, inside_border, masked_mean, robust, smoothness
from mdflow.networks.network import FlowNetwork

try:
    from spatial_correlation_sampler import spatial_correlation_sample
except ImportError:
    spatial_correlation_sample = None

SAMPLER = "shifted products" if spatial_correlation_sample is None else "spatial-correlation-sampler"


def sampler_correlation(features1: Tensor, features2: Tensor, radius: int, displacements: Displacements) -> Tensor:
    """The cost volume as FastFlowNet's release computes it: all displacements, then those that are kept."""
    if spatial_correlation_sample is None:
        return plain_correlation(features1, features2, radius, displacements)
    side = 2 * radius + 1
    cost = spatial_correlation_sample(features1, features2, patch_size=side).flatten(1, 2) / features1.shape[1]
    return cost[:, [(dy + radius) * side + dx + radius for dy, dx in displacements]]


def released_forward(network: FlowNetwork, correlate: Callable = sampler_correlation) -> Callable:
    """A pyramid network's forward pass as released: channels first, all flows, one direction, no kernels in C++."""

    def forward(image1: Tensor, image2: Tensor) -> list[Tensor]:
        with patch("mdflow.correlation.local_correlation", correlate), without_kernels():
            return network.estimate(*network.encode(image1, image2))

    return forward


def census_by_unfold(image1: Tensor, image2: Tensor, radius: int) -> Tensor:
    """All (2·radius+1)² neighbours as maps."""
    side = 2 * radius + 1
    steps = []
    for image in (image1, image2):
        gray = gray255(image)
        neighbours = F.unfold(gray, side, padding=radius).view(len(gray), side * side, *gray.shape[-2:])
        step = neighbours - gray
        steps.append(step / (0.81 + step**2).sqrt())
    squared = (steps[0] - steps[1]) ** 2
    return (squared / (0.1 + squared)).sum(1, keepdim=True)


def forward_backward_mask(flow12: Tensor, flow21: Tensor) -> Tensor:
    """Visible pixels, from flows that carry a gradient."""
    with torch.no_grad():
        backward = warp(flow21, flow12)
        squared = (flow12**2).sum(1, keepdim=True) + (backward**2).sum(1, keepdim=True)
        return (((flow12 + backward) ** 2).sum(1, keepdim=True) < 0.01 * squared + 0.5).float()


def plain_loss(image1: Tensor, image2: Tensor, flow12: Tensor, flow21: Tensor, radius: int = 3) -> Tensor:
    """Census on the visible pixels of both frames, and smoothness: one direction after the other.

    The value of mdflow.unsupervised.unsupervised_loss with forward-backward masks from the start (a test compares).
    """
    distances, masks, smooth = [], [], 0
    for one, other, there, back in ((image1, image2, flow12, flow21), (image2, image1, flow21, flow12)):
        masks.append(forward_backward_mask(there, back) * inside_frame(there) * inside_border(there, radius))
        distances.append(robust(census_by_unfold(one, warp(other, there, padding="border"), radius)))
        quarter = F.interpolate(one, scale_factor=0.25, mode="area")
        smooth = smooth + smoothness(resize_flow(there, quarter.shape[-2:]), quarter, 1, 150) / 2
    return masked_mean(torch.cat(distances), torch.cat(masks)) + 4 * smooth


def plain_terms(network: FlowNetwork, batch: Batch) -> Tensor:
    """The loss of a training step of FastFlowNet, each direction a pass of its own."""
    forward = released_forward(network, plain_correlation)
    image1, image2 = batch["image1"], batch["image2"]
    flow12, flow21 = (forward(*pair)[-1] for pair in ((image1, image2), (image2, image1)))
    return plain_loss(image1, image2, flow12, flow21)


def ternary_loss(image1: Tensor, image2: Tensor, flow12: Tensor, flow21: Tensor) -> Tensor:
    """ARFlow's: the 3×3 ternary census at four scales, both directions."""
    total = flow12.new_zeros(())
    for scale in (1, 2, 4, 8):
        size = [side // scale for side in image1.shape[-2:]]
        small = [F.interpolate(image, size, mode="area") for image in (image1, image2)]
        flows = [resize_flow(flow, size) for flow in (flow12, flow21)]
        total = total + plain_loss(*small, *flows, radius=1)
    return total

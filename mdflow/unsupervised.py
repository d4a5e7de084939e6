"""The unsupervised loss: how well two frames explain each other under the flows between them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mdflow import losses
from mdflow.config import UnsupervisedConfig
from mdflow.geometry import inside_frame, resize_flow, warp
from mdflow.losses import masked_mean, sequence_weights
from mdflow.occlusion import forward_backward, range_map_visibility


class Reduced(NamedTuple):
    """What is compared in smaller frames: an image, the frame it is looked up in, and where it lies there."""

    factor: int
    image: Tensor
    other: Tensor
    origin: Tensor


@dataclass(frozen=True)
class Crops:
    """What a network saw of a batch, and the frames around it.

    image1, image2: (B,3,h,w) in [0,1], un-augmented; frame1, frame2: (B,3,H,W) that they were cut from;
    origin: (B,2) the place (x, y) of the crops' first pixel. For uncut frames use `Crops.whole`.
    """

    image1: Tensor
    image2: Tensor
    frame1: Tensor
    frame2: Tensor
    origin: Tensor

    @classmethod
    def whole(cls, image1: Tensor, image2: Tensor) -> "Crops":
        """Frames that were not cut."""
        return cls(image1, image2, image1, image2, image1.new_zeros(len(image1), 2))

    def at_sizes(self, factors: Sequence[int]) -> list[Reduced]:
        """What is compared, reduced by each factor, both directions in one batch: half as many calls of every term."""
        image, other = torch.cat([self.image1, self.image2]), torch.cat([self.frame2, self.frame1])
        origin = torch.cat([self.origin, self.origin])
        return [Reduced(factor, reduced(image, factor), reduced(other, factor), origin / factor) for factor in factors]


def reduced(maps: Tensor, factor: int) -> Tensor:
    """The means of blocks of factor×factor pixels."""
    return maps if factor == 1 else F.avg_pool2d(maps, factor)


def visibility(
    flow12: Tensor, flow21: Tensor, crops: Crops, config: UnsupervisedConfig, progress: float
) -> tuple[Tensor, Tensor]:
    """Masks of both crops: by range map first, by forward-backward check after the warm-up.

    progress is the share of the run that is done. What leaves the crop but not the frame counts as visible
    (SMURF): nothing is known of its way back. What leaves the frame is masked from the first step on.
    """
    size = crops.frame1.shape[-2:]
    inside1, inside2 = (inside_frame(flow, size, crops.origin) for flow in (flow12, flow21))
    if config.occlusion == "none" or progress < config.mask_from:
        return inside1, inside2
    left1, left2 = 1 - inside_frame(flow12), 1 - inside_frame(flow21)
    if config.occlusion == "range_map" or progress < config.forward_backward_from:
        seen1, seen2 = range_map_visibility(flow21), range_map_visibility(flow12)
    else:
        seen1, seen2 = forward_backward(flow12, flow21), forward_backward(flow21, flow12)
    return torch.maximum(seen1, left1) * inside1, torch.maximum(seen2, left2) * inside2


def photometric(image1: Tensor, warped2: Tensor, visible1: Tensor, config: UnsupervisedConfig) -> dict[str, Tensor]:
    """Each photometric term of frame 1, weighted, on the visible pixels."""
    terms = {}
    if config.l1:
        terms["l1"] = config.l1 * masked_mean(losses.l1(image1, warped2), visible1)
    if config.charbonnier:
        terms["charbonnier"] = config.charbonnier * masked_mean(losses.charbonnier(image1, warped2), visible1)
    if config.ssim:
        terms["ssim"] = config.ssim * masked_mean(losses.ssim(image1, warped2), visible1)
    if config.census:
        radius = config.census_radius
        distance = losses.robust(losses.census(image1, warped2, radius))
        terms["census"] = config.census * masked_mean(distance, visible1 * losses.inside_border(visible1, radius))
    if config.ternary:
        distance = losses.census(image1, warped2, 1) / 9
        terms["ternary"] = config.ternary * masked_mean(distance, visible1 * losses.inside_border(visible1, 1))
    return terms


def sizes_compared(config: UnsupervisedConfig, progress: float) -> tuple[int, ...]:
    """The factors by which the compared frames are reduced: 1, and first also those of `config.reduced`.

    A term sees as far as its window: what moves by more teaches nothing at full size, but does at a quarter of
    it. Without, a network from nothing stays at zero flow until chance moves it; once it moves, a reduced pixel that
    two motions share only blurs their boundary (docs/training.md, both measured).
    """
    return (1, *config.reduced) if progress < config.reduced_until else (1,)


def photometric_at_sizes(
    sizes: list[Reduced], flow: Tensor, visible: Tensor, config: UnsupervisedConfig
) -> dict[str, Tensor]:
    """The sums of the photometric terms of all sizes, of a flow and a mask of full size."""
    total: dict[str, Tensor] = {}
    for factor, image, other, origin in sizes:
        warped = warp(other, reduced(flow, factor) / factor, padding="border", origin=origin)
        for name, value in photometric(image, warped, reduced(visible, factor), config).items():
            total[name] = total.get(name, 0) + value
    return total


def smoothness_terms(flow: Tensor, image: Tensor, config: UnsupervisedConfig) -> dict[str, Tensor]:
    """First and second order smoothness, weighted, on a grid 1/smooth_at of the image."""
    size = (image.shape[-2] // config.smooth_at, image.shape[-1] // config.smooth_at)
    small = image if size == image.shape[-2:] else F.interpolate(image, size, mode="area")
    local = resize_flow(flow, size) * (1 if config.smooth_in_pixels else 1 / min(size))
    weights = {1: config.smooth1, 2: config.smooth2}
    return {
        f"smooth{order}": weight * losses.smoothness(local, small, order, config.edge)
        for order, weight in weights.items()
        if weight
    }


def unsupervised_loss(
    crops: Crops, flows12: list[Tensor], flows21: list[Tensor], config: UnsupervisedConfig, progress: float = 1.0
) -> tuple[dict[str, Tensor], tuple[Tensor, Tensor]]:
    """The weighted terms by name, both directions, and the visibility masks of the finest flows.

    The last `config.outputs` flows of each list count, by γ^(n−1−i); the visibility is found anew for each of
    them. Flows of a pyramid are brought to the crops' size. With `full_image_warp` a crop looks at the
    whole other frame. No mask carries a gradient, nor does the source of a warp (UFlow).
    """
    if not config.full_image_warp:
        crops = Crops.whole(crops.image1, crops.image2)
    size = crops.image1.shape[-2:]
    sizes = crops.at_sizes(sizes_compared(config, progress))
    image = sizes[0].image
    chosen = list(zip(flows12, flows21, strict=True))[-config.outputs :]
    total: dict[str, Tensor] = {}
    for (flow12, flow21), factor in zip(chosen, sequence_weights(len(chosen), config.gamma), strict=True):
        flow12, flow21 = resize_flow(flow12.float(), size), resize_flow(flow21.float(), size)
        masks = visibility(flow12.detach(), flow21.detach(), crops, config, progress)
        flow = torch.cat([flow12, flow21])
        terms = photometric_at_sizes(sizes, flow, torch.cat(masks), config)
        if progress < config.smooth_until or config.smooth_until == 1:
            terms |= smoothness_terms(flow, image, config)
        for name, value in terms.items():
            total[name] = total.get(name, 0) + factor * value
    return total, masks

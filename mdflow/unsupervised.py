"""The unsupervised loss: how well two frames explain each other under the flows between them."""

import torch
import torch.nn.functional as F
from torch import Tensor

from mdflow import losses
from mdflow.config import UnsupervisedConfig
from mdflow.geometry import inside_frame, resize_flow, warp
from mdflow.losses import masked_mean, sequence_weights
from mdflow.occlusion import forward_backward, range_map_visibility

Pair = tuple[Tensor, Tensor]


def visibility(flow12: Tensor, flow21: Tensor, config: UnsupervisedConfig, progress: float) -> Pair:
    """Masks of both frames: by range map first, by forward-backward check after the warm-up.

    progress is the share of the run that is done. Without occlusion handling only pixels that leave the
    frame are masked.
    """
    inside1, inside2 = inside_frame(flow12), inside_frame(flow21)
    if config.occlusion == "none" or progress < config.mask_from:
        return inside1, inside2
    if config.occlusion == "range_map" or progress < config.forward_backward_from:
        return range_map_visibility(flow21) * inside1, range_map_visibility(flow12) * inside2
    return forward_backward(flow12, flow21) * inside1, forward_backward(flow21, flow12) * inside2


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
        complete = visible1 * losses.inside_border(visible1, radius)
        terms["census"] = config.census * masked_mean(
            losses.robust(losses.census(image1, warped2, radius)), complete
        )
    if config.ternary:
        complete = visible1 * losses.inside_border(visible1, 1)
        terms["ternary"] = config.ternary * masked_mean(losses.census(image1, warped2, 1) / 9, complete)
    return terms


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
    image1: Tensor,
    image2: Tensor,
    flows12: list[Tensor],
    flows21: list[Tensor],
    config: UnsupervisedConfig,
    progress: float = 1.0,
) -> tuple[dict[str, Tensor], Pair]:
    """The weighted terms by name, both directions, and the visibility masks of the finest flows.

    The last `config.outputs` flows of each list count, weighted by γ^(n−1−i); the visibility is found
    anew for each of them. Flows of a pyramid are brought to the images' size. No mask carries a
    gradient, nor does the source of a warp (UFlow).
    """
    size = image1.shape[-2:]
    chosen = list(zip(flows12, flows21, strict=True))[-config.outputs :]
    total: dict[str, Tensor] = {}
    masks = None
    for (flow12, flow21), factor in zip(chosen, sequence_weights(len(chosen), config.gamma), strict=True):
        flow12, flow21 = resize_flow(flow12, size), resize_flow(flow21, size)
        masks = visibility(flow12.detach(), flow21.detach(), config, progress)
        # One pass over both directions: half as many calls of every term.
        image, other = torch.cat([image1, image2]), torch.cat([image2, image1])
        flow, visible = torch.cat([flow12, flow21]), torch.cat(masks)
        terms = photometric(image, warp(other, flow, padding="border"), visible, config)
        if progress < config.smooth_until:
            terms |= smoothness_terms(flow, image, config)
        for name, value in terms.items():
            total[name] = total.get(name, 0) + factor * value
    return total, masks

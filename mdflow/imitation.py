"""One network learns to see in augmented frames what is known of the clean ones."""

import torch
from torch import Tensor

from mdflow.augment import Geometry, draw_geometry, erase
from mdflow.config import AugmentConfig, SupervisedConfig
from mdflow.fitting import pad
from mdflow.networks.network import FlowNetwork
from mdflow.uncertainty import judged_loss

Pair = tuple[Tensor, Tensor]


def pseudo_labels(network: FlowNetwork, image1: Tensor, image2: Tensor) -> Pair:
    """A frozen network's (flow12, flow21) on clean frames of any size, without gradients."""
    network.eval()
    fit_frames = pad(tuple(image1.shape[-2:]), network.stride)
    with torch.no_grad():
        flows12, flows21 = network.both_directions(fit_frames.apply(image1), fit_frames.apply(image2), last_only=True)
    return fit_frames.undo(flows12[-1].float()), fit_frames.undo(flows21[-1].float())


def imitation_loss(
    network: FlowNetwork,
    images: Pair,
    flows: Pair,
    weights: Pair,
    augment: AugmentConfig,
    config: SupervisedConfig,
) -> Tensor:
    """Distance of the network's flows on A(images) to A(flows) where A(weights) is set, both directions.

    images: (image1, image2), (B,3,H,W), photometrically augmented; flows: (flow12, flow21), the labels of the clean
    pair on the same grid; weights: their masks (B,1,H,W). The geometric part of A is drawn here, once for
    all of them; the eraser takes boxes out of the frame that is looked up, so that the network learns to
    guess what it cannot see (SMURF).
    """
    forward = draw_geometry(len(images[0]), images[0].shape[-2:], augment, images[0].device)
    backward = forward.backwards()
    geometry = Geometry(
        torch.cat([forward.to_source1, backward.to_source1]),
        torch.cat([forward.to_source2, backward.to_source2]),
        forward.crop,
    )
    target = geometry.flow12(torch.cat(flows).detach())
    weight = geometry.mask1(torch.cat(weights))
    seen1 = geometry.image1(torch.cat(images))
    seen2 = torch.cat([erase(half, augment) for half in geometry.image2(torch.cat(images[::-1])).chunk(2)])
    return judged_loss(network, seen1, seen2, target, weight, config)

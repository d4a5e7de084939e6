"""What a network foretells of its own error: learning it, and trusting labels by it (U2Flow, CVPR 2026)."""

import torch
from torch import Tensor

from mdflow.config import SupervisedConfig
from mdflow.errors import InputError
from mdflow.fitting import pad
from mdflow.losses import judged, l1_error, masked_mean, output_weights, supervised_loss
from mdflow.networks.network import FlowNetwork

SMALLEST = 0.01  # pixels; the least error that is told apart, or a perfect flow would ask for α = −∞


def judged_loss(
    network: FlowNetwork, image1: Tensor, image2: Tensor, target: Tensor, weight: Tensor, config: SupervisedConfig
) -> Tensor:
    """Distance of the network's flows from a target, and with config.uncertainty also what it foretells of it.

    images (B,3,H,W), target (B,2,H,W), weight (B,1,H,W). InputError if the network has nothing to foretell with.
    """
    if not config.uncertainty:
        return supervised_loss([flow.float() for flow in network(image1, image2)], target, weight, config)
    flows, variances = foretelling(network).estimate_with_uncertainty(*network.encode_pair(image1, image2))
    flows = [flow.float() for flow in flows]
    seen = judged(target, weight, config)
    own = sum(
        factor * uncertainty_loss(flow, variance.float(), target, seen)
        for factor, flow, variance in zip(output_weights(len(flows), config), flows, variances, strict=True)
    )
    return supervised_loss(flows, target, weight, config) + config.uncertainty * own


def uncertainty_loss(flow: Tensor, log_variance: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """√2 · exp(−α/2) · |Δ|₁ + α/2 where weight is set; least where σ = exp(α/2) is √2 |Δ|₁. Δ gets no gradient."""
    error = l1_error(flow, target).detach() + SMALLEST
    return masked_mean(2**0.5 * torch.exp(-log_variance / 2) * error + log_variance / 2, weight)


def sureness(network: FlowNetwork, image1: Tensor, image2: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Weights exp(−σ/scale) of a frozen network's flow12 and flow21 as labels, (B,1,H,W) each; scale in pixels."""
    deviation12, deviation21 = deviations(network, image1, image2)
    return torch.exp(-deviation12 / scale), torch.exp(-deviation21 / scale)


@torch.no_grad()
def deviations(network: FlowNetwork, image1: Tensor, image2: Tensor) -> tuple[Tensor, Tensor]:
    """The standard deviation σ, in pixels, that a frozen network foretells of its flow12 and flow21, (B,1,H,W) each.

    Frames of any size. InputError if the network has nothing to foretell with.
    """
    estimate = foretelling(network.eval()).estimate_with_uncertainty
    fit = pad(tuple(image1.shape[-2:]), network.stride)
    features1, features2 = network.encode_pair(fit.apply(image1), fit.apply(image2))
    found = [estimate(features1, features2)[1][-1], estimate(features2, features1)[1][-1]]
    deviation12, deviation21 = (fit.crop(torch.exp(variance.float() / 2)) for variance in found)
    return deviation12, deviation21


def foretelling(network: FlowNetwork) -> FlowNetwork:
    """The network, if it has an uncertainty head; else InputError."""
    if getattr(network, "uncertainty", None) is None:
        raise InputError(
            f"'{network.name}' does not foretell its error; take raft, raft_small or gma with the option "
            "uncertainty=true (such as --set student.options.uncertainty=true)."
        )
    return network

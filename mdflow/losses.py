"""What a flow is judged by: per-pixel maps (B,1,H,W), reduced by `masked_mean` alone."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mdflow.config import SupervisedConfig
from mdflow.errors import InputError
from mdflow.geometry import resize_flow
from mdflow.kernels import HAS_TRITON
from mdflow.kernels.census import CensusDistance
from mdflow.kernels.native import require_one_shape
from mdflow.system import ranks

LUMA = (0.2989, 0.5870, 0.1140)


def masked_mean(values: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean of values over the pixels where weight is set; 0, not NaN, where it is empty.

    weight (B,1,H,W) broadcasts over channels. Of several ranks each gives its part of what, averaged over them,
    is the mean over the global batch.
    """
    if weight is None:
        return values.mean()
    weight = weight.expand_as(values)
    return (values * weight).sum() / ranks.mean(weight.sum()).clamp_min(1e-6)


def robust(values: Tensor, exponent: float = 0.4, epsilon: float = 0.01) -> Tensor:
    """(|x| + ε)^q, which forgives outliers (DDFlow, Liu et al., AAAI 2019)."""
    return (values.abs() + epsilon) ** exponent


def l1(image1: Tensor, image2: Tensor) -> Tensor:
    """Mean absolute difference over channels."""
    return (image1 - image2).abs().mean(1, keepdim=True)


def charbonnier(image1: Tensor, image2: Tensor, epsilon: float = 1e-3) -> Tensor:
    """√(Δ² + ε²), mean over channels."""
    return ((image1 - image2) ** 2 + epsilon**2).sqrt().mean(1, keepdim=True)


def ssim(image1: Tensor, image2: Tensor) -> Tensor:
    """(1 − SSIM)/2 in a 3×3 box window, mean over channels, 0..1 (ARFlow's and monodepth's form).

    Never multiply the images by a mask before it: that invents edges.
    """
    c1, c2 = 0.01**2, 0.03**2

    def mean(x: Tensor) -> Tensor:
        return F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), 3, 1)

    mean1, mean2 = mean(image1), mean(image2)
    variance1 = mean(image1**2) - mean1**2
    variance2 = mean(image2**2) - mean2**2
    covariance = mean(image1 * image2) - mean1 * mean2
    similarity = (2 * mean1 * mean2 + c1) * (2 * covariance + c2)
    similarity = similarity / ((mean1**2 + mean2**2 + c1) * (variance1 + variance2 + c2))
    return ((1 - similarity) / 2).clamp(0, 1).mean(1, keepdim=True)


def gray255(image: Tensor) -> Tensor:
    """Luminance (B,1,H,W) in 0..255 of an RGB image in [0,1]."""
    red, green, blue = image.split(1, dim=1)
    return (LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue) * 255


def census(image1: Tensor, image2: Tensor, radius: int = 3) -> Tensor:
    """Soft Hamming distance of the ternary census transforms, summed over the (2r+1)² window.

    With g = gray·255: d = (g_nbr − g)/√(0.81 + (g_nbr − g)²), h = Σ Δd²/(0.1 + Δd²); at most 46.8 for
    7×7. Blind to a change of brightness (UnFlow, Meister et al., AAAI 2018; DDFlow). Within `radius` of
    the border the window is incomplete: mask it out with `inside_border`. InputError if the shapes differ.
    """
    require_one_shape(image1, image2)
    gray1, gray2 = gray255(image1), gray255(image2)
    if gray1.is_cuda and HAS_TRITON:
        from mdflow.kernels.triton_census import census_distance  # not installed on every machine

        return census_distance(gray1, gray2, radius)
    return CensusDistance.apply(gray1, gray2, radius)


def inside_border(image: Tensor, border: int) -> Tensor:
    """Mask (1,1,H,W), 0 within `border` pixels of the edge."""
    mask = image.new_zeros(1, 1, *image.shape[-2:])
    mask[..., border : image.shape[-2] - border, border : image.shape[-1] - border] = 1
    return mask


def smoothness(flow: Tensor, image: Tensor, order: int, edge: float) -> Tensor:
    """Edge-aware variation of the flow, a scalar.

    ½(mean[w_x ρ(∂ⁿ_x F)] + mean[w_y ρ(∂ⁿ_y F)]), ρ = √(x² + 1e-6), w = exp(−edge · mean_c|∂I|), n = order
    (Wang et al. 2018; Jonschkowski et al. 2020). The image has the flow's size and lies in [0,1]: on
    0..255 a weight of 150 switches the term off. The second order takes the image's step over two pixels.
    """

    def variation(dimension: int) -> Tensor:
        change = flow.diff(n=order, dim=dimension)
        steps = image.shape[dimension]
        apart = image.narrow(dimension, order, steps - order) - image.narrow(dimension, 0, steps - order)
        weight = torch.exp(-edge * apart.abs().mean(1, keepdim=True))
        return (weight * (change**2 + 1e-6).sqrt()).mean()

    return 0.5 * (variation(3) + variation(2))


def endpoint_error(flow: Tensor, target: Tensor) -> Tensor:
    """Length of the difference of two flows, differentiable at zero."""
    return ((flow - target) ** 2).sum(1, keepdim=True).add(1e-12).sqrt()


def sequence_weights(count: int, gamma: float) -> list[float]:
    """γ^(n−1−i): later iterations and finer levels count more (RAFT, Teed & Deng, ECCV 2020)."""
    return [gamma ** (count - 1 - index) for index in range(count)]


def l1_error(flow: Tensor, target: Tensor) -> Tensor:
    """|Δx| + |Δy| of two flows."""
    return (flow - target).abs().sum(1, keepdim=True)


DISTANCES = {"euclidean": endpoint_error, "l1": l1_error}


def supervised_loss(flows: list[Tensor], target: Tensor, weight: Tensor, config: SupervisedConfig) -> Tensor:
    """Distance of every flow in the list to a target (B,2,H,W) where weight (B,1,H,W) is set.

    Weighted by `output_weights`; what `judged` leaves out does not count.
    """
    weight = judged(target, weight, config)
    total = flows[-1].new_zeros(())
    for flow, factor in zip(flows, output_weights(len(flows), config), strict=True):
        if factor:
            total = total + factor * flow_loss(flow, target, weight, config)
    return total


def judged(target: Tensor, weight: Tensor, config: SupervisedConfig) -> Tensor:
    """The weight (B,1,H,W) where the target (B,2,H,W) is slower than config.largest."""
    return weight if config.largest is None else weight * (target.norm(dim=1, keepdim=True) < config.largest)


def output_weights(count: int, config: SupervisedConfig) -> Sequence[float]:
    """What each of `count` flows counts: config.level_weights, or γ^(n−1−i).

    InputError if those are not as many, or all zero.
    """
    factors = config.level_weights or sequence_weights(count, config.gamma)
    if len(factors) != count:
        raise InputError(
            f"There are {len(factors)} level_weights and {count} flows of the network; "
            "give one for each, the coarsest first."
        )
    if not any(factors):
        raise InputError("All level_weights are 0, so there is nothing to learn from; give one flow a weight.")
    return factors


def flow_loss(flow: Tensor, target: Tensor, weight: Tensor, config: SupervisedConfig) -> Tensor:
    """One flow's distance to the target, compared on the flow's grid or at full size, in units of config.unit.

    exponent less than 1 is the robust form (|Δ| + 0.01)^q of PWC-Net's fine-tuning and of MDFlow's
    predecessors. A "sum" goes over the pixels of each item, as FlowNet and its successors count.
    """
    if config.full_size:
        flow = resize_flow(flow, target.shape[-2:])
    size = flow.shape[-2:]
    local_target, local_weight = labels_at(size, target, weight)
    error = DISTANCES[config.distance](flow, local_target) * (target.shape[-1] / size[1]) / config.unit
    error = error if config.exponent == 1 else robust(error, config.exponent)
    return masked_mean(error, local_weight) if config.reduction == "mean" else (error * local_weight).sum() / len(flow)


def labels_at(size: tuple[int, int], target: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """A target (B,2,H,W) on a grid of `size`, the mean of what weight (B,1,H,W) sets, and how much of that there is.

    Both by one filter, so that pixels not to be judged, unknown or wrong, do not bleed into their neighbours.
    """
    if weight.shape[-2:] == size:
        return target, weight
    share = F.interpolate(weight, size, mode="bilinear", align_corners=False, antialias=True)
    return resize_flow(target * weight, size) / share.clamp_min(1e-6), share

"""One pyramid level of LiteFlowNet2: match, sub-pixel refinement, regularisation."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mdflow.correlation import LocalCorrelation
from mdflow.networks.convolution import Convolution
from mdflow.networks.layers import (
    activated_cost,
    convolution,
    initialize,
    joined,
    normalize_features,
    start_near_zero,
    warp_inside,
)

RADIUS = 3
COST = (2 * RADIUS + 1) ** 2
REGULARIZATION_FEATURES = 128


def stack(inputs: int, widths: tuple[int, ...]) -> nn.Sequential:
    """3×3 convolutions of the given widths, one after the other."""
    layers = []
    for width in widths:
        layers.append(convolution(inputs, width))
        inputs = width
    return nn.Sequential(*layers)


class Doubling(nn.Module):
    """Bilinear upsampling by two as a fixed transposed convolution, which the releases store."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        ramp = torch.tensor([0.25, 0.75, 0.75, 0.25])
        self.register_buffer("weight", torch.outer(ramp, ramp).expand(channels, 1, 4, 4).clone())

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return F.conv_transpose2d(x.float(), self.weight, stride=2, padding=1, groups=x.shape[1])


class Match(nn.Module):
    """A flow increment from the cost volume; `sparse` computes every second pixel and displacement of it."""

    def __init__(self, window: int, sparse: bool, normalize: bool) -> None:
        super().__init__()
        self.normalize = normalize
        self.step = 2 if sparse else 1
        self.correlate = LocalCorrelation(RADIUS)
        self.doubling = Doubling(COST) if sparse else nn.Identity()
        self.layers = stack(COST, (128, 128, 96, 64, 32))
        self.flow = nn.Conv2d(32, 2, window, padding=window // 2)

    def forward(self, feature1: Tensor, warped2: Tensor) -> Tensor:
        # At even pixels, even displacements lead to even pixels: both maps are thinned out first.
        thin1, thin2 = (x[..., :: self.step, :: self.step] for x in (feature1, warped2))
        if self.normalize:
            cost = self.correlate(*normalize_features(thin1, thin2))
        else:  # mmflow sums over the channels where other networks take the mean
            cost = self.correlate(thin1, thin2) * feature1.shape[1]
        cost = activated_cost(cost)
        return self.flow(self.layers(self.doubling(cost))).float()


class Subpixel(nn.Module):
    """A flow increment from the features of both frames, the second warped."""

    def __init__(self, features: int, window: int) -> None:
        super().__init__()
        self.layers = stack(2 * features + 2, (128, 128, 96, 64, 32))
        self.flow = nn.Conv2d(32, 2, window, padding=window // 2)

    def forward(self, feature1: Tensor, warped2: Tensor, flow: Tensor) -> Tensor:
        return self.flow(self.layers(joined(feature1, warped2, flow))).float()


class Regularization(nn.Module):
    """The flow filtered in a window, by weights made of brightness error, flow and features (section 3.4)."""

    def __init__(self, features: int, window: int) -> None:
        super().__init__()
        self.window = window
        narrow = features < REGULARIZATION_FEATURES
        self.features = convolution(features, REGULARIZATION_FEATURES, 1) if narrow else nn.Identity()
        self.layers = stack(3 + max(features, REGULARIZATION_FEATURES), (128, 128, 64, 64, 32, 32))
        half, weights = window // 2, window**2
        self.distance = (
            nn.Sequential(Convolution(32, weights, 3, padding=1))
            if window == 3
            else nn.Sequential(
                nn.Conv2d(32, weights, (window, 1), padding=(half, 0)),
                nn.Conv2d(weights, weights, (1, window), padding=(0, half)),
            )
        )

    def forward(self, error: Tensor, feature1: Tensor, flow: Tensor) -> Tensor:
        centred = flow - flow.mean(dim=(2, 3), keepdim=True)
        x = self.layers(joined(error, centred, self.features(feature1)))
        weights = (-(self.distance(x).float() ** 2)).softmax(dim=1)[:, None]
        batch, _, height, width = flow.shape
        neighbours = F.unfold(flow, self.window, padding=self.window // 2).view(batch, 2, -1, height, width)
        return (weights * neighbours).sum(dim=2)


class FlowLevel(nn.Module):
    """One level; its flow is float32 also under autocast: half precision would round 10 px to 0.04 px.

    `scale` brings its flow to pixels of its grid, `window` is the size of its last filters.

    `normalize` is Match's, `regularised`: whether it has an R; `upsampled`: whether a finer level follows.
    """

    def __init__(
        self,
        features: int,
        scale: float,
        window: int,
        sparse: bool,
        normalize: bool,
        regularised: bool,
        upsampled: bool,
    ) -> None:
        super().__init__()
        self.scale = scale
        self.match = Match(window, sparse, normalize)
        self.subpixel = Subpixel(features, window)
        self.regularization = Regularization(features, window) if regularised else None
        self.doubling = Doubling(2) if upsampled else None
        self.apply(initialize)
        for unit in (self.match, self.subpixel):
            start_near_zero(unit.flow)

    def forward(
        self, image1: Tensor, image2: Tensor, feature1: Tensor, feature2: Tensor, flow: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """The level's flow and the same for the next finer level; `flow` comes from the coarser one.

        Images and features are at this level's size, flows in units of div_flow.
        """
        if flow is None:
            flow = self.match(feature1, feature2)
        else:
            flow = flow + self.match(feature1, warp_inside(feature2, flow * self.scale))
        flow = flow + self.subpixel(feature1, warp_inside(feature2, flow * self.scale), flow)
        if self.regularization is not None:
            difference = image1 - warp_inside(image2, flow * self.scale)
            error = difference.norm(dim=1, keepdim=True)
            flow = self.regularization(error, feature1, flow)
        return flow, None if self.doubling is None else self.doubling(flow)

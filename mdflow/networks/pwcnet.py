"""PWC-Net (Sun et al., CVPR 2018) with dense connections and the dilated context network."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from mdflow.correlation import LocalCorrelation
from mdflow.geometry import resize_flow
from mdflow.networks.layers import (
    activated_cost,
    convolution,
    initialize,
    joined,
    normalize_features,
    start_as_bilinear,
    start_near_zero,
    warp_inside,
)
from mdflow.networks.network import Features, FlowNetwork

RADIUS = 4
COST = (2 * RADIUS + 1) ** 2
WIDTHS = (16, 32, 64, 96, 128, 196)  # feature channels of levels 1 to 6
FINEST, COARSEST = 2, 6  # levels at which flow is estimated, 1/4 and 1/64 of the image
DENSE_WIDTHS = (128, 128, 96, 64, 32)


class DenseBlock(nn.Module):
    """Five convolutions, each of which sees its input and everything before it."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList()
        for width in DENSE_WIDTHS:
            self.layers.append(convolution(inputs, width))
            inputs += width

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = joined(layer(x), x)
        return x


class ContextNetwork(nn.Sequential):
    """Dilated convolutions that look far around each pixel of the finest level."""

    def __init__(self, inputs: int) -> None:
        widths, dilations = (128, 128, 128, 96, 64, 32), (1, 2, 4, 8, 16, 1)
        layers = []
        for width, dilation in zip(widths, dilations, strict=True):
            layers.append(convolution(inputs, width, dilation=dilation))
            inputs = width
        super().__init__(*layers, nn.Conv2d(inputs, 2, 3, padding=1))


class PWCNet(FlowNetwork):
    """PWC-Net, 9.4 M parameters: pyramid, warping, cost volume.

    `normalize`: costs are cosines (see `normalize_features`), needed to train from scratch, for which UFlow has a
    normalisation of its own; off in the released weights. `align_corners`: False for weights trained with a
    PyTorch whose grid_sample knew no other way.
    """

    stride = 64
    div_flow = 20.0  # flow inside the network is in units of 20 pixels of the full image

    def __init__(self, normalize: bool = True, align_corners: bool = True) -> None:
        super().__init__()
        self.normalize, self.align_corners = normalize, align_corners
        self.correlate = LocalCorrelation(RADIUS)
        widths = (3, *WIDTHS)
        self.encoder = nn.ModuleList(
            nn.Sequential(convolution(a, b, stride=2), convolution(b, b), convolution(b, b))
            for a, b in pairwise(widths)
        )
        self.dense, self.predict = nn.ModuleDict(), nn.ModuleDict()
        self.up_flow, self.up_features = nn.ModuleDict(), nn.ModuleDict()
        for level in range(COARSEST, FINEST - 1, -1):
            inputs = COST if level == COARSEST else COST + WIDTHS[level - 1] + 4
            outputs = inputs + sum(DENSE_WIDTHS)
            self.dense[str(level)] = DenseBlock(inputs)
            self.predict[str(level)] = nn.Conv2d(outputs, 2, 3, padding=1)
            if level > FINEST:
                self.up_flow[str(level)] = nn.ConvTranspose2d(2, 2, 4, 2, 1)
                self.up_features[str(level)] = nn.ConvTranspose2d(outputs, 2, 4, 2, 1)
        self.context = ContextNetwork(outputs)
        self.apply(initialize)
        for head in (*self.predict.values(), self.context[-1]):
            start_near_zero(head)
        for upsampling in self.up_flow.values():
            start_as_bilinear(upsampling)

    def encode(self, image1: Tensor, image2: Tensor) -> tuple[Features, Features]:
        """Feature maps of levels 2 to 6; the network was made for BGR images."""
        x, levels = torch.cat([image1, image2]).flip(1), []
        for stage in self.encoder:
            x = stage(x)
            levels.append(x)
        halves = [level.chunk(2) for level in levels[FINEST - 1 :]]
        return [half[0] for half in halves], [half[1] for half in halves]

    def estimate(self, features1: Features, features2: Features) -> list[Tensor]:
        """Flows at 1/64, 1/32, 1/16, 1/8, 1/4 and full resolution."""
        flow = x = None
        flows = []
        for level in range(COARSEST, FINEST - 1, -1):
            pair = features1[level - FINEST], features2[level - FINEST]
            x = self.dense[str(level)](self.match(level, *pair, flow, x))
            # In float32 also under autocast: half precision would round 10 px to 0.04 px.
            flow = self.predict[str(level)](x).float()
            if level == FINEST:
                flow = flow + self.context(x)
            flows.append(flow * (self.div_flow / 2**level))
        height, width = flows[-1].shape[-2:]
        flows.append(resize_flow(flows[-1], (height * 2**FINEST, width * 2**FINEST)))
        return flows

    def match(self, level: int, feature1: Tensor, feature2: Tensor, coarser: Tensor | None, x: Tensor | None) -> Tensor:
        """The input of the level's dense block, from the coarser level's flow and its dense features x."""
        if coarser is None:
            return self.cost(feature1, feature2)
        with torch.autocast(coarser.device.type, enabled=False):
            flow = self.up_flow[str(level + 1)](coarser)
        warped2 = warp_inside(feature2, flow * (self.div_flow / 2**level), self.align_corners)
        upsampled = self.up_features[str(level + 1)](x)
        return joined(self.cost(feature1, warped2), feature1, flow, upsampled)

    def cost(self, feature1: Tensor, warped2: Tensor) -> Tensor:
        """The cost volume of a level, (B,81,h,w)."""
        if self.normalize:
            feature1, warped2 = normalize_features(feature1, warped2)
        return activated_cost(self.correlate(feature1, warped2))

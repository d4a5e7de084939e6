"""FastFlowNet (Kong, Shen & Yang, ICRA 2021): the light network that mdflow deploys."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mdflow.correlation import LocalCorrelation
from mdflow.errors import InputError
from mdflow.geometry import resize_flow, warp
from mdflow.networks.convolution import Convolution
from mdflow.networks.layers import (
    activated_cost,
    chained,
    convolution,
    fine_stages,
    initialize,
    joined,
    normalize_features,
    rounded,
    scaled,
    scaled_frames,
    start_as_bilinear,
    start_near_zero,
    subtract_mean,
)
from mdflow.networks.network import Features, FlowNetwork

RADIUS = 4
FINEST, COARSEST = 2, 6  # pyramid levels, at 1/4 and 1/64 of the image
LEVELS = COARSEST - FINEST + 1


def center_dense_displacements() -> list[tuple[int, int]]:
    """The 53 of 81 displacements that the cost volume keeps: all near the centre, a checkerboard beyond."""
    steps = range(-RADIUS, RADIUS + 1)
    return [(dy, dx) for dy in steps for dx in steps if max(abs(dy), abs(dx)) <= 2 or (dy + dx) % 2 == 0]


DISPLACEMENTS = center_dense_displacements()


class ShuffleDecoder(nn.Module):
    """Cost volume, features and coarser flow to a flow: grouped convolutions with channel shuffle."""

    def __init__(self, inputs: int, groups: int = 3) -> None:
        super().__init__()
        self.groups = groups
        self.conv1 = convolution(inputs, 96)
        self.conv2 = convolution(96, 96, groups=groups)
        self.conv3 = convolution(96, 96, groups=groups)
        self.conv4 = convolution(96, 96, groups=groups)
        self.conv5 = convolution(96, 64)
        self.conv6 = convolution(64, 32)
        self.conv7 = Convolution(32, 2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        layers = self.conv1, self.conv2, self.conv3, self.conv4, self.conv5, self.conv6, self.conv7
        return chained(x, *layers, parts=(1, self.groups, self.groups, self.groups, 1, 1, 1))


class FastFlowNet(FlowNetwork):
    """FastFlowNet: 1.37 M parameters, head-enhanced pooling pyramid, centre-dense cost volume.

    `normalize`: costs are cosines (see `normalize_features`), needed to train from scratch; off in the released
    weights. `coarse_passes`: as often the whole network looks at
    smaller frames first, each time of half the size (0 as published), so that the coarsest decoder starts from motion
    of twice the reach. `fine_iterations`: as often the finest decoder goes on from the flow on the frames enlarged to
    twice the size, so at 1/2 of the frame (0 as published); `finest_iterations`: then to four times, so at each pixel.
    In evaluation alone, since it learns as much without, and only if the enlarged frames have up to 8 million pixels.
    """

    stride = 64
    div_flow = 20.0  # the decoders work in units of 20 pixels of the full image

    def __init__(
        self, normalize: bool = True, coarse_passes: int = 0, fine_iterations: int = 0, finest_iterations: int = 0
    ) -> None:
        super().__init__()
        if min(coarse_passes, fine_iterations, finest_iterations) < 0:
            raise InputError(
                "The network needs none or more fine and finest iterations and coarse passes, got "
                f"{fine_iterations}, {finest_iterations} and {coarse_passes}."
            )
        self.normalize, self.coarse_passes = normalize, coarse_passes
        self.fine_iterations, self.finest_iterations = fine_iterations, finest_iterations
        self.correlate = LocalCorrelation(RADIUS, DISPLACEMENTS)
        self.pconv1_1, self.pconv1_2 = convolution(3, 16, stride=2), convolution(16, 16)
        self.pconv2_1, self.pconv2_2, self.pconv2_3 = (
            convolution(16, 32, stride=2),
            convolution(32, 32),
            convolution(32, 32),
        )
        self.pconv3_1, self.pconv3_2, self.pconv3_3 = (
            convolution(32, 64, stride=2),
            convolution(64, 64),
            convolution(64, 64),
        )
        self.rconv2 = convolution(32, 32)
        for level in range(3, COARSEST + 1):
            setattr(self, f"rconv{level}", convolution(64, 32))
            setattr(self, f"up{level}", nn.ConvTranspose2d(2, 2, 4, 2, 1))
        for level in range(FINEST, COARSEST + 1):
            setattr(self, f"decoder{level}", ShuffleDecoder(len(DISPLACEMENTS) + 32 + 2))
        self.apply(initialize)
        for level in range(FINEST, COARSEST + 1):
            start_near_zero(getattr(self, f"decoder{level}").conv7)
        for level in range(3, COARSEST + 1):
            start_as_bilinear(getattr(self, f"up{level}"))

    def encode(self, image1: Tensor, image2: Tensor) -> tuple[Features, Features]:
        """Feature maps of levels 2 to 6, images centred by one scalar mean of the pair (MDFlow's release).

        For coarse passes those of the smaller images too, the smallest last, and for fine iterations behind them all
        level 2 of the enlarged images.
        """
        images = torch.cat(subtract_mean(image1, image2))
        levels, smaller = self.pyramid(images), images
        for _ in range(self.coarse_passes):
            smaller = scaled(smaller, 0.5, self.stride)
            levels += self.pyramid(smaller)
        frames = scaled_frames(images, [size for size, _ in self.fine_stages()], self.stride)
        levels += [self.finest_features(enlarged) for enlarged in frames]
        halves = [level.chunk(2) for level in levels]
        return [half[0] for half in halves], [half[1] for half in halves]

    def pyramid(self, images: Tensor) -> list[Tensor]:
        """Features of centred images at levels 2 to 6."""
        levels = [self.finest_features(images)]
        levels.append(chained(levels[0], self.pconv3_1, self.pconv3_2, self.pconv3_3))
        while len(levels) < LEVELS:
            levels.append(F.avg_pool2d(levels[-1], 2))
        return levels

    def fine_stages(self) -> list[tuple[int, int]]:
        """The size of each more look at the frames, and its iterations: training goes without."""
        return [] if self.training else fine_stages(self.fine_iterations, self.finest_iterations)

    def finest_features(self, images: Tensor) -> Tensor:
        """Features at 1/4 of centred images."""
        layers = self.pconv1_1, self.pconv1_2, self.pconv2_1, self.pconv2_2, self.pconv2_3
        return chained(rounded(images), *layers)

    def estimate(self, features1: Features, features2: Features) -> list[Tensor]:
        """Flows at 1/64, 1/32, 1/16, 1/8, 1/4, of fine iterations at 1/2, of finest at 1/1, and full resolution.

        Before them those of the coarse passes, from 1/64 to 1/4 of the smaller frames.
        """
        start, flows = None, []
        for number in range(self.coarse_passes, -1, -1):
            maps = slice(number * LEVELS, (number + 1) * LEVELS)
            for level, flow in self.decode(features1[maps], features2[maps], start):
                flows.append(flow * (self.div_flow / 2**level))
            if number:
                # In units of div_flow pixels of larger frames, as the maps before these are.
                start = 2 ** (COARSEST - FINEST) * resize_flow(flow, features1[maps.start - 1].shape[-2:])
        stages = self.fine_stages()[: len(features1) - LEVELS * (self.coarse_passes + 1)]
        reached = 1
        for number, (size, iterations) in enumerate(stages, -len(stages)):
            while reached < size:
                # A flow is as many times larger on larger frames.
                flow, reached = 2 * self.upsampled(FINEST, flow), 2 * reached
            for _ in range(iterations):
                flow = self.estimate_level(FINEST, features1[number], features2[number], flow)
                flows.append(flow * (self.div_flow / 2**FINEST))
        height, width = features1[0].shape[-2:]
        flows.append(resize_flow(flows[-1], (height * 2**FINEST, width * 2**FINEST)))
        return flows

    def decode(self, features1: Features, features2: Features, start: Tensor | None) -> Iterator[tuple[int, Tensor]]:
        """Each level, the coarsest first, and its flow in units of div_flow; the coarsest goes on from `start`."""
        for level in range(COARSEST, FINEST - 1, -1):
            flow = self.estimate_level(level, features1[level - FINEST], features2[level - FINEST], start)
            yield level, flow
            if level > FINEST:
                start = self.upsampled(level - 1, flow)

    def upsampled(self, level: int, coarser: Tensor) -> Tensor:
        """The flow of the next coarser level at this one's size."""
        # Flows stay in float32 under autocast: half precision would round 10 px to 0.04 px.
        with torch.autocast(coarser.device.type, enabled=False):
            return getattr(self, f"up{level + 1}")(coarser)

    def estimate_level(self, level: int, feature1: Tensor, feature2: Tensor, upsampled: Tensor | None) -> Tensor:
        """The level's flow in units of div_flow, from that of the next coarser level at this one's size."""
        if upsampled is None:
            start = feature1.new_zeros(feature1.shape[0], 2, *feature1.shape[-2:])
            warped2 = feature2
        else:
            start = upsampled
            warped2 = warp(feature2, upsampled * (self.div_flow / 2**level))
        matched1, matched2 = normalize_features(feature1, warped2) if self.normalize else (feature1, warped2)
        cost = activated_cost(self.correlate(matched1, matched2))
        decoder = getattr(self, f"decoder{level}")
        flow = decoder(joined(cost, chained(feature1, getattr(self, f"rconv{level}")), start)).float()
        return flow if upsampled is None else flow + upsampled

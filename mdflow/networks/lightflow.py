"""LightFlow (Zhu et al., arXiv 1804.05830): FlowNet of depthwise separable convolutions."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mdflow.errors import InputError
from mdflow.geometry import resize_flow
from mdflow.networks.convolution import Convolution
from mdflow.networks.layers import initialize, joined
from mdflow.networks.network import Features, FlowNetwork

MEAN = (0.411, 0.432, 0.45)  # of RGB images in [0,1], as FlowNet's PyTorch release has it
FINEST = 2  # the fused flow stands at 1/4 of the image


def separable(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """A 3×3 depthwise and a 1×1 convolution, each with batch normalisation and LeakyReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False),
        nn.BatchNorm2d(inputs),
        nn.LeakyReLU(0.1, inplace=True),
        Convolution(inputs, outputs, 1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.LeakyReLU(0.1, inplace=True),
    )


class LightFlow(FlowNetwork):
    """LightFlow; `width` scales all channels (published: 1, 0.75 and 0.5)."""

    stride = 64
    div_flow = 20.0  # flow inside the network is in units of 20 pixels of the full image

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        if not 0 < width <= 4:
            raise InputError(f"The width of LightFlow is a factor above 0 and up to 4, got {width}.")
        down = [round(width * channels) for channels in (32, 64, 128, 256, 512, 1024)]
        up = [round(width * channels) for channels in (256, 128, 64, 32, 16)]
        self.down = nn.ModuleList(separable(a, b, 2) for a, b in zip([6, *down[:-1]], down, strict=True))
        # The three coarsest levels have a second block.
        self.refine = nn.ModuleDict({str(level): separable(down[level - 1], down[level - 1]) for level in (4, 5, 6)})
        self.up = nn.ModuleList([separable(down[-1], up[0])])
        for coarser, skip, outputs in zip(up[:-1], down[-2:0:-1], up[1:], strict=True):
            self.up.append(separable(coarser + skip, outputs))
        self.predict = nn.ModuleList(separable(channels, 2) for channels in up)
        self.apply(initialize)
        # A normalised output means 20 random pixels to unlearn: start near zero flow.
        for predict in self.predict:
            nn.init.constant_(predict[4].weight, 0.1)

    def encode(self, image1: Tensor, image2: Tensor) -> tuple[Features, Features]:
        """The images themselves, centred: the network looks at both together from its first layer on."""
        mean = image1.new_tensor(MEAN).view(1, 3, 1, 1)
        return [image1 - mean], [image2 - mean]

    def estimate(self, features1: Features, features2: Features) -> list[Tensor]:
        """The fused flow at 1/4 and at full resolution."""
        x, skips = torch.cat([features1[0], features2[0]], dim=1), []
        if self.training and x[:, 0].numel() == self.stride**2:
            raise InputError(
                "LightFlow normalises over the batch: it cannot train on a single 64x64 crop; "
                "give a larger --size or --batch-size."
            )
        for level, layer in enumerate(self.down, start=1):
            x = layer(x)
            if str(level) in self.refine:
                x = self.refine[str(level)](x)
            skips.append(x)
        levels = [self.up[0](x)]
        for layer, skip in zip(self.up[1:], skips[-2:0:-1], strict=True):
            coarser = F.interpolate(levels[-1], skip.shape[-2:], mode="nearest")
            levels.append(layer(joined(coarser, skip)))
        # In float32 also under autocast: half precision would round 10 px to 0.04 px.
        flows = [predict(x).float() for predict, x in zip(self.predict, levels, strict=True)]
        # Every level's flow is in units of the full image: the fusion is their plain mean.
        size = flows[-1].shape[-2:]
        flow = torch.stack([F.interpolate(flow, size, mode="nearest") for flow in flows]).mean(dim=0) * (
            self.div_flow / 2**FINEST
        )
        return [flow, resize_flow(flow, features1[0].shape[-2:])]

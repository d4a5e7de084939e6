"""From a coarse flow to full resolution."""

from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mdflow.geometry import bilinear_mix
from mdflow.kernels.mixing import convex_mix
from mdflow.kernels.native import computes
from mdflow.networks.convolution import Convolution
from mdflow.networks.layers import Head

TEMPERATURE = 0.25  # RAFT scales its logits so, to balance their gradient with the flow head's
UPSAMPLING = ("bilinear", "convex")
BORDERS = ("constant", "replicate")


class ConvexUpsampling(nn.Module):
    """Each fine pixel a learned convex mix of its 3×3 coarse neighbours (Teed & Deng, ECCV 2020, section 3.3).

    inputs: channels of the map that the mix is drawn from; border: "constant" takes zero flow beyond the border, as
    RAFT does, "replicate" the border's own. It starts as bilinear upsampling.
    """

    def __init__(self, inputs: int, factor: int, width: int = 256, border: str = "constant") -> None:
        super().__init__()
        self.factor, self.border = factor, border
        self.weights = Head(Convolution(inputs, width, 3, padding=1), Convolution(width, 9 * factor**2, 1))
        self.start_as_bilinear()

    @torch.no_grad()
    def start_as_bilinear(self) -> None:
        """Let the mix begin as bilinear, whatever the input: a softmax's weights are never zero, but near it."""
        last = self.weights[2]
        nn.init.zeros_(last.weight)
        mix = bilinear_mix(self.factor, last.bias).flatten(1).T  # (9,factor²)
        last.bias.copy_(mix.clamp(min=1e-3).log().flatten() / TEMPERATURE)

    def forward(self, flow: Tensor, features: Tensor) -> Tensor:
        """Flow (B,2,h,w) in coarse pixels to (B,2,fh,fw) in fine ones; features (B,inputs,h,w)."""
        batch, _, height, width = flow.shape
        logits = self.weights(features)
        if computes(logits) and computes(flow) and flow.dtype == torch.float32:
            return convex_mix(logits, self.factor * flow, self.factor, TEMPERATURE, self.border == "replicate")
        logits = TEMPERATURE * logits.permute(0, 2, 3, 1)
        mix = logits.reshape(batch, height * width, 9, self.factor**2).softmax(dim=2)
        # Not in half precision, which would round 10 px to 0.04 px.
        with torch.autocast(flow.device.type, enabled=False):
            fine = self.neighbours(self.factor * flow) @ mix.to(flow.dtype)
        fine = fine.view(batch, height, width, 2, self.factor, self.factor)
        return fine.permute(0, 3, 1, 4, 2, 5).reshape(batch, 2, self.factor * height, self.factor * width)

    def neighbours(self, flow: Tensor) -> Tensor:
        """The 3×3 neighbours of each vector, (B,h·w,2,9)."""
        batch, _, height, width = flow.shape
        around = F.pad(flow, (1, 1, 1, 1), mode=self.border)
        shifted = [around[..., y : y + height, x : x + width] for y, x in product(range(3), repeat=2)]
        return torch.stack(shifted, dim=-1).permute(0, 2, 3, 1, 4).reshape(batch, height * width, 2, 9)


class BilinearUpsampling(nn.Module):
    """Without parameters, corners on corners, as in RAFT-small."""

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, flow: Tensor, features: Tensor) -> Tensor:
        """Flow (B,2,h,w) in coarse pixels to (B,2,fh,fw) in fine ones; features are not looked at."""
        return self.factor * F.interpolate(flow, scale_factor=self.factor, mode="bilinear", align_corners=True)

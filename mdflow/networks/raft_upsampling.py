"""From RAFT's maps at 1/8 of the image to full resolution."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FACTOR = 8


class ConvexUpsampling(nn.Module):
    """Each fine pixel a learned convex mix of its 3×3 coarse neighbours (Teed & Deng, 2020, section 3.3)."""

    def __init__(self, hidden: int, width: int = 256) -> None:
        super().__init__()
        self.weights = nn.Sequential(
            nn.Conv2d(hidden, width, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, 9 * FACTOR**2, 1),
        )

    def forward(self, flow: Tensor, hidden: Tensor) -> Tensor:
        """Flow (B,2,h,w) in coarse pixels to (B,2,8h,8w) in fine ones."""
        batch, _, height, width = flow.shape
        # RAFT scales the logits by 1/4 to balance their gradient with the flow head's.
        logits = 0.25 * self.weights(hidden).permute(0, 2, 3, 1)
        weights = logits.reshape(batch, height * width, 9, FACTOR**2).softmax(dim=2)
        neighbours = F.unfold(FACTOR * flow, 3, padding=1).view(batch, 2, 9, -1).permute(0, 3, 1, 2).contiguous()
        # Not in half precision, which would round 10 px to 0.04 px.
        with torch.autocast(flow.device.type, enabled=False):
            fine = (neighbours @ weights.float()).view(batch, height, width, 2, FACTOR, FACTOR)
        return fine.permute(0, 3, 1, 4, 2, 5).reshape(batch, 2, FACTOR * height, FACTOR * width)


class BilinearUpsampling(nn.Module):
    """Without parameters, corners on corners, as in RAFT-small."""

    def forward(self, flow: Tensor, hidden: Tensor) -> Tensor:
        """Flow (B,2,h,w) in coarse pixels to (B,2,8h,8w) in fine ones."""
        return FACTOR * F.interpolate(flow, scale_factor=FACTOR, mode="bilinear", align_corners=True)

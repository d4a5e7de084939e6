"""GMA's global motion aggregation (Jiang et al., ICCV 2021): motion shared between pixels that look alike."""

import torch
from torch import Tensor, nn

from mdflow.networks.convolution import Convolution


class MotionAggregation(nn.Module):
    """Attention of every pixel to every pixel, from the context; it carries motion into occluded regions.

    O((H·W)²) memory, as RAFT's cost volume.
    """

    def __init__(self, context: int, motion: int) -> None:
        super().__init__()
        self.query_key = Convolution(context, 2 * context, 1, bias=False)
        self.value = Convolution(motion, motion, 1, bias=False)
        self.gain = nn.Parameter(torch.zeros(1))

    def attention(self, context: Tensor) -> Tensor:
        """Weights (B,N,N) of all pixels for each pixel; the same for all iterations."""
        query, key = self.query_key(context).flatten(2).chunk(2, dim=1)
        return (query.transpose(1, 2) @ key * query.shape[1] ** -0.5).softmax(dim=2)

    def forward(self, motion: Tensor, attention: Tensor) -> Tensor:
        """Motion features (B,C,h,w) plus what the attended pixels move like."""
        gathered = self.value(motion).flatten(2) @ attention.transpose(1, 2)
        return motion + self.gain * gathered.unflatten(2, motion.shape[-2:])

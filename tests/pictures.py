"""What several tests look at: textures, and pairs whose flow is known by construction."""

import torch
import torch.nn.functional as F
from torch import Tensor


def texture(height: int, width: int, seed: int = 0, batch: int = 1) -> Tensor:
    """Random smooth images (batch,3,height,width) in [0,1], with detail at every pixel."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(batch, 3, height // 4 + 2, width // 4 + 2, generator=generator)
    fine = torch.rand(batch, 3, height, width, generator=generator)
    smooth = F.interpolate(coarse, (height, width), mode="bicubic", align_corners=False)
    return (0.8 * smooth + 0.2 * fine).clamp(0, 1)


def constant_flow(dx: float, dy: float, height: int, width: int, batch: int = 1) -> Tensor:
    """The flow (batch,2,height,width) of a translation."""
    return torch.tensor([dx, dy], dtype=torch.float32).view(1, 2, 1, 1).repeat(batch, 1, height, width)


def shifted_pair(dx: int, dy: int, height: int, width: int, seed: int = 0, batch: int = 1) -> tuple[Tensor, Tensor]:
    """Two views of one texture, between which everything moves by (dx, dy) whole pixels."""
    margin = max(abs(dx), abs(dy))
    wide = texture(height + 2 * margin, width + 2 * margin, seed, batch)
    top, left = margin - dy, margin - dx
    image1 = wide[..., margin : margin + height, margin : margin + width]
    return image1, wide[..., top : top + height, left : left + width]

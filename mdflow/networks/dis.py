"""DIS flow (Kroeger et al., ECCV 2016) of OpenCV: what can be had without learning."""

import cv2
import numpy as np
import torch
from torch import Tensor

from mdflow.errors import InputError
from mdflow.networks.network import Features, FlowNetwork

SMALLEST = 16  # pixels a side: OpenCV ends in an assertion below, or ends the process


class DISFlow(FlowNetwork):
    """OpenCV's dense inverse search, preset medium, on gray images of 8 bits; runs on the CPU."""

    stride = 1

    def __init__(self) -> None:  # without options
        super().__init__()

    def encode(self, image1: Tensor, image2: Tensor) -> tuple[Features, Features]:
        """The images; what a pyramid needs is made inside OpenCV."""
        return [image1], [image2]

    def estimate(self, features1: Features, features2: Features) -> list[Tensor]:
        """One flow at full resolution, without gradient."""
        flows = [dis_flow(a, b) for a, b in zip(features1[0], features2[0], strict=True)]
        return [torch.stack(flows).to(features1[0])]


def dis_flow(image1: Tensor, image2: Tensor) -> Tensor:
    """Flow (2,H,W) from image1 to image2, both (3,H,W) RGB in [0,1]; InputError if they are smaller than a patch."""
    height, width = image1.shape[-2:]
    if min(height, width) < SMALLEST:
        raise InputError(f"Images of {height}x{width} pixels are too small for DIS flow; it needs {SMALLEST} a side.")
    search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow = search.calc(gray_levels(image1), gray_levels(image2), None)
    return torch.from_numpy(flow).permute(2, 0, 1)


def gray_levels(image: Tensor) -> np.ndarray:
    """An image (3,H,W) in [0,1] as (H,W) uint8."""
    levels = (image.detach().clamp(0, 1) * 255).round().byte()
    return cv2.cvtColor(levels.permute(1, 2, 0).contiguous().cpu().numpy(), cv2.COLOR_RGB2GRAY)

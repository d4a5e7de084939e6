"""No motion at all: what every estimate is compared with first."""

import torch
from torch import Tensor

from mdflow.networks.network import Features, FlowNetwork


class ZeroFlow(FlowNetwork):
    """Zero flow; its error is the mean length of the true flow."""

    stride = 1

    def __init__(self) -> None:  # without options
        super().__init__()

    def encode(self, image1: Tensor, image2: Tensor) -> tuple[Features, Features]:
        """The images, of which only the size is used."""
        return [image1], [image2]

    def estimate(self, features1: Features, features2: Features) -> list[Tensor]:
        """One flow of zeros at full resolution."""
        return [torch.zeros_like(features1[0][:, :2])]

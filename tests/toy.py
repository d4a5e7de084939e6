"""A network of two numbers, and pairs in memory, for tests of what surrounds a network."""

import numpy as np
import torch
from torch import Tensor

from mdflow.data.sample import Sample
from mdflow.networks.network import FlowNetwork


class Translation(FlowNetwork):
    """Says that the first half of a batch moves by (dx, dy), the second half back, and remembers what it saw.

    `calls` counts how often it was called in training, as batch normalisation does.
    """

    stride = 1
    name = "translation"
    options: dict[str, object] = {}  # noqa: RUF012

    def __init__(self, dx: float = 0, dy: float = 0) -> None:
        super().__init__()
        self.motion = torch.nn.Parameter(torch.tensor([float(dx), float(dy)]))
        self.register_buffer("calls", torch.tensor(0))

    def encode(self, image1: Tensor, image2: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        self.seen = (image1.detach(), image2.detach())
        return [image1], [image2]

    def estimate(self, features1: list[Tensor], features2: list[Tensor]) -> list[Tensor]:
        image = features1[0]
        self.calls += self.training
        backward = torch.arange(len(image)) >= (len(image) + 1) // 2
        signs = torch.where(backward, -1.0, 1.0).view(-1, 1, 1, 1)
        return [signs * self.motion.view(1, 2, 1, 1).expand(len(image), 2, *image.shape[-2:])]


class Stopped(Exception):
    """What a test's dataset raises to stop a run."""


class Pairs:
    """Pairs of size×size pixels that move right by two pixels; raises Stopped after `reads` reads."""

    name = "pairs"

    def __init__(self, length: int = 3, size: int = 64, reads: int | None = None) -> None:
        self.length, self.size, self.reads = length, size, reads

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Sample:
        if self.reads is not None:
            if self.reads == 0:
                raise Stopped
            self.reads -= 1
        coarse = np.random.default_rng(index).integers(0, 256, (self.size // 4, self.size // 4 + 1, 3), np.uint8)
        wide = coarse.repeat(4, 0).repeat(4, 1)
        flow = np.zeros((self.size, self.size, 2), np.float32)
        flow[..., 0] = 2
        return Sample(f"{index}", wide[:, 2 : self.size + 2], wide[:, : self.size], flow, flow21=-flow)


def captured(monkeypatch, module) -> dict:
    """What a module gives to its imitation_loss, once it has: images, flows and weights."""
    seen = {}

    def look(network, images, flows, weights, *rest):
        seen.update(images=images, flows=flows, weights=weights)
        return torch.ones((), requires_grad=True)

    monkeypatch.setattr(module, "imitation_loss", look)
    return seen

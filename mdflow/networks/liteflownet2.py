"""LiteFlowNet2 (Hui, Tang & Loy, TPAMI 2020), in all stages of its training.

At each pyramid level a match (M) finds the flow from a cost volume, a sub-pixel unit (S) refines it from
the features, and a regularisation (R) smooths it by a local filter that depends on the features.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mdflow.errors import InputError
from mdflow.geometry import resize_flow
from mdflow.networks.layers import convolution, initialize
from mdflow.networks.liteflownet2_level import FlowLevel
from mdflow.networks.network import Features, FlowNetwork

WIDTHS = {1: 32, 2: 32, 3: 64, 4: 96, 5: 128, 6: 192}  # feature channels; level n stands at 1/2^(n-1)
DEPTHS = {1: 1, 2: 3, 3: 2, 4: 2, 5: 1, 6: 1}  # convolutions of each level
COARSEST = 6
MEAN = (0.411618, 0.434631, 0.454253)  # of BGR images in [0,1], as mmflow has it
VARIANTS = {  # finest level with flow, and whether that level is regularised
    "M6S6": (6, False),
    "M6S6R6": (6, True),
    "M5S5R5": (5, True),
    "M4S4R4": (4, True),
    "M3S3R3": (3, True),
}


class LiteFlowNet2(FlowNetwork):
    """LiteFlowNet2, 6.4 M parameters; `variant` is how far its staged training has come.

    `normalize`: costs are cosines (see `normalize_features`), with which it trains sooner; off in the released weights.
    """

    stride = 32
    div_flow = 20.0  # flow inside the network is in units of 20 pixels of the full image

    def __init__(self, variant: str = "M3S3R3", normalize: bool = True) -> None:
        super().__init__()
        if variant not in VARIANTS:
            raise InputError(f"Unknown variant '{variant}' of LiteFlowNet2; choose from {', '.join(VARIANTS)}.")
        self.finest, regularised = VARIANTS[variant]
        self.encoder = nn.ModuleList()
        inputs = 3
        for level, width in WIDTHS.items():
            first = convolution(inputs, width, 7) if level == 1 else convolution(inputs, width, stride=2)
            self.encoder.append(nn.Sequential(first, *(convolution(width, width) for _ in range(DEPTHS[level] - 1))))
            inputs = width
        self.levels = nn.ModuleDict(
            {
                str(level): FlowLevel(
                    WIDTHS[level],
                    scale=self.div_flow / 2 ** (level - 1),
                    window=5 if level < 5 else 3,
                    sparse=level == 3,
                    normalize=normalize,
                    regularised=regularised or level > self.finest,
                    upsampled=level > self.finest,
                )
                for level in range(COARSEST, self.finest - 1, -1)
            }
        )
        self.encoder.apply(initialize)

    def encode(self, image1: Tensor, image2: Tensor) -> tuple[Features, Features]:
        """The centred BGR image and the feature maps of the finest to the coarsest flow level."""
        x = torch.cat([image1, image2]).flip(1) - image1.new_tensor(MEAN).view(1, 3, 1, 1)
        maps = [x]
        for level, stage in enumerate(self.encoder, start=1):
            x = stage(x)
            if level >= self.finest:
                maps.append(x)
        halves = [one.chunk(2) for one in maps]
        return [half[0] for half in halves], [half[1] for half in halves]

    def estimate(self, features1: Features, features2: Features) -> list[Tensor]:
        """Flows of level 6 (1/32) to the finest level (1/4 for M3S3R3), then at full resolution."""
        image1, image2 = features1[0], features2[0]
        coarser, flows = None, []
        for level in range(COARSEST, self.finest - 1, -1):
            feature1, feature2 = (features[1 + level - self.finest] for features in (features1, features2))
            size = feature1.shape[-2:]
            small1, small2 = (F.interpolate(image, size, mode="bilinear") for image in (image1, image2))
            flow, coarser = self.levels[str(level)](small1, small2, feature1, feature2, coarser)
            flows.append(flow * (self.div_flow / 2 ** (level - 1)))
        flows.append(resize_flow(flows[-1], image1.shape[-2:]))
        return flows

    def grown(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The weights of the stage before, its new level those of the level above where they fit.

        So the published schedule trains: M6S6, M6S6R6, M5S5R5, M4S4R4, M3S3R3.
        """
        new, above = (f"levels.{level}." for level in (self.finest, self.finest + 1))
        start = dict(state)
        for key, fresh in self.state_dict().items():
            earlier = state.get(key.replace(new, above))
            if key not in state:
                start[key] = fresh if earlier is None or earlier.shape != fresh.shape else earlier
        return start

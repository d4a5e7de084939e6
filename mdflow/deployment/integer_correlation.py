"""The local cost volume of a quantised network, simulated in floats and exported in integers."""

import torch
from torch import Tensor

from mdflow.correlation import LocalCorrelation, local_correlation
from mdflow.kernels.banded_correlation import banded_integer_correlation, on_whole_steps


class IntegerCorrelation(LocalCorrelation):
    """A correlation whose features are rounded to 8 bits, the step of each map by its own largest value.

    So nothing is clipped, and there is nothing to calibrate.
    """

    def forward(self, features1: Tensor, features2: Tensor) -> Tensor:
        """The costs of rounded features; exported, in operators on integers."""
        with torch.autocast(features1.device.type, enabled=False):
            maps = features1.float(), features2.float()
            if torch.compiler.is_exporting():
                return banded_integer_correlation(*maps, self.radius, self.displacements)
            return local_correlation(*map(on_whole_steps, maps), self.radius, self.displacements)

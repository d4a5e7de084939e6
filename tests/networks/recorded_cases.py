"""Two small cases of our own: parameters and images by rule, outputs as recorded.

They were recorded when both networks gave the outputs of their original implementations.

`python tests/networks/recorded_cases.py` records them again, which is right only after a change that is
meant to change the outputs.
"""

import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mdflow.networks import create
from mdflow.networks.network import FlowNetwork

FOLDER = Path(__file__).parent / "recorded"
CASES = {"fastflownet": {"normalize": False}, "raft_small": {"iterations": 4}}


def network_by_rule(name: str) -> FlowNetwork:
    """The network with every parameter drawn from a generator seeded by the parameter's name."""
    network = create(name, **CASES[name]).eval()
    for key, parameter in network.named_parameters():
        values = np.random.default_rng(zlib.crc32(key.encode())).standard_normal(parameter.shape)
        gain = 0.1 if parameter.dim() == 1 else (1.5 / np.prod(parameter.shape[1:])) ** 0.5
        parameter.data = torch.from_numpy(values * gain).float()
    return network


def pair_by_rule() -> tuple[Tensor, Tensor]:
    """A smooth 64×64 colour pattern and the same pattern moved by (2, 1) pixels."""
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")

    def pattern(dx: float, dy: float) -> Tensor:
        u, v = x - dx, y - dy
        channels = [(u / 5).sin() * (v / 7).cos(), (u / 11 + v / 6).sin(), (u / 9 - v / 4).cos()]
        return (0.5 + 0.5 * torch.stack(channels))[None]

    return pattern(0, 0), pattern(2, 1)


def outputs(name: str) -> dict[str, np.ndarray]:
    """First and last flow, the large ones thinned out."""
    with torch.no_grad():
        flows = network_by_rule(name)(*pair_by_rule())
    return {
        which: flow[..., :: max(1, flow.shape[-2] // 16), :: max(1, flow.shape[-1] // 16)].numpy()
        for which, flow in (("first", flows[0]), ("last", flows[-1]))
    }


if __name__ == "__main__":
    for case in CASES:
        np.savez_compressed(FOLDER / f"{case}.npz", **outputs(case))

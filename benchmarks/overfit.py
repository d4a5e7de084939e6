"""Can every network learn one pair by heart? Its error after some steps, against that of zero flow.

python -m benchmarks.overfit [--networks NAME ...] [--size 64x64] [--rate 4e-4] [--steps 0 50 100 200] [--staged]

One pair of synthetic frames with its labels, every output judged alike (γ = 0.8), Adam as in mdflow.config, nothing
augmented. A network that does not learn even this has a fault: what should reach its weights does not. With --staged
LiteFlowNet2's stages alone, each from the weights of the one before.
"""

import argparse
import time
from collections.abc import Sequence

import torch
from torch import Tensor

from mdflow.commands.predictor import parse_size
from mdflow.config import OptimiserConfig, SupervisedConfig
from mdflow.data.batches import planes
from mdflow.data.synthetic import Synthetic
from mdflow.losses import supervised_loss
from mdflow.networks import create
from mdflow.networks.liteflownet2 import VARIANTS
from mdflow.networks.network import FlowNetwork
from mdflow.reports.tables import text_table
from mdflow.training import make_optimiser, update

ZOO = {  # as small as keeps its parts
    "fastflownet": ("fastflownet", {}),
    "pwcnet": ("pwcnet", {}),
    "lightflow": ("lightflow", {}),
    **{f"liteflownet2 {stage}": ("liteflownet2", {"variant": stage}) for stage in VARIANTS},
    "raft_small": ("raft_small", {"iterations": 4}),
    "raft": ("raft", {"iterations": 4}),
    "gma": ("gma", {"iterations": 4}),
    "deqflow": ("deqflow", {"iterations": 8, "corrections": 2}),
    **{
        f"deqflow {size}": ("deqflow", {"size": size, "iterations": 8, "corrections": 2})
        for size in ("tiny", "large", "huge", "gigantic")
    },
}

Pair = tuple[Tensor, Tensor, Tensor]


def main() -> None:
    """Print one table, a line as soon as a network is done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=ZOO, default=list(ZOO))
    parser.add_argument("--size", type=parse_size, default=(64, 64))
    parser.add_argument("--rate", type=float, default=4e-4)
    parser.add_argument("--steps", type=int, nargs="+", default=[0, 50, 100, 200])
    parser.add_argument("--staged", action="store_true")
    arguments = parser.parse_args()
    titles = [f"liteflownet2 {stage}" for stage in VARIANTS] if arguments.staged else arguments.networks
    pair = make_pair(arguments.size)
    zero = float(error(torch.zeros_like(pair[2]), pair[2]))
    print(f"zero flow: {zero:.2f} px")
    lines, network = [], None
    for title in titles:
        begin = time.process_time()
        torch.manual_seed(0)
        name, options = ZOO[title]
        before, network = network, create(name, **options)
        if before and arguments.staged:
            network.load_state_dict(network.grown(before.state_dict()))
        errors = overfit(network, pair, arguments.rate, arguments.steps)
        lines.append([title, *(f"{one:.2f}" for one in errors), f"{time.process_time() - begin:.0f}"])
        print(" ".join(lines[-1]), flush=True)
    print(text_table(["network", *(f"after {steps}" for steps in arguments.steps), "processor s"], lines, left=1))


def make_pair(size: tuple[int, int]) -> Pair:
    """Both directions of a pair of synthetic frames: image1, image2 in [0,1] and the flow, batches of two."""
    sample = Synthetic(length=1, size=size, motion=(4, 4), seed=1, texture_count=8, appearance=False)[0]
    image1, image2 = (planes(image).float() / 255 for image in (sample.image1, sample.image2))
    flows = [planes(flow) for flow in (sample.flow12, sample.flow21)]
    return torch.stack([image1, image2]), torch.stack([image2, image1]), torch.stack(flows)


def overfit(network: FlowNetwork, pair: Pair, rate: float, looks: Sequence[int]) -> list[float]:
    """Train on a pair; the error of the last flow, px, after each number of steps in `looks`, as training sees it."""
    optimiser = make_optimiser(network.train(), OptimiserConfig(learning_rate=rate))
    image1, image2, truth = pair
    known = torch.ones_like(truth[:, :1])
    errors = []
    for number in range(max(looks) + 1):
        flows = network(image1, image2)
        if number in looks:
            errors.append(float(error(flows[-1].detach(), truth)))
        update(network, supervised_loss(flows, truth, known, SupervisedConfig()), optimiser, clip=1.0)
    return errors


def error(flow: Tensor, truth: Tensor) -> Tensor:
    """The mean endpoint error, px."""
    return (flow - truth).norm(dim=1).mean()


if __name__ == "__main__":
    main()

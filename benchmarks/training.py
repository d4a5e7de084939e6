"""Learning from unlabelled frames on a CPU, against the plain formulation of the same, by turns in one process.

python -m benchmarks.training [--runs 5] [--threads 2] [--only WAY] [--keep-pages]

Loss: both directions, census 7×7 with smoothness and a forward-backward mask, 4×256×448, forward and backward. Step:
FastFlowNet, 4×256×448, optimiser and loader included. Plain: the census by unfold, each direction a pass of its own,
the cost volume by shifted products, float32.
"""

import argparse
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from benchmarks.plain import plain_loss, plain_terms, ternary_loss
from benchmarks.timing import Ways, add_options, machine, prepare, print_peaks, print_times, run_alone
from mdflow.config import PretrainConfig, UnsupervisedConfig
from mdflow.data.batches import Batch, Cached, batches
from mdflow.data.synthetic import Synthetic
from mdflow.networks import create
from mdflow.pretrain import pretrain_step, sees_itself_from
from mdflow.settings import build
from mdflow.system.processor import has_bfloat16
from mdflow.training import make_optimiser, precision, to_device, update
from mdflow.unsupervised import Crops, unsupervised_loss

SIZE = (256, 448)
CONFIG = build(PretrainConfig, precision="bfloat16", batch_size=4, augment__crop=SIZE, data__frame=SIZE)


def main() -> None:
    """Print the tables, or run one way of the loss once and print the peak memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_options(parser, runs=5)
    parser.add_argument("--only", metavar="WAY")
    arguments = parser.parse_args()
    prepare(arguments)
    losses = loss_ways()
    if arguments.only:
        run_alone(arguments.only, losses)
        return
    print(machine())
    print_times("Unsupervised loss, forward and backward", losses, arguments.runs, "plain, 7×7 by unfold")
    print_peaks("benchmarks.training", losses)
    loader = open_loader(sees_itself_from(CONFIG))
    print_times("One training step, loading included", step_ways(loader), arguments.runs, "plain")
    print(f"the loader alone, one worker: {time_loader(loader):.0f} ms a batch")
    print(f"the same with coloured twins: {time_loader(open_loader(0)):.0f} ms a batch")


def loss_ways() -> Ways:
    """The loss by each formulation, on random frames and flows."""
    image1, image2 = torch.rand(2, 4, 3, *SIZE).unbind()
    flows = [torch.randn(4, 2, *SIZE).mul_(2).requires_grad_() for _ in range(2)]
    config = UnsupervisedConfig()

    def ours() -> Tensor:
        crops = Crops.whole(image1, image2)
        return sum(unsupervised_loss(crops, [flows[0]], [flows[1]], config)[0].values())

    return {
        "plain, 7×7 by unfold": lambda: plain_loss(image1, image2, *flows).backward(),
        "plain, 3×3 at four scales": lambda: ternary_loss(image1, image2, *flows).backward(),
        "mdflow, 7×7": lambda: ours().backward(),
    }


def open_loader(coloured_from: int) -> Iterator[Batch]:
    """Batches of synthetic frames that are in memory already, as they are for most of a training."""
    data = Cached(Synthetic(length=16, size=SIZE))
    loader = batches(data, CONFIG, 0, labels=False, coloured_from=coloured_from)
    for _ in range(8):
        next(loader)
    return loader


def time_loader(loader: Iterator[Batch]) -> float:
    """Milliseconds for a batch."""
    start = time.perf_counter()
    for _ in range(20):
        next(loader)
    return 1000 * (time.perf_counter() - start) / 20


def step_ways(loader: Iterator[Batch]) -> Ways:
    """A training step by each formulation."""
    exact = CONFIG.model_copy(update={"precision": "float32"})
    ways = {
        "plain": stepper(loader, exact, plain_terms),
        "mdflow, float32": stepper(loader, exact, own_terms(exact)),
    }
    if has_bfloat16(torch.device("cpu")):
        ways["mdflow, bfloat16"] = stepper(loader, CONFIG, own_terms(CONFIG))
    return ways


def own_terms(config: PretrainConfig) -> Callable:
    """The pretraining step of this project."""
    return lambda network, batch: sum(pretrain_step(network, config, batch, progress=0.5).values())


def stepper(loader: Iterator[Batch], config: PretrainConfig, terms: Callable) -> Callable[[], None]:
    """Load, learn, update."""
    network = create("fastflownet").train()
    optimiser = make_optimiser(network, config.optimiser)
    device = torch.device("cpu")

    def step() -> None:
        batch = to_device(next(loader), device)
        with precision(config, device):
            loss = terms(network, batch)
        update(network, loss, optimiser, 1.0)

    return step


if __name__ == "__main__":
    main()

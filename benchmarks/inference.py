"""Inference on a CPU at 448×1024, one pair, against the published implementations, by turns in one process.

python -m benchmarks.inference [--runs 7] [--threads 2] [--compile] [--keep-pages]

FastFlowNet against its release's formulation (its cost volume by spatial-correlation-sampler where that is installed,
else by shifted products), RAFT with 12 iterations against torchvision's where that is installed. "differs" is the mean
length of the difference from the float32 flow without kernels in C++ on a pair of synthetic frames, as a share of the
mean flow.
"""

import argparse
import itertools

import torch
from torch import Tensor

from benchmarks.plain import SAMPLER, released_forward
from benchmarks.timing import add_options, machine, prepare, print_times
from mdflow import Predictor
from mdflow.data.synthetic import Synthetic
from mdflow.inference import PRECISIONS, image_tensor
from mdflow.kernels.native import without_kernels
from mdflow.networks import create
from mdflow.networks.network import FlowNetwork
from mdflow.system.processor import has_bfloat16
from teachers import load

SIZE = (448, 1024)
PLAIN = "mdflow float32, without kernels"


def main() -> None:
    """Print one table a network."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_options(parser, runs=7)
    parser.add_argument(
        "--compile", action="store_true", help="FastFlowNet also through torch.compile: minutes, the first time"
    )
    arguments = parser.parse_args()
    prepare(arguments)
    print(machine())
    sample = Synthetic(length=1, size=SIZE, motion=(8, 8))[0]
    images = image_tensor(sample.image1), image_tensor(sample.image2)
    released = released_forward(create("fastflownet", normalize=False).eval())
    measure(
        f"FastFlowNet, shipped weights; released formulation with {SAMPLER}",
        {"released": torch.no_grad()(lambda: released(*images))},
        load("fastflownet", fine_iterations=0),
        images,
        arguments.runs,
        arguments.compile,
    )
    try:
        from torchvision.models.optical_flow import raft_large
    except ImportError:
        print("\nRAFT is not measured: torchvision is not installed.")
        return
    theirs = raft_large(weights=None).eval()
    signed = [2 * image - 1 for image in images]
    first = {"torchvision": torch.no_grad()(lambda: theirs(*signed, num_flow_updates=12))}
    measure("RAFT, 12 iterations, random weights", first, create("raft"), images, arguments.runs)
    all_pairs = create("raft", correlation="all_pairs")
    measure("RAFT, costs of all pairs", first, all_pairs, images, arguments.runs)


def measure(
    title: str,
    first: dict,
    network: FlowNetwork,
    images: tuple[Tensor, Tensor],
    runs: int,
    compile: bool = False,
) -> None:
    """The network's own ways beside the first, and how far each is from float32 without kernels."""
    precisions = [name for name in PRECISIONS if name == "float32" or has_bfloat16(torch.device("cpu"))]
    kinds = list(itertools.product(precisions, (False, True) if compile else (False,)))
    predictors = {
        f"mdflow {precision}{', compiled' if kept else ''}": Predictor(network, compile=kept, precision=precision)
        for precision, kept in kinds
    }
    ways = first | {name: (lambda predict=predict: predict(*images)) for name, predict in predictors.items()}
    ways[PLAIN] = without_kernels()(lambda: predictors["mdflow float32"](*images))
    print_times(title, ways, runs, next(iter(first)))
    flows = {name: ways[name]() for name in (*predictors, PLAIN)}
    exact = flows[PLAIN]
    for name, flow in flows.items():
        difference = (flow - exact).norm(dim=1).mean() / exact.norm(dim=1).mean()
        print(f"{name}: differs by {100 * float(difference):.4f} %")


if __name__ == "__main__":
    main()

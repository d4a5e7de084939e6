"""Correlation and census against plain formulations, by turns in one process.

python -m benchmarks.engine [--runs 7] [--threads 2] [--only WAY] [--keep-pages]

The plain twins are what public ports run: shifted products with autograd's backward, and the census by unfold.
spatial-correlation-sampler comes first where it is installed (docs/speed.md says how, without CUDA).
"""

import argparse
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from benchmarks.plain import SAMPLER, census_by_unfold, sampler_correlation, spatial_correlation_sample
from benchmarks.timing import add_options, machine, prepare, print_peaks, print_times, run_alone
from mdflow.correlation import local_correlation, plain_correlation, square_displacements
from mdflow.losses import census, robust
from mdflow.networks.fastflownet import RADIUS

SHAPES = ((1, 32, 112, 256), (1, 64, 56, 128), (8, 32, 48, 64))
Operation = Callable[[Tensor, Tensor], Tensor]
CENSUSES: dict[str, Operation] = {
    "unfold": lambda one, other: robust(census_by_unfold(one, other, 3)),
    "mdflow": lambda one, other: robust(census(one, other)),
}


def main() -> None:
    """Print one table a shape, or run one way of the first shape once and print the peak memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_options(parser, runs=7)
    parser.add_argument("--only", metavar="WAY")
    arguments = parser.parse_args()
    prepare(arguments)
    # The features are made by the way that wants them: an idle process has none.
    learning = {name: lambda way=way: learn(way, random_features(SHAPES[0])) for name, way in correlations().items()}
    if arguments.only:
        run_alone(arguments.only, learning)
        return
    print(machine())
    for shape in SHAPES:
        both_times(f"81 costs of {shape}", correlations(), random_features(shape), arguments.runs)
    print_peaks("benchmarks.engine", learning, f", {SHAPES[0]}, forward and backward")
    images = [torch.rand(4, 3, 256, 448), torch.rand(4, 3, 256, 448, requires_grad=True)]
    both_times("census 7×7 of (4, 3, 256, 448)", CENSUSES, images, arguments.runs)


def random_features(shape: tuple[int, ...]) -> list[Tensor]:
    """Two maps that want a gradient."""
    return [torch.randn(shape, requires_grad=True) for _ in range(2)]


def correlations() -> dict[str, Operation]:
    """The cost volume of all 81 displacements, each backend."""
    everything = square_displacements(RADIUS)
    ways: dict[str, Operation] = {
        "shifted products": lambda one, other: plain_correlation(one, other, RADIUS, everything),
        "mdflow": lambda one, other: local_correlation(one, other, RADIUS),
    }
    if spatial_correlation_sample is None:
        return ways
    sampler = {SAMPLER: lambda one, other: sampler_correlation(one, other, RADIUS, everything)}
    return sampler | ways


def both_times(title: str, operations: dict[str, Operation], inputs: list[Tensor], runs: int) -> None:
    """Forward without gradients, and forward with backward."""
    first = next(iter(operations))
    forward = {name: partial(torch.no_grad()(operation), *inputs) for name, operation in operations.items()}
    print_times(f"{title}, forward", forward, runs, first)
    both = {name: partial(learn, operation, inputs) for name, operation in operations.items()}
    print_times(f"{title}, forward and backward", both, runs, first)


def learn(operation: Operation, inputs: list[Tensor]) -> None:
    """Forward and backward."""
    operation(*inputs).sum().backward()


if __name__ == "__main__":
    main()

"""Correlation and unsupervised loss against plain formulations, side by side in one process: medians and spread.

python benchmarks/engine.py [--runs 7] [--threads 2]

The plain twins are what public ports run: shifted products with autograd's backward, and the census by unfold.
spatial-correlation-sampler is timed too where it is installed.
"""

import argparse
import importlib.util
import resource
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from mdflow.correlation import local_correlation, plain_correlation
from mdflow.losses import census, gray255, robust
from mdflow.networks.fastflownet import DISPLACEMENTS, RADIUS
from mdflow.report import text_table


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    print(f"torch {torch.__version__}, {arguments.threads} threads, median of {arguments.runs} (fastest to slowest)")
    lines = []
    for shape in ((1, 32, 112, 256), (1, 64, 56, 128), (8, 32, 48, 64)):
        lines += correlation_lines(shape, arguments.runs)
    lines += census_lines((4, 3, 256, 448), arguments.runs)
    print(text_table(["what", "shape", "how", "forward ms", "forward + backward ms"], lines, left=3))
    print(f"peak memory of the whole process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


def correlation_lines(shape: tuple[int, ...], runs: int) -> list[list[str]]:
    """The 53 displacements of FastFlowNet, each backend."""
    features = [torch.randn(shape, requires_grad=True) for _ in range(2)]
    ways: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "mdflow": lambda one, other: local_correlation(one, other, RADIUS, DISPLACEMENTS),
        "shifted products": lambda one, other: plain_correlation(one, other, RADIUS, DISPLACEMENTS),
    }
    if importlib.util.find_spec("spatial_correlation_sampler"):
        from spatial_correlation_sampler import spatial_correlation_sample

        ways["spatial-correlation-sampler"] = lambda one, other: spatial_correlation_sample(
            one, other, patch_size=2 * RADIUS + 1
        )
    return [["correlation", str(shape), name, *timed(way, features, runs)] for name, way in ways.items()]


def census_lines(shape: tuple[int, ...], runs: int) -> list[list[str]]:
    """The 7×7 census loss of one direction."""
    images = [torch.rand(shape), torch.rand(shape, requires_grad=True)]
    ways = {
        "mdflow": lambda one, other: robust(census(one, other)),
        "unfold": lambda one, other: robust(census_by_unfold(one, other, 3)),
    }
    return [["census 7×7", str(shape), name, *timed(way, images, runs)] for name, way in ways.items()]


def census_by_unfold(image1: Tensor, image2: Tensor, radius: int) -> Tensor:
    """All 49 neighbours as maps, as public ports compute it."""
    side = 2 * radius + 1
    steps = []
    for image in (image1, image2):
        gray = gray255(image)
        neighbours = F.unfold(gray, side, padding=radius).view(len(gray), side * side, *gray.shape[-2:])
        step = neighbours - gray
        steps.append(step / (0.81 + step**2).sqrt())
    squared = (steps[0] - steps[1]) ** 2
    return (squared / (0.1 + squared)).sum(1, keepdim=True)


def timed(way: Callable[[Tensor, Tensor], Tensor], inputs: list[Tensor], runs: int) -> tuple[str, str]:
    """Forward without gradients, and forward with backward: median and spread in ms."""

    def forward() -> None:
        with torch.no_grad():
            way(*inputs)

    def both() -> None:
        way(*inputs).sum().backward()

    return spread(forward, runs), spread(both, runs)


def spread(work: Callable[[], None], runs: int) -> str:
    """ "median (fastest to slowest)" in ms, after one run to warm up."""
    work()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        times.append(1000 * (time.perf_counter() - start))
    return f"{statistics.median(times):.1f} ({min(times):.1f} to {max(times):.1f})"


if __name__ == "__main__":
    main()

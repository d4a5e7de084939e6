"""The memory of one training step of DEQ-Flow by how it is differentiated, at more and more solver steps.

python -m benchmarks.deq_memory [--size tiny] [--crop 128x192] [--steps 6 12 24 48]

Saved: what autograd keeps from the forward to the backward pass. Peak: how far the process rises above what it was
before the step, network and images made; each in a process of its own. Unrolled is what RAFT does: through every step.
"""

import argparse
import resource
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import torch
from torch import Tensor

from mdflow.commands.predictor import parse_size
from mdflow.networks import create
from mdflow.networks.deqflow import DEQFlow
from mdflow.reports.tables import text_table


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="tiny", help="of the network")
    parser.add_argument("--crop", type=parse_size, default=[128, 192], metavar="HxW")
    parser.add_argument("--steps", type=int, nargs="+", default=[6, 12, 24, 48])
    arguments = parser.parse_args()
    lines = []
    for steps in arguments.steps:
        cells = []
        for name in FLOWS:
            with ProcessPoolExecutor(1, mp_context=get_context("fork")) as process:
                saved, peak = process.submit(measure, name, arguments.size, arguments.crop, steps).result()
            cells += [f"{saved / 2**20:.1f}", f"{peak / 2**10:.0f}"]
        lines.append([str(steps), *cells])
    heading = [f"{name}: {what} MB" for name in FLOWS for what in ("saved", "peak")]
    print(f"DEQ-Flow {arguments.size}, one pair of {arguments.crop[0]}x{arguments.crop[1]}, torch {torch.__version__}")
    print(text_table(["solver steps", *heading], lines))


def measure(name: str, size: str, crop: list[int], steps: int) -> tuple[int, int]:
    """Bytes saved for the backward pass, and the rise of the process in kB, of one step."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    gradient = name if name in ("phantom", "implicit") else "phantom"
    network = create("deqflow", size=size, iterations=steps, tolerance=0.0, gradient=gradient)
    images, saved = torch.rand(2, 1, 3, *crop), 0

    def count(tensor: Tensor) -> Tensor:
        nonlocal saved
        saved += tensor.numel() * tensor.element_size()
        return tensor

    before = peak_of_process()
    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        flow = FLOWS[name](network, *images)
    flow.abs().mean().backward()
    return saved, peak_of_process() - before


def peak_of_process() -> int:
    """The largest resident size so far, in kB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def fixed_point(network: DEQFlow, image1: Tensor, image2: Tensor) -> Tensor:
    """The flow as the network gives it for training."""
    return network(image1, image2)[-1]


def unrolled(network: DEQFlow, image1: Tensor, image2: Tensor) -> Tensor:
    """The flow after as many plain steps, all of them recorded."""
    features1, features2 = network.encode(image1, image2)
    function = network.dynamics(features1, features2)
    state = features1[0].new_zeros(1, network.hidden + 2, *features1[0].shape[-2:])
    for _ in range(network.stop.steps):
        state = function(state)
    hidden, flow = state.tensor_split([network.hidden], dim=1)
    return network.upsampling(flow, hidden)


FLOWS: dict[str, Callable[[DEQFlow, Tensor, Tensor], Tensor]] = {
    "phantom": fixed_point,
    "implicit": fixed_point,
    "unrolled": unrolled,
}


if __name__ == "__main__":
    main()

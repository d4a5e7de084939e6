"""All that is meant to be fast on a GPU, by turns in one process: every GPU row of docs/speed.md.

python -m benchmarks.gpu [--runs 20] [--batch 8]

The cost volume against spatial-correlation-sampler's CUDA kernel (where that is installed) and the shifted products
through torch.compile, with the share of the speed at which the GPU copies memory; FastFlowNet's inference with its
launches recorded in a CUDA graph, and the best batch; a training step and a distillation step against the plain ones.
"""

import argparse
import statistics
import sys
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from benchmarks.plain import SAMPLER, census_by_unfold, plain_terms, sampler_correlation, spatial_correlation_sample
from benchmarks.timing import Ways, machine, print_times, take_turns
from mdflow.config import DistillConfig, PretrainConfig
from mdflow.correlation import backend, local_correlation, plain_correlation, square_displacements
from mdflow.data.batches import Batch
from mdflow.distill import teach_teacher
from mdflow.errors import InputError
from mdflow.losses import census
from mdflow.networks import create
from mdflow.networks.fastflownet import DISPLACEMENTS, RADIUS
from mdflow.networks.network import FlowNetwork
from mdflow.pretrain import pretrain_step
from mdflow.settings import build
from mdflow.training import make_optimiser, precision, update

INFERENCE, TRAINING = (448, 1024), (384, 832)
REPEATS = 50  # calls of a kernel in one turn: one alone is shorter than its launch


def main() -> None:
    """Print the tables; InputError without a GPU."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--batch", type=int, default=8, help="pairs in a training step")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        raise InputError("No GPU can be used here: torch.cuda.is_available() is False; run this on a machine with one.")
    device = torch.device("cuda")
    torch.manual_seed(0)
    torch.backends.cudnn.benchmark = True
    speed = copy_speed(device, arguments.runs)
    print(f"{torch.cuda.get_device_name()}; {machine()}; copies memory at {speed:.0f} GB/s")
    for shape in ((1, 32, 112, 256), (1, 64, 56, 128), (32, 32, 112, 256)):
        for steps in (square_displacements(RADIUS), DISPLACEMENTS):
            correlations(shape, steps, device, arguments.runs, speed)
    losses(device, arguments.runs)
    inference(device, arguments.runs)
    steps = training_steps(random_batch(arguments.batch, TRAINING, device), device)
    print_times(f"A training step of FastFlowNet, {arguments.batch} pairs on the GPU", steps, arguments.runs, "plain")
    print(f"GPU busy in mdflow's: {100 * busy_share(steps['mdflow, bfloat16']):.0f} %")
    steps = distillation_steps(random_batch(arguments.batch, TRAINING, device), device)
    print_times("A step of FastFlowNet taught by RAFT", steps, arguments.runs, "plain")


def copy_speed(device: torch.device, runs: int) -> float:
    """GB/s read and written by a copy of 1 GiB."""
    source = torch.empty(2**28, device=device)
    target = torch.empty_like(source)
    times = take_turns({"copy": lambda: target.copy_(source)}, runs)["copy"]
    return 2 * source.nbytes / statistics.median(times) / 1e6


def correlations(shape: tuple[int, ...], steps: list, device: torch.device, runs: int, speed: float) -> None:
    """The cost volume of float32 and bfloat16 features, forward and with both gradients."""
    for kind in (torch.float32, torch.bfloat16):
        one, two = (torch.randn(shape, device=device, dtype=kind) for _ in range(2))
        pair = [each.contiguous(memory_format=torch.channels_last).requires_grad_() for each in (one, two)]
        for title, ways in correlation_ways(pair, steps).items():
            repeated = {name: partial(repeat, way) for name, way in ways.items()}
            first = next(iter(repeated))
            heading = f"{len(steps)} costs of {shape}, {str(kind)[6:]}, {title}: {REPEATS} times"
            times = print_times(heading, repeated, runs, first)
            share = bytes_moved(pair, len(steps), title) * REPEATS / statistics.median(times["mdflow"]) / 1e6 / speed
            print(f"mdflow moves what must be moved at {100 * share:.0f} % of a copy's speed")


def correlation_ways(pair: list[Tensor], steps: list) -> dict[str, Ways]:
    """The cost volume by each implementation, "forward" and "forward and backward"."""
    shifted = partial(plain_correlation, radius=RADIUS, displacements=steps)
    functions: dict[str, Callable] = {
        "shifted products, compiled": torch.compile(shifted) if pair[0].is_cuda else shifted,
        "shifted products": shifted,
        "mdflow": partial(local_correlation, radius=RADIUS, displacements=steps),
    }
    if spatial_correlation_sample is not None:
        functions = {SAMPLER: partial(sampler_correlation, radius=RADIUS, displacements=steps)} | functions
    weight = torch.randn_like(functions["mdflow"](*pair))

    def both(function: Callable) -> tuple[Tensor, ...]:
        cost = function(*pair)
        return torch.autograd.grad(cost, pair, weight.to(cost.dtype))

    return {
        "forward": {name: partial(torch.no_grad()(function), *pair) for name, function in functions.items()},
        "forward and backward": {name: partial(both, function) for name, function in functions.items()},
    }


def bytes_moved(pair: list[Tensor], count: int, title: str) -> int:
    """What no implementation can avoid: features read, costs written; backward the same the other way round."""
    features = sum(each.nbytes for each in pair)
    batch, _, height, width = pair[0].shape
    forward = features + 4 * batch * count * height * width
    return forward if title == "forward" else 2 * forward + features


def repeat(way: Callable[[], object]) -> None:
    """Many calls, so that the GPU is what is waited for."""
    for _ in range(REPEATS):
        way()


def losses(device: torch.device, runs: int) -> None:
    """The census, forward and backward."""
    images = [torch.rand(8, 3, *TRAINING, device=device, requires_grad=needed) for needed in (False, True)]
    ways = {
        "unfold": lambda: census_by_unfold(*images, 3).sum().backward(),
        "mdflow": lambda: census(*images).sum().backward(),
    }
    print_times(f"census 7×7 of (8, 3, {TRAINING[0]}, {TRAINING[1]}), forward and backward", ways, runs, "unfold")


def inference(device: torch.device, runs: int) -> None:
    """One pair, then the batch that gives most pairs a second."""
    network = create("fastflownet").eval().to(device)
    one = inference_ways(network, random_images(1, INFERENCE, device))
    print_times(f"FastFlowNet, one pair at {INFERENCE[0]}x{INFERENCE[1]}", one, runs, "eager, float32")
    for batch in (1, 4, 16):
        images = random_images(batch, INFERENCE, device)
        best = {"recorded, bfloat16": inference_ways(network, images)["recorded, bfloat16"]}
        (times,) = take_turns(best, runs).values()
        print(f"batch {batch}: {1000 * batch / statistics.median(times):.0f} pairs/s, recorded, bfloat16")


def inference_ways(network: FlowNetwork, images: tuple[Tensor, Tensor]) -> Ways:
    """The network as it is, compiled, and both recorded as a CUDA graph, in both precisions."""
    kind = images[0].device.type

    def forward(compute: Callable, mixed: bool) -> Tensor:
        with torch.no_grad(), torch.autocast(kind, torch.bfloat16, enabled=mixed):
            return compute(*images, last_only=True)[-1]

    ways: Ways = {
        "eager, float32": partial(forward, network, False),
        "eager, bfloat16": partial(forward, network, True),
    }
    if kind == "cuda":
        fused = torch.compile(network, dynamic=False)
        ways |= {
            "recorded, float32": record(partial(forward, fused, False)),
            "recorded, bfloat16": record(partial(forward, fused, True)),
        }
    return ways


def record(way: Callable[[], Tensor]) -> Callable[[], object]:
    """The way's launches as one CUDA graph, to be replayed on the same images."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):  # what is compiled or chosen at the first calls cannot be recorded
        for _ in range(3):
            way()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = way()
    return lambda: (graph.replay(), result)


def random_images(batch: int, size: tuple[int, int], device: torch.device) -> tuple[Tensor, Tensor]:
    """Two batches of images in [0,1]."""
    return torch.rand(batch, 3, *size, device=device), torch.rand(batch, 3, *size, device=device)


def random_batch(batch: int, size: tuple[int, int], device: torch.device) -> Batch:
    """What a loader would give, on the device."""
    image1, image2 = random_images(batch, size, device)
    return {"image1": image1, "image2": image2, "coloured1": image1, "coloured2": image2}


def training_steps(batch: Batch, device: torch.device) -> Ways:
    """A pretraining step by the plain formulation and by this project's."""
    config = build(PretrainConfig, augment__crop=tuple(batch["image1"].shape[-2:]))
    own = partial(pretrain_step, config=config, batch=batch, progress=0.5)
    return {
        "plain": stepper(device, "float32", lambda network: plain_terms(network, batch)),
        "mdflow, float32": stepper(device, "float32", lambda network: sum(own(network).values())),
        "mdflow, bfloat16": stepper(device, "bfloat16", lambda network: sum(own(network).values())),
    }


def distillation_steps(batch: Batch, device: torch.device) -> Ways:
    """FastFlowNet taught by RAFT: in float32 with shifted products, and as this project does it."""
    config = build(DistillConfig, augment__crop=tuple(batch["image1"].shape[-2:]))
    raft = create("raft").to(device)

    def loss(network: FlowNetwork) -> Tensor:
        return sum(teach_teacher(raft, network, config, batch, progress=0.5).values())

    def plain_loss(network: FlowNetwork) -> Tensor:
        with backend("plain"):
            return loss(network)

    return {
        "plain": stepper(device, "float32", plain_loss),
        "mdflow, bfloat16": stepper(device, "bfloat16", loss),
    }


def stepper(device: torch.device, bits: str, loss: Callable[[FlowNetwork], Tensor]) -> Callable[[], None]:
    """Learn, update: a new FastFlowNet."""
    network = create("fastflownet").to(device).train()
    config = build(PretrainConfig, precision=bits)
    optimiser = make_optimiser(network, config.optimiser)

    def step() -> None:
        with precision(config, device):
            found = loss(network)
        update(network, found, optimiser, 1.0)

    return step


def busy_share(way: Callable[[], object]) -> float:
    """The share of the time in which the GPU computes."""
    activities = [torch.profiler.ProfilerActivity.CUDA]
    (times,) = take_turns({"step": way}, 5).values()
    with torch.profiler.profile(activities=activities) as found:
        way()
        torch.cuda.synchronize()
    return sum(event.self_device_time_total for event in found.key_averages()) / 1000 / statistics.median(times)


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(f"gpu.py: {error}")

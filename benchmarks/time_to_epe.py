"""Time to accuracy: how long training on unlabelled frames takes to an EPE, against the plain eager training.

python -m benchmarks.time_to_epe --test ROOT --target 6.0 [--data VIDEOS ...] [--init FILE]

All ways start from the same weights, see the same batches in the same order and take the same optimiser; the loss is
one formula (census 7×7, first-order smoothness, forward-backward masks). Plain: each direction a pass of its own, the
census by unfold, the cost volume by shifted products. The clock runs while a step loads, learns and updates, not while
the network is tested. --processor-time: seconds of the processor, for one thread on a machine that does other work too.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.plain import plain_terms
from benchmarks.timing import finish, machine
from mdflow.commands.predictor import parse_size
from mdflow.commands.training import make_network
from mdflow.config import PretrainConfig
from mdflow.data import open_dataset, open_datasets
from mdflow.data.batches import Batch, Cached, batches
from mdflow.data.sample import Dataset, Sample
from mdflow.errors import InputError
from mdflow.evaluate import evaluate
from mdflow.networks.network import FlowNetwork
from mdflow.pretrain import pretrain_step, sees_itself_from
from mdflow.reports.tables import text_table
from mdflow.settings import build
from mdflow.system.processor import has_bfloat16
from mdflow.training import make_optimiser, pick_device, precision, to_device, update

WAYS = ("plain", "mdflow, float32", "mdflow, bfloat16")


@dataclass(frozen=True)
class Course:
    """What a training took to the target, and the EPE in px that it then had."""

    steps: int
    seconds: float
    error: float


class Spread:
    """Some pairs of a dataset, evenly over it, in memory."""

    def __init__(self, dataset: Dataset, count: int) -> None:
        self.name = dataset.name
        places = np.linspace(0, len(dataset) - 1, min(count, len(dataset))).astype(int)
        self.samples = [dataset[int(place)] for place in places]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        return self.samples[index]


def main(arguments: Sequence[str] | None = None) -> None:
    """Train by each way until the target is reached, and print the times and their ratio."""
    given = parse(arguments)
    if given.threads:
        torch.set_num_threads(given.threads)
    config = settings(given)
    data = Cached(open_datasets(given.data, **config.data.synthetic.model_dump()))
    test = Spread(open_dataset(given.test), given.pairs)
    print(f"{machine()}; from {given.init} on {', '.join(given.data)} to {given.target} px on {given.test}")
    mixed = has_bfloat16(pick_device(given.device))
    courses = {name: learn(name, config, data, test, given) for name in given.ways if mixed or "bfloat16" not in name}
    print(text_table(["how", "steps", "s", "ms a step", "EPE", "against the first"], table(courses), left=1))


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", default=["synthetic"], help="unlabelled footage; default: synthetic")
    parser.add_argument("--test", required=True, help="a labelled set that the EPE is measured on")
    parser.add_argument("--target", type=float, required=True, help="the EPE in px that ends a training")
    parser.add_argument("--init", type=Path, default=Path("untrained"), help="weights to start from, or shipped")
    parser.add_argument("--steps", type=int, default=1000, help="at most")
    parser.add_argument("--pairs", type=int, default=8, help="pairs of the test, spread evenly over it")
    parser.add_argument("--every", type=int, default=20, help="steps between two tests")
    parser.add_argument("--size", type=parse_size, default=(128, 192), metavar="HxW")
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--rate", type=float, default=4e-4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--processor-time", action="store_true")
    parser.add_argument("--ways", nargs="+", default=WAYS, choices=WAYS, metavar="WAY")
    return parser.parse_args(arguments)


def settings(given: argparse.Namespace) -> PretrainConfig:
    """A training whose loss is that of the plain formulation: masks from the start, no second pass, no larger frame."""
    return build(
        PretrainConfig,
        network__init=given.init,
        seed=given.seed,
        device=given.device,
        batch_size=given.batch_size,
        self_weight=0.0,
        loss__mask_from=0.0,
        loss__forward_backward_from=0.0,
        loss__full_image_warp=False,
        augment__crop=given.size,
        data__frame=given.size,
        data__workers=given.workers,
        data__synthetic__size=given.size,
        optimiser__learning_rate=given.rate,
    )


def own_terms(network: FlowNetwork, config: PretrainConfig, batch: Batch) -> Tensor:
    """The loss of a training step by this project."""
    return sum(pretrain_step(network, config, batch, progress=0.5).values())


def learn(name: str, config: PretrainConfig, data: Dataset, test: Dataset, given: argparse.Namespace) -> Course:
    """Train by one of WAYS until the target; InputError if the last step did not reach it."""
    config = config.model_copy(update={"precision": "bfloat16" if "bfloat16" in name else "float32"})
    clock = time.process_time if given.processor_time else time.perf_counter
    network = make_network(config.network, config)
    step = stepper(network, config, data, plain=name == "plain")
    seconds = 0.0
    for number in range(given.steps + 1):
        if number % given.every == 0:
            error = evaluate(network.eval(), test)["epe"]
            print(f"{name}: step {number}, {seconds:.0f} s, EPE {error:.3f} px", flush=True)
            if error <= given.target:
                return Course(number, seconds, error)
            network.train()
        start = clock()
        step()
        finish()
        seconds += clock() - start
    raise InputError(
        f"'{name}' did not reach {given.target} px in {given.steps} steps; give more --steps or a --target."
    )


def stepper(network: FlowNetwork, config: PretrainConfig, data: Dataset, plain: bool) -> Callable[[], None]:
    """Load, learn, update."""
    device = pick_device(config.device)
    optimiser = make_optimiser(network, config.optimiser)
    stream = batches(data, config, start=0, labels=False, coloured_from=sees_itself_from(config))

    def step() -> None:
        batch = to_device(next(stream), device)
        with precision(config, device):
            loss = plain_terms(network, batch) if plain else own_terms(network, config, batch)
        update(network, loss, optimiser, config.optimiser.clip)

    return step


def table(courses: dict[str, Course]) -> list[list[str]]:
    """A row for each way."""
    first = next(iter(courses.values()))
    return [
        [
            name,
            str(course.steps),
            f"{course.seconds:.0f}",
            f"{1000 * course.seconds / max(course.steps, 1):.0f}",
            f"{course.error:.3f}",
            f"{first.seconds / max(course.seconds, 1e-9):.1f}x",
        ]
        for name, course in courses.items()
    ]


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(f"time_to_epe.py: {error}")

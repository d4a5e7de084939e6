"""What a training step costs by network, size and batch: processor seconds, memory, and what multiply-adds foretell.

python -m benchmarks.cost [--steps 3] [--threads 1]

Multiply-adds of a step are counted from the network alone: both directions, times three (forward, and backward for
inputs and weights). The processor's seconds count all its threads, whatever else the machine does meanwhile.
"""

import argparse
import multiprocessing
import resource
import statistics
import time
from functools import partial
from pathlib import Path

import torch

from mdflow.config import DistillConfig, PretrainConfig
from mdflow.deployment.profile import measure_cost
from mdflow.distill import teach_student
from mdflow.networks import create
from mdflow.pretrain import pretrain_step
from mdflow.reports.tables import text_table
from mdflow.training import make_optimiser, total, update

CASES = [
    ("pretrain", "fastflownet", {}, (128, 192), 2),
    ("pretrain", "fastflownet", {}, (128, 192), 4),
    ("pretrain", "fastflownet", {}, (256, 384), 2),
    ("pretrain", "pwcnet", {}, (128, 192), 2),
    ("distill", "raft_small", {"iterations": 4}, (128, 192), 2),
]
HEADER = ["verb", "network", "size", "batch", "Gmadd", "s", "Gmadd/s", "MB"]


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    context = multiprocessing.get_context("fork")  # a process each, so that each has its own memory
    lines = []
    for case in CASES:
        verb, name, options, size, batch = case
        answer = context.SimpleQueue()
        process = context.Process(target=measure, args=(case, arguments.steps, arguments.threads, answer))
        process.start()
        seconds, memory = answer.get()
        process.join()
        work = 3 * 2 * batch * measure_cost(name, options, size).multiply_adds / 1e9
        figures = [f"{work:.1f}", f"{seconds:.2f}", f"{work / seconds:.1f}", f"{memory:.0f}"]
        lines.append([verb, name, f"{size[0]}x{size[1]}", f"{batch}", *figures])
    print(text_table(HEADER, lines, left=3))


def measure(case: tuple, steps: int, threads: int, answer) -> None:
    """The median of the steps' seconds after one to warm up, and the memory that they added at most, MB."""
    verb, name, options, size, batch = case
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    settings = {"augment": {"crop": size}, "batch_size": batch}
    learner = create(name, **options).train()
    if verb == "pretrain":
        config = PretrainConfig(**settings, self_weight=0)
        step = partial(pretrain_step, learner, config)
    else:
        config = DistillConfig(**settings)
        step = partial(teach_student, create("fastflownet"), learner, config)
    optimiser = make_optimiser(learner, config.optimiser)
    images = {key: torch.rand(batch, 3, *size) for key in ("image1", "image2", "coloured1", "coloured2")}
    before, seconds = memory(), []
    for _ in range(steps + 1):
        begin = time.process_time()
        update(learner, total(step(images, 0.3)), optimiser, 1.0)
        seconds.append(time.process_time() - begin)
    answer.put((statistics.median(seconds[1:]), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before))


def memory() -> float:
    """The memory of this process, MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


if __name__ == "__main__":
    main()

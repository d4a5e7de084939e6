"""Kill a pretraining and a distillation again and again: do they end with the weights of a run that nobody touched?

python -m benchmarks.kills [--kills 50] [--seed 0] [--steps 8] -o FOLDER

Half of the kills (SIGKILL) come at a random moment, the others at a random moment of a checkpoint's writing.
"""

import argparse
import json
import multiprocessing
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import load_file

from benchmarks.small import SMALL, flags
from mdflow.commands import main as mdflow

SETTINGS = SMALL | {"score_every": 4, "checkpoint_every": 1, "optimiser.learning_rate": 1e-3, "data.cache": True}
PRELOADED = [
    "torch._dynamo",
    "mdflow.commands.pretrain",
    "mdflow.commands.distill",
    "mdflow.data.colour",
    "mdflow.data.synthetic",
]


def main() -> None:
    """Print where the kills came and whether the runs ended alike."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("-o", "--out", type=Path, required=True)
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    tally, round_number = Counter(), 0
    begin = time.monotonic()
    work = partial(stages, steps=arguments.steps)
    work(arguments.out / "untouched")
    whole = outcome(arguments.out / "untouched")
    seconds = time.monotonic() - begin
    while sum(tally.values()) < arguments.kills:
        folder = arguments.out / f"killed{round_number}"
        tally += torment(work, folder, arguments.kills - sum(tally.values()), seconds, chance)
        if outcome(folder) != whole:
            raise SystemExit(f"{folder} differs from {arguments.out / 'untouched'}.")
        round_number += 1
        print(f"{sum(tally.values())} kills, {round_number} runs ended, all alike", flush=True)
    for (moment, place), count in sorted(tally.items()):
        print(f"{count:4d} {moment}, {place}")


def stages(folder: Path, steps: int) -> None:
    """A pretraining, then a distillation that starts from it, each begun or resumed."""
    torch.set_num_threads(1)
    settings = flags(SETTINGS | {"steps": steps})
    first = ["pretrain", *settings, "-o", str(folder / "first"), "--resume"]
    start = str(folder / "first" / "network.safetensors")
    student = ["--student", "raft_small", "--set", "student.options.iterations=1"]
    second = ["distill", *settings, "--init", start, *student, "-o", str(folder / "second"), "--resume"]
    for command in (first, second):
        status = mdflow(command)
        if status:
            raise SystemExit(status)


def torment(work: Callable[[Path], None], folder: Path, kills: int, seconds: float, chance: random.Random) -> Counter:
    """Call work(folder), which lasts about `seconds`, to its end through at most `kills` kills; how many came where."""
    shutil.rmtree(folder, ignore_errors=True)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    tally: Counter = Counter()
    while True:
        process = context.Process(target=work, args=(folder,))
        process.start()
        if sum(tally.values()) < kills:
            process.join(chance.uniform(0, seconds))
            if chance.random() < 0.5:
                wait_for_writing(process, folder)
                time.sleep(chance.uniform(0, 0.002))
            if process.is_alive():
                process.kill()
                process.join()
                tally[moment(folder)] += 1
                continue
        process.join()
        if process.exitcode:
            raise SystemExit(f"A resumed run in {folder} ended with status {process.exitcode}.")
        return tally


def wait_for_writing(process: multiprocessing.Process, folder: Path) -> None:
    """Until a checkpoint is being written, or the process has ended."""
    while process.is_alive() and not list(folder.glob("*/checkpoints/*.partial")):
        time.sleep(0.0005)


def moment(folder: Path) -> tuple[str, str]:
    """What a kill hit: the stage that logged last, and whether a checkpoint was half written."""
    place = "before the first step"
    for metrics in (folder / "first" / "metrics.jsonl", folder / "second" / "metrics.jsonl"):
        if metrics.exists() and (lines := metrics.read_text().splitlines()):
            place = lines[-1].partition('"stage": "')[2].partition('"')[0].partition("/")[0]
    partial = list(folder.glob("*/checkpoints/*.partial"))
    for left in partial:
        left.unlink()  # else the next kill would take it for its own
    return "a checkpoint half written" if partial else "elsewhere", place


def outcome(folder: Path) -> dict[str, object]:
    """The bytes of all final and best weights, and every line of the metrics."""
    weights = {
        str(path.relative_to(folder)): {name: value.numpy().tobytes() for name, value in load_file(path).items()}
        for path in folder.rglob("*.safetensors")
    }
    metrics = {
        str(path.relative_to(folder)): [json.loads(line) for line in path.read_text().splitlines()]
        for path in folder.rglob("metrics.jsonl")
    }
    return weights | metrics


if __name__ == "__main__":
    main()

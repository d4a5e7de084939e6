"""What each part of the method is worth: rows of equal steps from one start, each seed a line of JSON, then a table.

python -m benchmarks.ablation -o OUT --footage ROOT [--network FILE] [--student FILE] [--steps 120] [--seeds 0 1 2] \
    [--size 128x192] [--rows "1 network" "3 student"] [--test NAME=ROOT ...] [--table]

Both networks start from the shipped weights, or from files, and learn from the frames of the first half of the footage,
never from its labels. OUT/results.jsonl keeps what is done: the same command goes on where it stopped.
"""

import argparse
import copy
import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.ablation_rows import ALONE, ROWS, Row
from mdflow import distill, pretrain
from mdflow.checkpoint import load_network
from mdflow.commands.predictor import parse_option, parse_size
from mdflow.commands.training import HELD_OUT_SEED
from mdflow.config import DistillConfig, PretrainConfig
from mdflow.data import open_dataset
from mdflow.data.batches import Batch, Cached, batches
from mdflow.data.mixture import Mixture
from mdflow.data.previous import before, has_previous
from mdflow.data.sample import Dataset, Sample
from mdflow.data.synthetic import Synthetic
from mdflow.evaluate import evaluate
from mdflow.examine import Examiner
from mdflow.networks.network import FlowNetwork
from mdflow.pretrain import trained_start
from mdflow.runs.folder import open_run
from mdflow.settings import build
from mdflow.system.processor import fastest_precision
from mdflow.training import fit, pick_device
from teachers import WEIGHTS


class Some:
    """The pairs of a dataset with these numbers."""

    def __init__(self, dataset: Dataset, numbers: Sequence[int]) -> None:
        self.name, self.dataset, self.numbers = dataset.name, dataset, numbers

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> Sample:
        return self.dataset[self.numbers[index]]

    def before(self, index: int) -> int | None:
        """The pair whose second frame is the first of this pair, if it is among these."""
        found = before(self.dataset, self.numbers[index])
        return self.numbers.index(found) if found in self.numbers else None


def labelled(dataset: Dataset, most: int) -> Some:
    """Up to `most` pairs with labels, spread over a dataset."""
    found = [number for number in range(len(dataset)) if dataset[number].flow12 is not None]
    places = np.linspace(0, len(found) - 1, min(most, len(found))).astype(int)
    return Some(dataset, [found[place] for place in places])


def main() -> None:
    """Run the rows that are missing, then print the table."""
    arguments = parse()
    arguments.out.mkdir(parents=True, exist_ok=True)
    results = arguments.out / "results.jsonl"
    if not arguments.table:
        run_missing(arguments, results)
    print(table(read_results(results)))


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--network", type=Path, default=WEIGHTS / "fastflownet.safetensors", help="the light one's start"
    )
    parser.add_argument("--network-option", nargs="*", default=[], metavar="KEY=VALUE")
    parser.add_argument(
        "--student", type=Path, default=WEIGHTS / "raft_small.safetensors", help="the strong one's start"
    )
    parser.add_argument("--student-option", nargs="*", default=["uncertainty=true"], metavar="KEY=VALUE")
    parser.add_argument("--footage", required=True, help="a labelled set: half of it to learn from, all to test")
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=120, help="of every row")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--size", type=parse_size, default=[128, 192], metavar="HxW")
    parser.add_argument("--batch-size", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=32, help="pairs of a test set at most")
    parser.add_argument("--test", nargs="+", default=[], metavar="NAME=ROOT", help="labelled sets to measure on")
    parser.add_argument("--rows", nargs="+", default=[""], help="only rows whose names start so")
    parser.add_argument("--table", action="store_true", help="only print what is there")
    return parser.parse_args()


def run_missing(arguments: argparse.Namespace, results: Path) -> None:
    """Each row and seed that has no line yet; seeds outermost, so that a stopped run has whole tables."""
    done = {(line["row"], line["seed"]) for line in read_results(results)}
    learned, other = halves(open_dataset(arguments.footage))
    rows = [row for row in shown_by(learned) if row.name.startswith(tuple(arguments.rows))]
    tests = open_tests(arguments)
    tests |= {
        "footage": Cached(labelled(learned, arguments.pairs)),
        "its other half": Cached(labelled(other, arguments.pairs)),
    }
    for name, network in zip(("start: network", "start: student"), starts(arguments), strict=True):
        if (name, 0) not in done:
            record(results, {"row": name, "seed": 0} | figures(network, tests))
    for seed in arguments.seeds:
        for row in rows:
            if (row.name, seed) not in done:
                learner = run_row(row, seed, arguments, Cached(learned), tests["footage"])
                line = {"row": row.name, "seed": seed, "steps": arguments.steps, "size": arguments.size}
                record(results, line | figures(learner, tests))


def shown_by(footage: Dataset) -> list[Row]:
    """The rows that differ on this footage: the frame before counts for nothing where no pair has one."""
    return [row for row in ROWS if not row.settings.get("multi_frame") or has_previous(footage)]


def starts(arguments: argparse.Namespace) -> tuple[FlowNetwork, FlowNetwork]:
    """Both networks as every row begins with them."""
    options, student_options = (
        dict(parse_option(option) for option in given) for given in (arguments.network_option, arguments.student_option)
    )
    network, student = load_network(arguments.network, **options), load_network(arguments.student, **student_options)
    return network.eval(), student.eval()


def halves(dataset: Dataset) -> tuple[Some, Some]:
    """The first and the second half of a dataset's pairs."""
    middle = (len(dataset) + 1) // 2
    return Some(dataset, range(middle)), Some(dataset, range(middle, len(dataset)))


def open_tests(arguments: argparse.Namespace) -> dict[str, Dataset]:
    """The test sets by name, in memory: synthetic scenes, and those roots that are there."""
    found: dict[str, list[Dataset]] = {"synthetic": [Synthetic(arguments.pairs, (128, 192), seed=HELD_OUT_SEED)]}
    for test in arguments.test:
        name, _, root = test.partition("=")
        if Path(root).exists():
            found.setdefault(name, []).append(labelled(open_dataset(root), arguments.pairs))
    return {name: Cached(Mixture(sets) if len(sets) > 1 else sets[0]) for name, sets in found.items()}


def configs(row: Row, seed: int, arguments: argparse.Namespace) -> dict[str, PretrainConfig | DistillConfig]:
    """The settings of each turn, by the turn's place and name."""
    height, width = arguments.size
    steps = arguments.steps // len(row.turns)
    trained = trained_start()
    shared = {
        "batch_size": arguments.batch_size,
        "precision": fastest_precision(pick_device("auto")),
        "steps": steps,
        "seed": seed,
        "score_every": max(steps // 2, 1),
        "panel_every": steps,
        "checkpoint_every": steps,
        "score_pairs": min(arguments.pairs, 8),
        "data": {"frame": [3 * height // 2, 3 * width // 2], "resize": False, "workers": 0},
        "augment": {"crop": [height, width], "eraser_size": [height / 6, height / 3]},
        "loss": trained["loss"],
        "optimiser": trained["optimiser"],  # its anchor is a row of its own
    }
    settings = [f"{key}={json.dumps(value)}" for key, value in row.settings.items()]
    folder = f"{row.name.replace(' ', '_').replace(':', '')}_{seed}"
    return {
        f"{place}_{turn}": build(
            PretrainConfig if turn in ALONE else DistillConfig,
            None,
            settings,
            **shared | {"data": dict(shared["data"])} | ({"self_weight": 0.0} if turn in ALONE else {}),
            out=arguments.out / "runs" / folder / f"{place}_{turn}",
        )
        for place, turn in enumerate(row.turns)
    }


def run_row(row: Row, seed: int, arguments: argparse.Namespace, training: Dataset, held_out: Dataset) -> FlowNetwork:
    """Train as the row says; the network that learned last."""
    network, student = starts(arguments)
    ways: dict[str, tuple[FlowNetwork, Callable[..., Any]]] = {
        "pretrain": (network, partial(pretrain.pretrain_step, network, start=copy.deepcopy(network).eval())),
        "alone": (student, partial(pretrain.pretrain_step, student)),
        "student": (student, partial(distill.teach_student, network, student)),
        "network": (network, partial(distill.teach_teacher, student, network)),
    }
    print(f"{row.name}, seed {seed}", flush=True)
    for place, (name, config) in enumerate(configs(row, seed, arguments).items()):
        learner, way = ways[name.partition("_")[2]]
        take_turn(learner, partial(way, config), config, 1000 * place, training, held_out)
    return learner


def take_turn(
    learner: FlowNetwork,
    step: Callable[[Batch, float], dict[str, torch.Tensor]],
    config: PretrainConfig | DistillConfig,
    shift: int,
    training: Dataset,
    held_out: Dataset,
) -> None:
    """One learner's steps; `shift` gives each turn batches of its own."""
    previous = isinstance(config, DistillConfig) and config.multi_frame > 0
    fit(
        learner=learner,
        step=step,
        stream=partial(batches, training, config, labels=False, shift=shift, previous=previous),
        examine=Examiner(held_out, config.score_pairs),
        config=config,
        steps=config.steps,
        folder=open_run(config, overwrite=True),
        stage="turn",
    )


def figures(network: FlowNetwork, tests: Mapping[str, Dataset]) -> dict[str, float]:
    """EPE by test set, and on the footage the occluded part and the label-free score."""
    found = {name: evaluate(network, test, label_free=name == "footage") for name, test in tests.items()}
    own = found["footage"]
    extra = {"occluded": own["epe_unmatched"], "score": own["score"]}
    return {name: one["epe"] for name, one in found.items()} | extra


def record(results: Path, line: dict[str, Any]) -> None:
    """Append a line of JSON."""
    with results.open("a") as file:
        file.write(json.dumps(line) + "\n")


def read_results(results: Path) -> list[dict[str, Any]]:
    """The lines that are there."""
    return [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []


def table(lines: Sequence[Mapping[str, Any]]) -> str:
    """Markdown: mean ± standard deviation over the seeds of each row."""
    about = ("row", "seed", "steps", "size")
    keys = list(dict.fromkeys(key for line in lines for key in line if key not in about))
    names = ["start: network", "start: student", *(row.name for row in ROWS)]
    rows = [(name, [line for line in lines if line["row"] == name]) for name in names]
    return "\n".join(
        ["| row | seeds | " + " | ".join(keys) + " |", "|---" * (2 + len(keys)) + "|"]
        + [
            f"| {name} | {len(found)} | " + " | ".join(spread([line.get(key) for line in found]) for key in keys) + " |"
            for name, found in rows
            if found
        ]
    )


def spread(values: Sequence[float | None]) -> str:
    """ "mean ± deviation", of one value the value; "–" where not all were measured."""
    if None in values:
        return "–"
    mean = f"{statistics.mean(values):.3f}"
    return f"{mean} ± {statistics.stdev(values):.3f}" if len(values) > 1 else mean


if __name__ == "__main__":
    main()

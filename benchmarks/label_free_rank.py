"""Whether the label-free score ranks checkpoints as their true error does: Spearman's correlation over runs.

python -m benchmarks.label_free_rank RUN... [--judge ROOT] [--pairs 16]

Every examination that a run's metrics.jsonl holds counts when it has both figures, which it has where the held-out
pairs are labelled. With --judge the weights that the runs kept are measured on that labelled set instead.
"""

import argparse
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from benchmarks.rank_correlation import spearman
from mdflow.checkpoint import load_network
from mdflow.data import open_dataset
from mdflow.data.batches import Cached
from mdflow.data.sample import Dataset
from mdflow.errors import InputError
from mdflow.examine import Examiner
from mdflow.reports.tables import text_table
from mdflow.runs.history import read_metrics


class Point(NamedTuple):
    """A checkpoint: where it is from, which network, its label-free figures and its true error in pixels."""

    run: str
    learner: str
    figures: dict[str, float]


SCORES = ("score", "census", "consistency")


def main() -> None:
    """Print the correlations over the networks, over the students, and over all checkpoints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folders, or folders of run folders")
    parser.add_argument("--judge", metavar="ROOT", help="a labelled set to measure the kept weights on")
    parser.add_argument("--pairs", type=int, default=16, help="of that set")
    arguments = parser.parse_args()
    runs = [path.parent for folder in arguments.runs for path in sorted(folder.rglob("metrics.jsonl"))]
    if arguments.judge:
        test = Cached(open_dataset(arguments.judge))
        points = [point for run in runs for point in measured(run, test, arguments.pairs)]
    else:
        points = [point for run in runs for point in logged(run)]
    points = [point for point in points if "epe" in point.figures]
    if len(points) < 2:
        raise SystemExit("Fewer than two checkpoints have both a label-free score and an EPE.")
    print(table(points))


def logged(run: Path) -> list[Point]:
    """The examinations in a run's metrics."""
    stages = {name: curve for name, curve in read_metrics(run).items() if name.endswith("/held-out")}
    return [Point(str(run), learner_of(run, name), row) for name, curve in stages.items() for row in curve.values()]


def learner_of(run: Path, stage: str) -> str:
    """ "student" or "network", by the name of the stage or of the run's folder."""
    return "student" if "student" in f"{run.name} {stage}" else "network"


def measured(run: Path, test: Dataset, pairs: int) -> list[Point]:
    """The kept weights of a run, examined on a labelled set."""
    examine = Examiner(test, pairs)
    files = sorted({*run.glob("*.safetensors"), *run.glob("checkpoints/*.safetensors")})
    return [Point(str(run), learner_of(run, file.name), examine(load_network(file)).figures) for file in files]


def table(points: Iterable[Point]) -> str:
    """Spearman of each label-free figure with the EPE."""
    groups: dict[str, list[Point]] = defaultdict(list)
    for point in points:
        groups[f"{point.learner}s of all runs"].append(point)
        groups["everything"].append(point)
    lines = [[name, str(len(group)), *(correlation(group, key) for key in SCORES)] for name, group in groups.items()]
    return text_table(["checkpoints", "number", *SCORES], lines)


def correlation(points: list[Point], key: str) -> str:
    """Of a label-free figure and the EPE, with two digits."""
    try:
        return f"{spearman([one.figures[key] for one in points], [one.figures['epe'] for one in points]):.2f}"
    except InputError:
        return "-"


if __name__ == "__main__":
    main()

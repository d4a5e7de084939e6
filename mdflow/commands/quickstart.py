"""The whole job in minutes on small synthetic scenes: pretrain without labels, distil, measure against the truth."""

import argparse
import time
from pathlib import Path

import torch

from mdflow import distill, pretrain
from mdflow.checkpoint import save_network
from mdflow.commands.training import open_held_out, open_training_data
from mdflow.config import DistillConfig, PretrainConfig
from mdflow.data.io import write_image
from mdflow.data.sample import Dataset
from mdflow.evaluate import evaluate
from mdflow.examine import Examiner
from mdflow.networks import create
from mdflow.networks.network import FlowNetwork
from mdflow.pretrain import trained_start
from mdflow.reports.tables import Column, figure_table
from mdflow.runs.folder import open_run
from mdflow.settings import build
from mdflow.system.processor import fastest_precision
from mdflow.training import pick_device
from teachers import load

# Chosen by experiment on two cores: the smallest scenes, motions and numbers of steps that still show each stage's
# worth against zero flow. The labels of the synthetic scenes are used to measure alone.
SHARED = {
    "batch_size": 4,
    "score_every": 100,
    "panel_every": 100,
    "checkpoint_every": 100,
    "data": {
        "frame": [128, 192],
        "cache": True,
        "synthetic": {"length": 240, "size": [128, 192], "motion": [1.0, 6.0], "camera": 0.3, "appearance": False},
    },
    "augment": {"crop": [128, 192], "zoom": [0.0, 0.1], "stretch": 0.05, "rotation": 2.0, "colour": 0.3, "eraser": 0.0},
    "loss": {"census_radius": 2, "smooth1": 2.0, "edge": 20.0},
}
PRETRAIN_STEPS, STUDENT_STEPS, TEACHER_STEPS, ADAPT_STEPS = 650, 320, 120, 150
TEST_PAIRS = 32
COLUMNS = [
    Column("epe", "EPE", ".2f"),
    Column("epe_matched", "visible", ".2f"),
    Column("epe_unmatched", "occluded", ".2f"),
    Column("fl", "Fl-all %", ".1f"),
]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `mdflow quickstart`."""
    parser.add_argument("-o", "--out", type=Path, default=Path("runs/quickstart"), metavar="RUN")
    parser.add_argument("--resume", action="store_true", help="go on where the run folder's checkpoint stopped")
    parser.add_argument("--overwrite", action="store_true", help="start anew in a folder that holds a run")
    parser.add_argument("--seed", type=int, default=0)


def run(arguments: argparse.Namespace) -> None:
    """Train from nothing, adapt the shipped weights, then print one table of EPE before and after each stage."""
    begin = time.time()
    shared = SHARED | {"out": arguments.out, "seed": arguments.seed, "score_pairs": TEST_PAIRS}
    shared["precision"] = fastest_precision(pick_device("auto"))
    stage1 = build(PretrainConfig, **shared, steps=PRETRAIN_STEPS, self_from=0.8)
    stages23 = build(
        DistillConfig,
        **shared,
        student_steps=STUDENT_STEPS,
        teacher_steps=TEACHER_STEPS,
        optimiser__learning_rate=6e-4,
        labels=0.3,  # after so few steps a student is no better than its teacher
    )
    folder = open_run(stage1, arguments.resume, arguments.overwrite)
    dataset, test = open_training_data(stage1), open_held_out(stage1)
    torch.manual_seed(arguments.seed)
    teacher = create("fastflownet", fine_iterations=1)
    student = create(
        "raft_small", iterations=4, upsampling="convex", border="replicate", normalize=True, fine_iterations=4
    )
    rows = [measured("zero flow", create("zero"), test), measured("FastFlowNet, untrained", teacher, test)]
    pretrain.run(stage1, teacher, dataset, test, folder)
    rows.append(measured("FastFlowNet, pretrained without labels", teacher, test))
    distill.run(stages23, teacher, student, dataset, test, folder)
    rows.append(measured("RAFT (small), taught by it", student, test))
    rows.append(measured("FastFlowNet, taught by that", teacher, test))
    adapted = load("fastflownet")
    rows.append(measured("FastFlowNet, as shipped", adapted, test))
    adapt(adapted, shared, dataset, test, arguments.resume)
    rows.append(measured("the same, adapted without labels", adapted, test))
    rows.append(measured("DIS (OpenCV), for comparison", create("dis"), test))
    for name, network in (("teacher", teacher), ("student", student), ("adapted", adapted)):
        save_network(folder.path / f"{name}.safetensors", network)
    write_image(folder.path / "panels" / "result.png", Examiner(test, TEST_PAIRS)(adapted).panel)
    table = figure_table(["network"], rows, COLUMNS)
    (folder.path / "result.txt").write_text(table + "\n")
    print(f"\nEPE in pixels on {len(test)} synthetic pairs that no training saw:\n\n{table}\n")
    print(f"{(time.time() - begin) / 60:.1f} minutes. Pictures, curves and weights: {folder.path}")


def adapt(network: FlowNetwork, shared: dict, dataset: Dataset, test: Dataset, resume: bool) -> None:
    """Train good weights further on the scenes, in place, from where they stopped or anew."""
    settings = shared | trained_start() | {"out": shared["out"] / "adapt", "steps": ADAPT_STEPS}
    config = build(PretrainConfig, **settings)
    pretrain.run(config, network, dataset, test, open_run(config, resume, overwrite=True))


def measured(label: str, network: FlowNetwork, test: Dataset) -> tuple[list[str], dict[str, float]]:
    """A row of the table."""
    return [label], evaluate(network, test)

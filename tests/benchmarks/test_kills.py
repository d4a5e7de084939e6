"""Runs that are killed and resumed end as if nobody had touched them (benchmarks/kills.py does it by the dozen)."""

import random

import torch
from toy import Pairs, Translation

from benchmarks.kills import outcome, torment
from mdflow import distill, pretrain
from mdflow.checkpoint import save_network
from mdflow.config import DistillConfig, PretrainConfig
from mdflow.runs.folder import open_run

SMALL = {
    "batch_size": 1,
    "checkpoint_every": 1,
    "score_every": 2,
    "score_pairs": 1,
    "data": {"frame": (32, 32), "workers": 0},
    "augment": {"crop": (32, 32), "eraser_size": (4, 8), "colour": 0},
    "optimiser": {"learning_rate": 0.1},
    "loss": {"occlusion": "none"},
}


def stages(folder):
    """A pretraining of a network of two numbers, then a distillation, each begun or resumed."""
    torch.set_num_threads(1)
    first = PretrainConfig(out=folder / "first", steps=4, **SMALL)
    light, strong = Translation(1, 1), Translation(0, 3)
    pretrain.run(first, light, Pairs(size=32), Pairs(1, 32), open_run(first, resume=True))
    second = DistillConfig(out=folder / "second", steps=2, rounds=2, **SMALL)
    distill.run(second, light, strong, Pairs(size=32), Pairs(1, 32), open_run(second, resume=True))
    save_network(folder / "teacher.safetensors", light)
    save_network(folder / "student.safetensors", strong)


def test_killed_runs_end_with_the_same_weights_and_the_same_log(tmp_path):
    stages(tmp_path / "whole")
    chance, kills = random.Random(0), 0
    whole = outcome(tmp_path / "whole")
    for _ in range(20):  # a run may end before its kill comes
        kills += sum(torment(stages, tmp_path / "killed", kills=5, seconds=0.3, chance=chance).values())
        assert outcome(tmp_path / "killed") == whole
        if kills >= 3:
            break
    assert kills >= 3
    assert {"teacher.safetensors", "student.safetensors", "first/metrics.jsonl", "second/metrics.jsonl"} < set(whole)

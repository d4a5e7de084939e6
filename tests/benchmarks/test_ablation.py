"""The ablation's rows: each builds valid settings that differ as its name says; the table and what is left to do."""

import argparse
import json
import sys
from pathlib import Path

import pytest

from benchmarks import ablation
from benchmarks.ablation import ALONE, ROWS, Row, Some, configs, shown_by, table
from mdflow.checkpoint import save_network
from mdflow.config import PretrainConfig
from mdflow.data.synthetic import Synthetic
from mdflow.networks import create

ARGUMENTS = argparse.Namespace(size=[64, 64], steps=72, batch_size=2, pairs=4, out=Path("out"))
PLAIN = configs(Row("plain", ("student",)), 0, ARGUMENTS)["0_student"]


def settings_of(name: str, seed: int = 0) -> list:
    (row,) = (row for row in ROWS if row.name.endswith(name))
    return list(configs(row, seed, ARGUMENTS).values())


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_every_row_takes_all_steps_and_none_the_seed_of_another(row):
    found = configs(row, 3, ARGUMENTS)
    assert sum(config.steps for config in found.values()) == ARGUMENTS.steps
    assert {config.seed for config in found.values()} == {3}
    assert len({config.out for config in found.values()}) == len(row.turns)
    assert [isinstance(config, PretrainConfig) for config in found.values()] == [t in ALONE for t in row.turns]


def test_rows_have_names_and_folders_of_their_own():
    assert len({row.name for row in ROWS}) == len(ROWS)
    assert len({configs(row, 0, ARGUMENTS).popitem()[1].out for row in ROWS}) == len(ROWS)


def test_rows_differ_as_their_names_say():
    for name in ("1 network: unsupervised only", "7 student: unsupervised only"):
        (config,) = settings_of(name)
        assert config.self_weight == 0
    (config,) = settings_of("labels without a mask")
    assert (config.confidence.occlusion, config.confidence.quantile) == (False, None)
    (config,) = settings_of("no colour")
    assert config.augment == PLAIN.augment.model_copy(update={"colour": 0})
    (config,) = settings_of("no augmentation")
    assert (config.augment.colour, config.augment.eraser, config.augment.rotation) == (0, 0, 0)
    (config,) = settings_of("labels only")
    assert (config.unsupervised, config.labels) == (0, 1)
    (config,) = settings_of("soft weight for τ")
    assert (config.confidence.soft, config.confidence.quantile) == (10, None)
    assert all(config.optimiser.ema == 0 for config in settings_of("no average"))
    assert len(settings_of("three rounds")) == 6


def test_the_row_of_the_frame_before_needs_footage_that_has_one():
    few = {frames: Some(Synthetic(length=2, frames=frames), [0, 1]) for frames in (2, 3)}
    assert shown_by(few[3]) == list(ROWS)
    assert [row.name for row in ROWS if row not in shown_by(few[2])] == [
        "9 student: what is hidden, from the frame before"
    ]


def test_the_table_has_means_and_deviations():
    lines = [{"row": ROWS[0].name, "seed": seed, "steps": 72, "synthetic": value} for seed, value in enumerate((1, 3))]
    assert table(lines).splitlines() == [
        "| row | seeds | synthetic |",
        "|---|---|---|",
        f"| {ROWS[0].name} | 2 | 2.000 ± 1.414 |",
    ]


def test_a_row_that_is_done_is_not_run_again(tmp_path, monkeypatch, capsys):
    for name, network in (("network", create("fastflownet")), ("student", create("fastflownet"))):
        save_network(tmp_path / f"{name}.safetensors", network)
    command = ["ablation.py", "--network", f"{tmp_path}/network.safetensors", "-o", f"{tmp_path}/out", "--seeds", "0"]
    command += ["--student", f"{tmp_path}/student.safetensors", "--test", "none=missing", "--rows", "2"]
    command += [
        "--steps",
        "2",
        "--size",
        "64x64",
        "--batch-size",
        "1",
        "--footage",
        "synthetic?length=4",
        "--pairs",
        "1",
    ]
    command += ["--student-option"]
    monkeypatch.setattr(sys, "argv", command)
    ablation.main()
    results = tmp_path / "out" / "results.jsonl"
    lines = results.read_text()
    assert [json.loads(line)["row"] for line in lines.splitlines()] == [
        "start: network",
        "start: student",
        "2 network: and its own flow, augmented",
    ]
    ablation.main()
    assert results.read_text() == lines
    assert "| 2 network: and its own flow, augmented | 1 |" in capsys.readouterr().out

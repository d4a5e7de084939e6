"""The training verbs from the command line, at a few pixels and steps."""

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from mdflow.checkpoint import save_network
from mdflow.commands import main
from mdflow.commands.training import make_network, open_held_out, open_training_data
from mdflow.config import DistillConfig, PretrainConfig
from mdflow.data.io import write_image
from mdflow.networks import create
from mdflow.settings import build
from mdflow.system.stopping import STATUS
from teachers import load

SMALL = [
    "steps=2",
    "batch_size=1",
    "score_pairs=1",
    "data.workers=0",
    "data.frame=[64, 64]",
    "augment.crop=[64, 64]",
    "data.synthetic.size=[64, 64]",
    "data.synthetic.length=2",
    "data.synthetic.texture_count=2",
]


def call(verb: str, *arguments: object) -> int:
    settings = [part for setting in SMALL for part in ("--set", setting)]
    return main([verb, *settings, *map(str, arguments)])


@pytest.fixture
def frames(tmp_path):
    """A folder of three frames."""
    folder = tmp_path / "frames"
    folder.mkdir()
    coarse = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8).repeat(4, 0).repeat(4, 1)
    for number in range(3):
        write_image(folder / f"{number}.png", coarse[:, 2 * number : 2 * number + 100])
    return folder


def test_pretraining_on_a_folder_of_frames_leaves_a_run_that_others_can_use(tmp_path, frames, capsys):
    run = tmp_path / "run"
    assert call("pretrain", "--network", "fastflownet", "--data", frames, "-o", run, "--seed", 3) == 0
    told = capsys.readouterr().out
    assert told.startswith(f"Training fastflownet, from scratch, for 2 steps, on {frames}, into {run}.\n")
    assert f"Wrote {run}/network.safetensors" in told
    config = build(PretrainConfig, run / "config.yaml")
    assert (config.steps, config.seed, config.data.sources) == (2, 3, (str(frames),))
    stages = {json.loads(line)["stage"] for line in (run / "metrics.jsonl").read_text().splitlines()}
    assert stages == {"pretrain", "pretrain/held-out"}
    assert list(run.glob("events.*"))
    assert [path.name for path in (run / "panels").iterdir()] == ["pretrain_0000002.png"]
    assert {path.name for path in (run / "checkpoints").iterdir()} >= {"last_pretrain", "best_pretrain.safetensors"}
    network = load("fastflownet", run / "network.safetensors")
    assert all(value.isfinite().all() for value in network.state_dict().values())
    checkpoint = ["predict", "--network", "fastflownet", "--checkpoint", str(run / "network.safetensors"), str(frames)]
    assert main([*checkpoint, "-o", str(tmp_path / "flow")]) == 0


def weights(run: Path) -> torch.Tensor:
    """All weights of a run's network in one row."""
    return torch.cat([value.flatten() for value in load_file(run / "network.safetensors").values()])


def test_a_finished_run_is_not_started_again_unless_asked(tmp_path, capsys):
    run = tmp_path / "run"
    assert call("pretrain", "-o", run) == 0
    before = weights(run)
    assert call("pretrain", "-o", run) == 2
    assert "holds a run already" in capsys.readouterr().err
    assert call("pretrain", "-o", run, "--resume") == 0
    assert torch.equal(weights(run), before)
    assert call("pretrain", "-o", run, "--seed", 5, "--overwrite") == 0
    assert not torch.equal(weights(run), before)


def test_a_resumed_run_starts_from_the_weights_it_began_with_though_their_file_has_changed(tmp_path):
    start, run = tmp_path / "start.safetensors", tmp_path / "run"
    save_network(start, create("fastflownet"))
    assert call("pretrain", "--init", start, "-o", run) == 0
    before = weights(run)
    save_network(start, create("fastflownet"))
    for checkpoint in (run / "checkpoints").glob("last_*"):
        checkpoint.unlink()
    assert call("pretrain", "--init", start, "-o", run, "--resume") == 0
    assert torch.equal(weights(run), before)


def test_the_same_seed_gives_the_same_weights(tmp_path):
    for name in ("one", "other"):
        assert call("pretrain", "-o", tmp_path / name, "--seed", 4) == 0
        torch.randn(7)
    assert torch.equal(weights(tmp_path / "one"), weights(tmp_path / "other"))


def test_distillation_trains_both_from_given_weights(tmp_path, capsys):
    assert call("pretrain", "-o", tmp_path / "first") == 0
    capsys.readouterr()
    start = tmp_path / "first" / "network.safetensors"
    run = tmp_path / "run"
    options = ["--teacher", "fastflownet", "--init", start, "--student", "raft_small", "--rounds", 2]
    assert call("distill", *options, "--set", "student.options.iterations=1", "-o", run) == 0
    assert capsys.readouterr().out.startswith(
        f"Training raft_small, from the shipped weights, for 4 steps and fastflownet, from {start}, for 4 steps, "
        f"on synthetic, into {run}.\n"
    )
    config = build(DistillConfig, run / "config.yaml")
    assert (config.rounds, config.teacher.init, config.student.options) == (2, start, {"iterations": 1})
    assert {name.name for name in run.glob("*.safetensors")} == {"teacher.safetensors", "student.safetensors"}
    stages = {json.loads(line)["stage"] for line in (run / "metrics.jsonl").read_text().splitlines()}
    turns = [f"round{number}_{learner}" for number in (1, 2) for learner in ("student", "teacher")]
    assert stages == {*turns, *(f"{turn}/held-out" for turn in turns)}
    before, after = load_file(start), load_file(run / "teacher.safetensors")
    changes = [(after[name] - before[name]).abs().max() for name in before]
    # Two rounds of two steps: weights have moved, and not far from where they started.
    assert max(changes) > 0
    assert torch.stack(changes).max() < 0.1
    assert load("raft_small", run / "student.safetensors") is not None


def test_a_pretraining_from_trained_weights_takes_small_steps_and_an_anchor(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr("mdflow.pretrain.run", lambda config, *_: seen.append(config))
    for number, more in enumerate(([], ["--init", "shipped"], ["--init", "shipped", "--set", "anchor=0.5"])):
        assert main(["pretrain", "-o", str(tmp_path / str(number)), "--set", "data.synthetic.length=2", *more]) == 0
    new, trained, changed = seen
    assert (new.anchor, new.loss.reduced, new.loss.mask_from, new.optimiser.learning_rate) == (0, (2, 4, 8), 0.2, 4e-4)
    assert (trained.anchor, trained.loss.reduced, trained.loss.mask_from) == (1, (), 0)
    assert trained.optimiser.learning_rate == 1e-4
    assert changed == trained.model_copy(update={"anchor": 0.5, "out": changed.out})


def test_a_distillation_starts_from_shipped_weights_unless_told_otherwise():
    config = build(DistillConfig)
    shipped = make_network(config.student, config).state_dict()
    assert all(torch.equal(value, shipped[name]) for name, value in load("raft_small").state_dict().items())
    untrained = build(DistillConfig, student__init="untrained")
    assert not torch.equal(next(make_network(untrained.student, untrained).parameters()), next(iter(shipped.values())))
    new = build(DistillConfig, teacher__init="untrained")
    assert make_network(new.teacher, new).normalize
    strange = build(DistillConfig, student__name="raft")
    assert make_network(strange.student, strange).name == "raft"  # no weights of it are shipped


@pytest.mark.parametrize("verb", ["pretrain", "distill", "supervise"])
def test_help_says_what_is_taken_where_nothing_is_given(verb, capsys):
    with pytest.raises(SystemExit):
        main([verb, "--help"])
    told = " ".join(capsys.readouterr().out.split())
    for default in ("synthetic", "runs/run", "1000", "192x256", "shipped where" if verb == "distill" else "untrained"):
        assert f"(default {default}" in told


def test_supervision_learns_from_labels(tmp_path):
    run = tmp_path / "run"
    assert call("supervise", "--network", "fastflownet", "--data", "synthetic", "-o", run) == 0
    assert (run / "network.safetensors").exists()
    assert '"epe"' in (run / "metrics.jsonl").read_text()


def test_supervision_without_labels_is_refused(tmp_path, frames, capsys):
    assert call("supervise", "--data", frames, "-o", tmp_path / "run") == 2
    assert "has a flow to learn from; use mdflow pretrain" in capsys.readouterr().err


def test_flags_win_over_the_file_and_settings_over_flags(tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("steps: 9\nseed: 1\noptimiser: {learning_rate: 1e-3}\n")
    run = tmp_path / "run"
    flags = ["--config", recipe, "--seed", 2, "--checkpoint-every", 7, "--size", "64x128", "--steps", 5]
    assert call("pretrain", *flags, "--set", "data.frame=[64, 128]", "--set", "augment.crop=[64, 128]", "-o", run) == 0
    config = build(PretrainConfig, run / "config.yaml")
    assert (config.seed, config.checkpoint_every, config.steps) == (2, 7, 2)
    assert config.augment.crop == (64, 128)
    assert config.optimiser.learning_rate == 1e-3


def test_a_size_off_the_stride_is_said_before_anything_is_written(tmp_path, capsys):
    assert call("pretrain", "--set", "augment.crop=[64, 100]", "-o", tmp_path / "run") == 2
    assert "The crop 64x100 does not fit 'fastflownet'; give a --size of multiples of 64" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_verb_that_is_asked_to_stop_says_so_by_its_status(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("mdflow.training.report", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    assert call("pretrain", "-o", tmp_path / "run", "--set", "steps=50") == STATUS
    message = capsys.readouterr().err
    assert "Stopped after step 1 of 50 of pretrain, and saved in" in message
    assert message.endswith("The same command with --resume goes on and writes the weights at its end.\n")
    assert (tmp_path / "run" / "checkpoints" / "last_pretrain").exists()


def test_weights_that_a_stop_after_the_last_step_kept_back_are_written_on_resuming(tmp_path, monkeypatch):
    command = ["pretrain", "-o", tmp_path / "run", "--set", "steps=1", "--resume"]
    with monkeypatch.context() as patch:
        patch.setattr("mdflow.training.report", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
        assert call(*command) == STATUS
    assert not (tmp_path / "run" / "network.safetensors").exists()
    assert call(*command) == 0
    assert (tmp_path / "run" / "network.safetensors").exists()


@pytest.mark.parametrize("source", ["synthetic", "synthetic?seed=7", "synthetic?seed=7&length=2&hard=0.5:2"])
def test_scenes_that_judge_are_not_those_that_teach(source):
    small = {"size": [32, 48], "texture_count": 2, "length": 3}
    config = PretrainConfig(data={"sources": [source], "synthetic": small}, score_pairs=4)
    teach, judge = open_training_data(config), open_held_out(config)
    assert len(judge) == 4
    assert {teach[number].name for number in range(len(teach))}.isdisjoint(judge[number].name for number in range(4))

import errno
import hashlib
import io
import json
import os

import numpy as np
import pytest
import torch

from mdflow.config import PretrainConfig
from mdflow.errors import InputError
from mdflow.networks import create
from mdflow.runs.folder import open_run
from mdflow.settings import build


def config(tmp_path, **changes) -> PretrainConfig:
    return PretrainConfig(out=tmp_path / "run", **changes)


def test_a_run_folder_holds_the_resolved_config(tmp_path):
    settings = config(tmp_path, steps=3)
    folder = open_run(settings)
    assert build(PretrainConfig, folder.path / "config.yaml") == settings
    assert {path.name for path in folder.path.iterdir() if path.is_dir()} == {"panels", "checkpoints"}


def test_a_run_is_not_written_over(tmp_path):
    folder = open_run(config(tmp_path))
    folder.save({"step": 1})
    with pytest.raises(InputError, match="holds a run already; use --resume to go on, --overwrite"):
        open_run(config(tmp_path))
    assert open_run(config(tmp_path), resume=True).restore()["step"] == 1
    assert open_run(config(tmp_path), overwrite=True).restore() is None


def test_only_the_same_settings_go_on(tmp_path):
    open_run(config(tmp_path, steps=5)).save({})
    with pytest.raises(InputError, match="other settings: steps 5 -> 6; repeat the same command to resume"):
        open_run(config(tmp_path, steps=6), resume=True)


def test_a_run_that_was_moved_goes_on(tmp_path):
    open_run(config(tmp_path / "before", steps=5)).save({"step": 1})
    (tmp_path / "before").rename(tmp_path / "after")
    assert open_run(config(tmp_path / "after", steps=5), resume=True).restore()["step"] == 1


def test_a_start_that_failed_at_once_is_no_run(tmp_path):
    first, second = create("lightflow", width=0.125), create("lightflow", width=0.125)
    open_run(config(tmp_path, steps=5)).keep_start(network=first)
    weights = {key: value.clone() for key, value in second.state_dict().items()}
    folder = open_run(config(tmp_path, steps=6))
    folder.keep_start(network=second)
    assert all(torch.equal(value, weights[key]) for key, value in second.state_dict().items())
    assert "steps: 6" in (folder.path / "config.yaml").read_text()


def test_there_may_be_nothing_to_resume(tmp_path):
    assert open_run(config(tmp_path), resume=True).restore("last_pretrain") is None


def test_what_is_saved_is_restored(tmp_path):
    folder = open_run(config(tmp_path))
    state = {"step": 7, "best": float("inf"), "learner": {"weight": torch.randn(3)}}
    folder.save(state, "last_stage")
    found = folder.restore("last_stage")
    assert (found["step"], found["best"]) == (7, float("inf"))
    assert torch.equal(found["learner"]["weight"], state["learner"]["weight"])
    assert folder.restore("last_other") is None


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path, capsys, damage):
    folder = open_run(config(tmp_path))
    for step in (1, 2):
        folder.save({"step": step})
    path = folder.path / "checkpoints" / "last"
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes({"cut": content[:-9], "flipped": content, "empty": b""}[damage])
    assert folder.restore()["step"] == 1
    assert "last' is damaged; looking for the one before it" in capsys.readouterr().out


def test_a_run_with_nothing_but_damage_does_not_silently_start_anew(tmp_path):
    folder = open_run(config(tmp_path))
    folder.save({"step": 1})
    (folder.path / "checkpoints" / "last").write_bytes(b"nothing")
    with pytest.raises(InputError, match="is whole any more; use --overwrite to start anew"):
        folder.restore()


def test_a_write_that_was_interrupted_leaves_the_checkpoint_before(tmp_path):
    folder = open_run(config(tmp_path))
    folder.save({"step": 1})
    (folder.path / "checkpoints" / "last.partial").write_bytes(b"half of it")
    assert folder.restore()["step"] == 1
    # Between its two renames only the one before has a name.
    (folder.path / "checkpoints" / "last").rename(folder.path / "checkpoints" / "last.previous")
    assert folder.restore()["step"] == 1


def test_overwriting_leaves_what_is_not_the_runs(tmp_path):
    folder = open_run(config(tmp_path))
    folder.log("stage", 1, {"loss": 2.0})
    folder.picture("stage", 1, np.zeros((4, 4, 3), np.uint8))
    (folder.path / "notes.txt").write_text("mine")
    (folder.path / "left_out.txt").write_text("of the run before")
    open_run(config(tmp_path, steps=9), overwrite=True)
    assert not (folder.path / "metrics.jsonl").exists()
    assert not (folder.path / "left_out.txt").exists()
    assert not list((folder.path / "panels").iterdir())
    assert (folder.path / "notes.txt").read_text() == "mine"


def test_a_place_that_cannot_be_written_to_is_named(tmp_path):
    (tmp_path / "run").write_text("a file")
    with pytest.raises(InputError, match=r"Cannot write to '.*run': "):
        open_run(config(tmp_path))


def test_the_last_k_checkpoints_are_kept(tmp_path):
    folder = open_run(config(tmp_path, keep=3))
    for step in range(1, 6):
        folder.save({"step": step})
    checkpoints = folder.path / "checkpoints"
    assert {path.name for path in checkpoints.iterdir()} == {"last", "last.previous", "last.previous2"}
    for name, step in (("last", 5), ("last.previous", 4), ("last.previous2", 3)):
        assert folder.restore()["step"] == step
        (checkpoints / name).write_bytes(b"torn")


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_what_cannot_be_written_is_said_and_the_one_before_stays(tmp_path, monkeypatch, error):
    folder = open_run(config(tmp_path))
    folder.save({"step": 1})

    def refuse(descriptor):
        raise OSError(error, os.strerror(error))

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", refuse)
        with pytest.raises(InputError, match=rf"Cannot write to '.*last': {os.strerror(error)}; make room"):
            folder.save({"step": 2})
    assert not list(folder.path.rglob("*.partial"))
    assert folder.restore()["step"] == 1


def test_a_disk_that_fills_up_while_metrics_are_written_is_said(tmp_path, monkeypatch):
    folder = open_run(config(tmp_path))

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(folder.events, "add_scalar", full)
    with pytest.raises(InputError, match=r"metrics\.jsonl': No space left on device"):
        folder.log("stage", 1, {"loss": 1.0})


def test_a_resumed_run_logs_nothing_twice(tmp_path):
    folder = open_run(config(tmp_path))
    for stage, steps in (("before", [0, 20]), ("stage", [0, 20, 40]), ("stage/held-out", [20, 40])):
        for step in steps:
            folder.log(stage, step, {"loss": 1.0})
    metrics = folder.path / "metrics.jsonl"
    metrics.write_bytes(metrics.read_bytes() + b'{"stage": "stage", "st')
    folder.forget("stage", 20)
    lines = [json.loads(line) for line in metrics.read_text().splitlines()]
    assert [(line["stage"], line["step"]) for line in lines] == [
        ("before", 0),
        ("before", 20),
        ("stage", 0),
        ("stage/held-out", 20),
    ]


def test_a_strangers_checkpoint_runs_no_code(tmp_path):
    folder = open_run(config(tmp_path))
    buffer = io.BytesIO()
    torch.save({"step": Malice(tmp_path / "executed")}, buffer)
    content = buffer.getvalue()
    (folder.path / "checkpoints" / "last").write_bytes(hashlib.sha256(content).digest() + content)
    with pytest.raises(InputError, match=r"last' is not a plain weight file: .* never executed"):
        folder.restore()
    assert not (tmp_path / "executed").exists()


class Malice:
    """What a stranger's pickle may do: here it makes a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_settings_that_are_newer_than_a_run_do_not_stop_it(tmp_path):
    record = open_run(config(tmp_path, steps=5)).path / "config.yaml"
    record.write_text("".join(line for line in record.read_text().splitlines(True) if not line.startswith("keep:")))
    open_run(config(tmp_path, steps=5), resume=True).save({})
    with pytest.raises(InputError, match="keep 2 -> 7"):
        open_run(config(tmp_path, steps=5, keep=7), resume=True)

import numpy as np
import pytest
import torch

from mdflow.config import PretrainConfig, build
from mdflow.errors import InputError
from mdflow.rundir import open_run


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
    open_run(config(tmp_path, steps=5))
    with pytest.raises(InputError, match="other settings: steps 5 -> 6; repeat the same command to resume"):
        open_run(config(tmp_path, steps=6), resume=True)


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
    open_run(config(tmp_path, steps=9), overwrite=True)
    assert not (folder.path / "metrics.jsonl").exists()
    assert not list((folder.path / "panels").iterdir())
    assert (folder.path / "notes.txt").read_text() == "mine"


def test_a_place_that_cannot_be_written_to_is_named(tmp_path):
    (tmp_path / "run").write_text("a file")
    with pytest.raises(InputError, match=r"Cannot write to '.*run': "):
        open_run(config(tmp_path))

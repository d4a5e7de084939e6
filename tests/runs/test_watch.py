import logging
import math

import pytest
import torch
from safetensors.torch import load_file
from test_training import settings, train
from toy import Translation

from mdflow.checkpoint import read_network
from mdflow.errors import InputError
from mdflow.runs.folder import open_run
from mdflow.runs.watch import KEPT_BATCHES, LARGEST_BAD_ROW, Watch
from mdflow.training import same_bits

FINE = {"speed": 3.0, "motion": 3.1, "visible": 90.0}


def watch(tmp_path, steps: int = 100) -> Watch:
    return Watch(open_run(settings(tmp_path)), "stage", steps)


def test_a_bad_batch_is_kept_for_study(tmp_path, caplog):
    one = watch(tmp_path)
    batch = {"image1": torch.rand(1, 3, 4, 4), "valid1": torch.tensor([True])}
    for number in range(KEPT_BATCHES + 2):
        one.step(number, False, batch, Translation())
    files = sorted((tmp_path / "run" / "bad_batches").iterdir())
    assert len(files) == KEPT_BATCHES
    assert files[0].name == "stage_0000000_0.safetensors"
    assert torch.equal(load_file(files[0])["image1"], batch["image1"])
    assert "step 0 of stage is skipped" in caplog.text
    assert str(files[0]) in caplog.text


def test_a_row_of_bad_steps_ends_the_run_with_the_last_good_weights(tmp_path):
    network = Translation(1, 1)

    def step(batch, progress):
        return {"loss": network.motion.sum() * (1 if int(batch["number"]) < 3 else math.inf)}

    with pytest.raises(InputError, match=r"20 steps in a row; .*good_stage\.safetensors'\. Start from them"):
        train(tmp_path, network=network, step=step, steps=1000)
    _, _, state = read_network(tmp_path / "run" / "checkpoints" / "good_stage.safetensors")
    assert state["motion"].isfinite().all()
    assert not torch.equal(state["motion"], torch.ones(2))


def test_good_steps_break_the_row(tmp_path):
    one = watch(tmp_path)
    for number in range(3 * LARGEST_BAD_ROW):
        one.step(number, number % LARGEST_BAD_ROW == 0, {}, Translation())


@pytest.mark.parametrize(
    ("figures", "sentence"),
    [
        ({"speed": 0.01}, "collapsed to zero flow; lower loss.smooth1"),
        ({"visible": 1.0}, "contradict each other .* set loss.occlusion to range_map"),
    ],
)
def test_a_collapse_is_said_once_until_it_comes_back(tmp_path, caplog, figures, sentence):
    caplog.set_level(logging.WARNING)
    one = watch(tmp_path)
    one.examined(5, FINE | figures)  # a beginner may
    assert not caplog.records
    for finished, seen in ((20, FINE), (30, FINE | figures), (40, FINE | figures), (50, FINE), (60, FINE | figures)):
        one.examined(finished, seen)
    assert [record.getMessage().partition(" of stage")[0] for record in caplog.records] == [
        "after step 30",
        "after step 60",
    ]
    assert sentence.partition(" .* ")[0] in caplog.text and sentence.partition(" .* ")[2] in caplog.text


def test_frames_that_stand_still_are_no_collapse(tmp_path, caplog):
    watch(tmp_path).examined(50, {"speed": 0.0, "motion": 0.2, "visible": 100.0})
    assert not caplog.records


def test_same_bits_asks_torch_and_leaves_it_as_it_was():
    with same_bits(True):
        assert torch.are_deterministic_algorithms_enabled()
        with same_bits(False):
            assert torch.are_deterministic_algorithms_enabled()
    assert not torch.are_deterministic_algorithms_enabled()

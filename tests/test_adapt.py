import numpy as np
import pytest
from toy import Pairs, Translation

from mdflow.adapt import Candidate, Footage, Shrunk, Stage, adapt, best
from mdflow.config import DistillConfig, PretrainConfig
from mdflow.networks import NETWORKS
from mdflow.runs.folder import open_run

SIZE = (64, 64)


def stages(tmp_path, resume: bool = False, learning_rate: float = 1e-3) -> list[Stage]:
    shared = {
        "batch_size": 1,
        "score_every": 2,
        "score_pairs": 2,
        "data": {"frame": SIZE, "workers": 0},
        "augment": {"crop": SIZE},
        "optimiser": {"learning_rate": learning_rate},
    }
    configs = [
        PretrainConfig(steps=2, out=tmp_path / "pretrain", **shared),
        DistillConfig(steps=2, rounds=2, out=tmp_path / "distill", **shared),
    ]
    return [Stage(config, open_run(config, resume=resume)) for config in configs]


def test_the_best_is_the_lowest_score_and_the_start_where_nothing_beats_it():
    candidates = [Candidate(name, Translation(), {"score": score}) for name, score in (("start", 2.0), ("a", 2.0))]
    assert best(candidates).name == "start"
    candidates.append(Candidate("b", Translation(), {"score": 1.5}))
    assert best(candidates).name == "b"


@pytest.fixture(autouse=True)
def known(monkeypatch):
    """The network of two numbers can be read back by its name."""
    monkeypatch.setitem(NETWORKS, "translation", Translation)


def test_every_stage_gives_a_candidate_and_the_start_stays_as_it_was(tmp_path):
    network = Translation(1, 0)
    found = adapt(*stages(tmp_path), network, Translation(0, 1), Footage(Pairs(), Pairs(2)))
    assert [one.name for one in found] == [
        "start",
        "pretrained on the footage",
        "taught by the student, round 1",
        "taught by the student, round 2",
    ]
    assert found[0].network.motion.tolist() == [1, 0]
    assert network.motion.tolist() != [1, 0]
    assert len({one.figures["consistency"] for one in found} | {one.figures["score"] for one in found}) > 1


def test_what_training_spoils_is_not_passed_on(tmp_path):
    """With a ruinous rate every stage is worse than the right answer that it started from."""
    found = adapt(
        *stages(tmp_path, learning_rate=5.0), Translation(2, 0), Translation(9, 9), Footage(Pairs(), Pairs(2))
    )
    assert len(found) == 4
    assert best(found) is found[0]


def test_a_finished_run_gives_the_same_candidates_again(tmp_path):
    first, again = (
        adapt(*stages(tmp_path, resume), Translation(1, 0), Translation(0, 1), Footage(Pairs(), Pairs(2)))
        for resume in (False, True)
    )
    assert [one.figures for one in again] == [one.figures for one in first]


def test_without_a_student_there_is_one_stage(tmp_path):
    found = adapt(stages(tmp_path)[0], None, Translation(1, 0), None, Footage(Pairs(), Pairs(2)))
    assert [one.name for one in found] == ["start", "pretrained on the footage"]


def test_shrinking_keeps_flow_and_picture_together():
    pair = Shrunk(Pairs(size=128), 64)[0]
    assert pair.image1.shape == pair.image2.shape == (64, 64, 3)
    assert np.unique(pair.flow12).tolist() == pytest.approx([0, 1])
    assert Shrunk(Pairs(size=64), 640)[0].image1.shape == (64, 64, 3)

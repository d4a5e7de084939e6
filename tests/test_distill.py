import itertools

import pytest
import torch
from pictures import constant_flow, shifted_pair
from toy import Pairs, Stopped, Translation, captured

from mdflow import distill
from mdflow.config import DistillConfig
from mdflow.distill import teach_student, teach_teacher
from mdflow.errors import InputError
from mdflow.imitation import pseudo_labels
from mdflow.networks import create
from mdflow.runs.folder import open_run

STILL = {"flip_horizontal": 0, "flip_vertical": 0, "zoom": (0, 0), "stretch": 0, "rotation": 0, "eraser": 0}
SIZE = (64, 64)


def settings(**changes) -> DistillConfig:
    small = {
        "batch_size": 1,
        "steps": 2,
        "checkpoint_every": 1,
        "score_every": 10,
        "score_pairs": 1,
        "data": {"frame": SIZE, "resize": False, "workers": 0},
        "augment": {"crop": SIZE, "eraser_size": (8, 16)},
        "optimiser": {"learning_rate": 1e-3},
        # An untrained network calls everything occluded: then nothing would be learned.
        "confidence": {"occlusion": False},
        "loss": {"occlusion": "none"},
    }
    return DistillConfig(**(small | changes))


def batch(dx: int = 3, dy: int = -1) -> dict[str, torch.Tensor]:
    image1, image2 = shifted_pair(dx, dy, *SIZE, batch=2)
    return {"image1": image1, "image2": image2, "coloured1": image1, "coloured2": image2}


def still(**changes) -> DistillConfig:
    return settings(augment=STILL | {"crop": SIZE}, **changes)


def test_labels_are_the_frozen_networks_flow_of_frames_of_any_size():
    torch.manual_seed(0)
    network = create("fastflownet").train()
    image1, image2 = shifted_pair(3, -1, 50, 70)
    flow12, flow21 = pseudo_labels(network, image1, image2)
    assert flow12.shape == flow21.shape == (1, 2, 50, 70)
    assert not flow12.requires_grad
    assert not network.training
    assert torch.equal(pseudo_labels(Translation(3, -1), image1, image2)[1], constant_flow(-3, 1, 50, 70))


@pytest.mark.parametrize("step", [teach_student, teach_teacher])
def test_a_learner_that_says_what_its_teacher_says_has_nothing_to_learn(step):
    terms = step(Translation(3, -1), Translation(3, -1), still(), batch(), 0.5)
    assert float(terms["supervised"].detach()) < 1e-4


class Pan(Translation):
    """Says that everything moves 16 px to the right from a frame to a brighter one, and back to a darker one."""

    def estimate(self, features1, features2):
        later = torch.sign((features2[0] - features1[0]).mean((1, 2, 3))).view(-1, 1, 1, 1)
        return [later * constant_flow(16, 0, *SIZE)]


@pytest.mark.parametrize("multi_frame", [0.0, 0.5])
def test_what_leaves_the_frame_is_learned_from_the_frame_before(monkeypatch, multi_frame):
    seen = captured(monkeypatch, distill)
    dark, grey, bright = (torch.full((1, 3, *SIZE), value) for value in (0.2, 0.4, 0.6))
    frames = {"image0": dark, "image1": grey, "image2": bright, "coloured1": grey, "coloured2": bright}
    config = still(multi_frame=multi_frame, confidence={"occlusion": True, "quantile": None})
    teach_student(Pan(), Translation(), config, frames | {"known0": torch.tensor([True])}, 0.5)
    assert torch.equal(seen["weights"][0][..., :48], torch.ones(1, 1, 64, 48))
    assert torch.equal(seen["weights"][0][..., 48:], torch.full((1, 1, 64, 16), multi_frame))
    assert torch.allclose(seen["flows"][0], constant_flow(16, 0, *SIZE), atol=1e-2)


def test_labels_from_the_frame_before_take_the_place_of_hidden_ones_alone(monkeypatch):
    seen = captured(monkeypatch, distill)
    hidden = torch.zeros(2, 1, *SIZE)
    hidden[..., 56:] = 1
    monkeypatch.setattr(distill, "hidden_labels", lambda *_: (constant_flow(7, 0, *SIZE, batch=2), hidden))
    one = batch(16, 0)
    one |= {"image0": one["image1"], "known0": torch.tensor([True, True])}
    teach_student(Translation(16, 0), Translation(), still(multi_frame=0.5), one, 0.5)
    assert (seen["flows"][0][:, 0, :, 56:] == 7).all()
    assert (seen["flows"][0][:, 0, :, :56] == 16).all()


@pytest.mark.parametrize("step", [teach_student, teach_teacher])
def test_the_learner_is_drawn_to_the_labels(step):
    learner = Translation(2, -1)
    config = still(unsupervised=0)
    terms = step(Translation(3, -1), learner, config, batch(), 0.5)
    assert set(terms) == {"supervised"}
    assert float(terms["supervised"].detach()) == pytest.approx(1, rel=1e-3)
    terms["supervised"].backward()
    assert learner.motion.grad[0] < -0.5


@pytest.mark.parametrize("step", [teach_student, teach_teacher])
def test_labels_are_of_clean_frames_and_the_learner_sees_coloured_ones(step):
    fixed, learner, one = Translation(3, -1), Translation(3, -1), batch()
    one |= {"coloured1": 0.5 * one["image1"], "coloured2": 0.5 * one["image2"]}
    step(fixed, learner, still(unsupervised=0), one, 0.5)
    for network, look in ((fixed, "image"), (learner, "coloured")):
        assert torch.allclose(network.seen[0][:2], one[f"{look}1"], atol=1e-4), look
        assert torch.allclose(network.seen[1][:2], one[f"{look}2"], atol=1e-4), look


def test_the_weight_of_the_labels_is_that_of_the_settings():
    half, whole = (
        teach_teacher(Translation(5, -1), Translation(3, -1), still(unsupervised=0, labels=labels), batch(), 0.5)
        for labels in (0.5, 1.0)
    )
    assert float(half["supervised"].detach()) == pytest.approx(0.5 * float(whole["supervised"].detach()))


def test_the_student_gets_only_reliable_labels():
    """Where the frames contradict a label it does not count; here they contradict it everywhere."""
    sure = still(confidence={"threshold": 0.5, "quantile": None})
    terms = teach_student(Translation(9, 5), Translation(0, 0), sure, batch(), 0.5)
    assert float(terms["supervised"].detach()) < 0.3
    blind = still(confidence={"threshold": None, "quantile": None})
    terms = teach_student(Translation(9, 5), Translation(0, 0), blind, batch(), 0.5)
    assert float(terms["supervised"].detach()) == pytest.approx((81 + 25) ** 0.5, rel=1e-2)


def test_each_direction_is_trusted_by_its_own_mask(monkeypatch):
    seen = captured(monkeypatch, distill)
    teach_student(Translation(16, 0), Translation(), still(confidence={"quantile": None}), batch(16, 0), 0.5)
    mask1, mask2 = seen["weights"]
    assert not mask1[..., 48:].any() and (mask1[..., :48] == 1).all()
    assert not mask2[..., :16].any() and (mask2[..., 16:] == 1).all()


def test_each_direction_is_as_sure_as_its_own_label(monkeypatch):
    seen = captured(monkeypatch, distill)
    ones = torch.ones(2, 1, *SIZE)
    monkeypatch.setattr(distill, "sureness", lambda *_: (0.25 * ones, 0.75 * ones))
    teach_teacher(Translation(3, -1), Translation(3, -1), still(confidence={"deviation": 1.0}), batch(), 0.5)
    assert [float(mask[..., 8:-8, 8:-8].mean()) for mask in seen["weights"]] == pytest.approx([0.25, 0.75])


def test_the_light_network_also_learns_from_the_clean_frames():
    terms = teach_teacher(Translation(3, -1), Translation(3, -1), still(unsupervised=0.5), batch(), 0.5)
    whole = teach_teacher(Translation(3, -1), Translation(3, -1), still(unsupervised=1), batch(), 0.5)
    assert {"supervised", "census"} <= set(terms)
    assert float(terms["census"].detach()) == pytest.approx(0.5 * float(whole["census"].detach()))


def buffers_and_weights(network) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


@pytest.mark.parametrize("teacher_learns", [False, True], ids=["stage 2", "stage 3"])
def test_the_one_that_teaches_stays_as_it_is(teacher_learns):
    """Weights, gradients and the statistics of BatchNorm, which RAFT's context network has."""
    torch.manual_seed(0)
    light, strong = create("fastflownet").train(), create("raft", iterations=1).train()
    fixed, learner, step = (strong, light, teach_teacher) if teacher_learns else (light, strong, teach_student)
    before = buffers_and_weights(fixed)
    terms = step(fixed, learner, settings(), batch(), 0.5)
    sum(terms.values()).backward()
    assert all(torch.equal(value, before[name]) for name, value in fixed.state_dict().items())
    assert all(value.grad is None for value in fixed.parameters())
    assert sum(value.grad is not None and bool(value.grad.any()) for value in learner.parameters()) > 10
    assert learner.training


@pytest.mark.parametrize(
    ("teacher", "student"), [("fastflownet", "raft_small"), ("raft_small", "fastflownet"), ("fastflownet", "lightflow")]
)
def test_any_network_teaches_any_other(tmp_path, teacher, student):
    config = settings(
        steps=1, teacher={"name": teacher}, student={"name": student}, out=tmp_path / "run", checkpoint_every=10
    )
    torch.manual_seed(0)
    networks = [create(name, **({"iterations": 2} if "raft" in name else {})) for name in (teacher, student)]
    before = [buffers_and_weights(network) for network in networks]
    distill.run(config, *networks, Pairs(), Pairs(1), open_run(config))
    for network, old in zip(networks, before, strict=True):
        assert not network.training
        state = network.state_dict()
        assert any(not torch.equal(value, old[name]) for name, value in state.items())
        assert all(value.isfinite().all() for value in state.values())


def train(tmp_path, name: str, reads: int | None = None, resume: bool = False, seed: int = 0):
    torch.manual_seed(seed)
    networks = create("fastflownet"), create("raft_small", iterations=2)
    config = settings(out=tmp_path / name)
    folder = open_run(config, resume=resume)
    distill.run(config, *networks, Pairs(reads=reads), Pairs(1), folder)
    return networks


def test_a_run_stopped_in_either_stage_goes_on_to_the_very_same_weights(tmp_path):
    whole = train(tmp_path, "whole")
    for stage, reads in (("student", 1), ("teacher", 3)):
        with pytest.raises(Stopped):
            train(tmp_path, stage, reads=reads)
        # A new process starts from the same weights (a seed, or --init).
        resumed = train(tmp_path, stage, resume=True)
        for one, other in zip(whole, resumed, strict=True):
            for (name, value), found in itertools.zip_longest(one.state_dict().items(), other.state_dict().values()):
                assert torch.equal(value, found), (stage, name)


@pytest.mark.parametrize("idle", ["teacher", "student"])
def test_a_stage_of_no_steps_is_left_out(tmp_path, idle):
    networks = {"teacher": Translation(1, 0), "student": Translation(0, 1)}
    before = {name: network.motion.tolist() for name, network in networks.items()}
    config = settings(out=tmp_path / "run", **{f"{idle}_steps": 0})
    distill.run(config, *networks.values(), Pairs(), Pairs(1), open_run(config))
    learned = {name: network.motion.tolist() != before[name] for name, network in networks.items()}
    assert learned == {name: name != idle for name in networks}
    stages = {path.stem.partition("round1_")[2] for path in (tmp_path / "run" / "checkpoints").glob("best_round1_*")}
    assert stages == {name for name in networks if name != idle}


def test_each_turn_sees_other_batches(tmp_path):
    seen = []

    class Recorded(Pairs):
        def __getitem__(self, index):
            seen.append(index)
            return super().__getitem__(index)

    config = settings(out=tmp_path / "run", rounds=2, steps=6, student_steps=8, teacher_steps=None)
    distill.run(config, Translation(), Translation(), Recorded(length=50), Pairs(1), open_run(config))
    assert len(seen) == 2 * (8 + 6)
    turns = [seen[:6], seen[8:14], seen[14:20], seen[22:28]]
    assert len({tuple(turn) for turn in turns}) == 4


def test_labels_by_sureness_need_a_student_that_foretells_before_anything_is_learned(tmp_path):
    config = settings(out=tmp_path / "run", confidence={"deviation": 1.0})
    with pytest.raises(InputError, match="does not foretell its error"):
        distill.run(config, Translation(), Translation(), Pairs(reads=0), Pairs(), open_run(config))


def test_smoothness_ends_when_it_is_told_to():
    config = still(loss={"occlusion": "none", "smooth_until": 0.5})
    first, second = (
        teach_teacher(Translation(3, -1), Translation(3, -1), config, batch(), progress) for progress in (0.2, 0.8)
    )
    assert set(first) - set(second) == {"smooth1"}

import itertools
from dataclasses import replace

import pytest
import torch
from pictures import shifted_pair
from toy import Pairs, Stopped, Translation, captured

from mdflow import pretrain
from mdflow.config import AugmentConfig, DistillConfig, PretrainConfig
from mdflow.networks import create
from mdflow.pretrain import (
    HIDDEN,
    anchor_loss,
    cut_coloured,
    cut_crops,
    known_flows,
    label_loss,
    pretrain_step,
    sees_itself_from,
)
from mdflow.runs.folder import open_run
from mdflow.runs.history import read_metrics

STILL = {"flip_horizontal": 0, "flip_vertical": 0, "zoom": (0, 0), "stretch": 0, "rotation": 0, "eraser": 0}


def settings(**changes) -> PretrainConfig:
    small = {
        "batch_size": 1,
        "steps": 4,
        "checkpoint_every": 2,
        "score_every": 10,
        "score_pairs": 1,
        "data": {"frame": (64, 80), "resize": False, "workers": 0},
        "augment": {"crop": (64, 64), "eraser_size": (8, 16)},
        "loss": {"occlusion": "none"},
        "self_from": 0.25,
    }
    return PretrainConfig(**(small | changes))


def batch(dx: int = 3, dy: int = -1, height: int = 64, width: int = 80) -> dict[str, torch.Tensor]:
    image1, image2 = shifted_pair(dx, dy, height, width, batch=2)
    return {"image1": image1, "image2": image2, "coloured1": image1 * 0.9, "coloured2": image2 * 0.9}


def test_crops_are_cut_alike_from_clean_and_coloured_frames():
    torch.manual_seed(0)
    found = batch()
    crops, window = cut_crops(found, settings(augment={"crop": (32, 48)}).augment)
    coloured1, coloured2 = cut_coloured(found, window)
    assert crops.image1.shape == (2, 3, 32, 48)
    for index, (x, y) in enumerate(crops.origin.long().tolist()):
        part = found["image2"][index, :, y : y + 32, x : x + 48]
        assert torch.equal(crops.image2[index], part)
    assert torch.allclose(coloured1, 0.9 * crops.image1, atol=1e-4)
    assert torch.allclose(coloured2, 0.9 * crops.image2, atol=1e-4)
    assert crops.frame1 is found["image1"]


def test_at_the_true_flow_there_is_nothing_to_learn():
    config = settings(augment=STILL | {"crop": (64, 64)}, loss={"l1": 1.0, "census": 0, "smooth1": 4.0}, self_weight=1)
    terms = pretrain_step(Translation(3, -1), config, batch(), progress=1.0)
    assert set(terms) == {"l1", "smooth1", "self"}
    assert terms["l1"] < 1e-5
    assert terms["self"] < 1e-4
    assert terms["smooth1"] < 0.01
    wrong = pretrain_step(Translation(0, 0), config, batch(), progress=1.0)
    assert wrong["l1"] > 0.02


def test_the_start_anchors_what_leaves_the_frame_and_by_less_what_is_hidden():
    """Motion of 16 px leaves the frame, 64 px wide, through a quarter of its columns; from the middle it does not."""
    still = AugmentConfig(**STILL, crop=(64, 64))
    crops, _ = cut_crops(batch(16, 0, width=64), still)
    flows, known = (torch.tensor([x, 0.0]).view(1, 2, 1, 1).repeat(4, 1, 64, 64) for x in (20.0, 16.0))
    flows[2:], known[2:] = -flows[2:], -known[2:]
    seen = [torch.ones(2, 1, 64, 64)] * 2
    assert anchor_loss(known, crops, known, seen) < 1e-5
    assert float(anchor_loss(known, crops, flows, seen)) == pytest.approx(4 / 4, rel=0.02)
    cut = {"image1": crops.image1[..., 16:48], "image2": crops.image2[..., 16:48]}
    middle = replace(crops, **cut, origin=crops.origin + torch.tensor([16.0, 0.0]))
    known, flows = known[..., 16:48], flows[..., 16:48]
    assert anchor_loss(known, middle, flows, [mask[..., 16:48] for mask in seen]) < 1e-5
    hidden = [torch.zeros(2, 1, 64, 32)] * 2
    assert float(anchor_loss(known, middle, flows, hidden)) == pytest.approx(4 * HIDDEN, rel=0.02)


def test_the_anchor_is_a_term_of_the_step_and_pulls_towards_the_start():
    config = settings(augment=STILL | {"crop": (64, 64)}, loss={"census": 0, "l1": 1.0, "smooth1": 0}, anchor=2.0)
    moving = Translation(16, 0)
    terms = pretrain_step(moving, config, batch(16, 0, width=64), 0.0, start=Translation(20, 0))
    assert float(terms["anchor"].detach()) == pytest.approx(2.0 * 4 * 20 / 64, rel=0.02)
    terms["anchor"].backward()
    assert moving.motion.grad[0] < 0


def test_the_starts_flow_of_whole_frames_labels_what_it_sees():
    """Motion of 16 px leaves the frame, 80 px wide, through its last columns: they get no label, the others do."""
    still = AugmentConfig(**STILL, crop=(64, 64))
    torch.manual_seed(0)
    frames = batch(16, 0)
    crops, window = cut_crops(frames, still)
    known, seen = known_flows(Translation(16, 0), frames, window)
    torch.testing.assert_close(known[:, 0].mean((1, 2)), torch.tensor([16.0, 16.0, -16.0, -16.0]))
    unlabelled = torch.cat([crops.origin[:, 0], 16 - crops.origin[:, 0]])  # columns, of flow12 and of flow21
    torch.testing.assert_close(1 - seen.mean((1, 2, 3)), unlabelled / 64, atol=0.02, rtol=0)
    wrong = known + torch.tensor([4.0, 0.0]).view(1, 2, 1, 1)
    assert float(label_loss(known, seen, wrong)) == pytest.approx(4 * float(seen.mean()), rel=1e-3)


def test_labels_are_a_term_of_the_step_and_pull_towards_what_the_start_sees():
    config = settings(augment=STILL | {"crop": (64, 64)}, loss={"census": 0, "smooth1": 0}, labels=2.0)
    moving = Translation(14, 0)
    terms = pretrain_step(moving, config, batch(16, 0), 0.0, start=Translation(20, 0))
    assert 2.0 * 6 * 0.5 < float(terms["labels"].detach()) < 2.0 * 6
    terms["labels"].backward()
    assert moving.motion.grad[0] < 0


def test_the_start_looks_at_clean_frames():
    start, one = Translation(3, -1), batch(width=64)
    pretrain_step(Translation(3, -1), settings(anchor=1.0), one, 0.0, start)
    assert torch.equal(start.seen[0], one["image1"]) and torch.equal(start.seen[1], one["image2"])


def test_a_run_is_anchored_to_the_weights_that_it_started_from(tmp_path):
    config = settings(out=tmp_path / "run", anchor=1.0, loss={"occlusion": "none"})
    network = Translation(3, 0)
    pretrain.run(config, network, Pairs(size=80), Pairs(1), open_run(config))
    *_, last = read_metrics(tmp_path / "run")["pretrain"].values()
    assert last["anchor"] > 0, "a network that is its own start is never away from it"


@pytest.mark.parametrize(("progress", "share"), [(0.2, None), (0.5, None), (0.55, 0.5), (0.6, 1), (1, 1)])
def test_the_networks_own_flow_becomes_a_label_after_a_while(progress, share):
    """Half of the crop is zoomed, so that a network that does not see it contradicts itself."""
    config = settings(augment=STILL | {"crop": (64, 64), "zoom": (1, 1)}, self_weight=2.0, self_from=0.5)
    terms = pretrain_step(Translation(3, -1), config, batch(), progress)
    if share is None:
        assert "self" not in terms
    else:
        assert float(terms["self"].detach()) == pytest.approx(share * 2 * 10**0.5, rel=1e-2)


@pytest.mark.parametrize(("steps", "self_from", "weight"), [(10, 0.6, 0.1), (7, 0.5, 0.1), (3, 0, 0.1), (4, 0.5, 0)])
def test_coloured_frames_are_made_from_the_step_on_that_needs_them(steps, self_from, weight):
    config = settings(augment=STILL | {"crop": (64, 64)}, steps=steps, self_weight=weight, self_from=self_from)
    needing = []
    for number in range(steps):
        one = {name: image for name, image in batch().items() if "coloured" not in name}
        try:
            pretrain_step(Translation(3, -1), config, one, number / steps)
        except KeyError:
            needing.append(number)
    assert all(number >= sees_itself_from(config) for number in needing)
    assert min(needing, default=steps) <= sees_itself_from(config) + 1


def test_its_own_flow_of_clean_frames_is_a_label_where_it_is_visible(monkeypatch):
    seen, one = captured(monkeypatch, pretrain), batch(16, 0, width=64)
    config = settings(augment=STILL | {"crop": (64, 64)}, loss={}, self_weight=1.0, self_from=0)
    pretrain_step(Translation(16, 0), config, one, 1.0)
    assert torch.allclose(seen["images"][0], one["coloured1"], atol=1e-4)
    assert torch.allclose(seen["images"][1], one["coloured2"], atol=1e-4)
    mask1, mask2 = seen["weights"]
    assert not mask1[..., 48:].any() and (mask1[..., :48] == 1).all()
    assert not mask2[..., :16].any() and (mask2[..., 16:] == 1).all()


def test_mixed_precision_changes_the_terms_by_little():
    torch.manual_seed(0)
    network, found = create("fastflownet"), []
    config = settings(augment={"crop": (64, 64), "relative": 3, "eraser": 0}, self_weight=1.0, self_from=0)
    wide = batch(width=512)
    for mixed in (False, True):
        torch.manual_seed(1)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            found.append(pretrain_step(network, config, wide, 1.0))
    for name, value in found[0].items():
        assert float(found[1][name]) == pytest.approx(float(value), rel=0.05), name


def test_every_weight_of_the_network_learns():
    torch.manual_seed(0)
    network = create("fastflownet").train()
    terms = pretrain_step(network, settings(), batch(), 1.0)
    sum(terms.values()).backward()
    idle = [name for name, value in network.named_parameters() if value.grad is None or not value.grad.any()]
    assert idle == []
    assert all(value.grad.isfinite().all() for value in network.parameters())


def train(tmp_path, name: str, reads: int | None = None, resume: bool = False, seed: int = 0):
    torch.manual_seed(seed)
    network = create("fastflownet")
    config = settings(out=tmp_path / name)
    folder = open_run(config, resume=resume)
    pretrain.run(config, network, Pairs(size=80, reads=reads), Pairs(1), folder)
    return network


def test_a_stopped_run_goes_on_to_the_very_same_weights(tmp_path):
    whole = train(tmp_path, "whole")
    with pytest.raises(Stopped):
        train(tmp_path, "parts", reads=3)
    resumed = train(tmp_path, "parts", resume=True, seed=5)
    for (name, one), other in itertools.zip_longest(whole.state_dict().items(), resumed.state_dict().values()):
        assert torch.equal(one, other), name


def test_trained_weights_start_with_the_occlusion_that_they_can_see():
    found, taught = PretrainConfig(**pretrain.trained_start()).loss, DistillConfig().loss
    for name in ("reduced", "mask_from", "forward_backward_from"):
        assert getattr(found, name) == getattr(taught, name), name

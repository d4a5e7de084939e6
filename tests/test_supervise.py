import pytest
import torch
from pictures import constant_flow, shifted_pair
from toy import Pairs, Translation

from mdflow import supervise
from mdflow.config import SuperviseConfig
from mdflow.networks import create
from mdflow.runs.folder import open_run
from mdflow.supervise import supervised_step
from mdflow.training import update

STILL = {"flip_horizontal": 0, "flip_vertical": 0, "zoom": (0, 0), "stretch": 0, "rotation": 0, "eraser": 0}
SIZE = (64, 64)


def batch(dx: int = 4, dy: int = -3) -> dict[str, torch.Tensor]:
    image1, image2 = shifted_pair(dx, dy, *SIZE)
    return {
        "coloured1": image1,
        "coloured2": image2,
        "flow12": constant_flow(dx, dy, *SIZE),
        "valid1": torch.ones(1, 1, *SIZE, dtype=torch.bool),
    }


def settings(**changes) -> SuperviseConfig:
    return SuperviseConfig(**({"augment": STILL | {"crop": SIZE}} | changes))


def test_the_loss_is_the_distance_to_the_labels_where_they_are_known():
    one = batch()
    assert float(supervised_step(Translation(4, 1), settings(), one)["supervised"].detach()) == pytest.approx(
        4, rel=1e-3
    )
    one["flow12"][..., :30] = 500
    one["valid1"][..., :30] = False
    assert supervised_step(Translation(4, -3), settings(), one)["supervised"] < 1e-3


def test_labels_are_augmented_with_the_images():
    mirrored = settings(augment=STILL | {"crop": SIZE, "flip_horizontal": 1})
    assert supervised_step(Translation(-4, -3), mirrored, batch())["supervised"] < 1e-3


def test_what_a_rotation_brings_in_has_no_label(monkeypatch):
    seen = {}
    monkeypatch.setattr(supervise, "judged_loss", lambda *given: seen.update(weight=given[4]))
    torch.manual_seed(0)
    supervised_step(Translation(), settings(augment=STILL | {"crop": SIZE, "rotation": 45}), batch())
    assert 0.5 < float(seen["weight"].mean()) < 0.98
    assert seen["weight"][..., 0, 0] == 0


def test_boxes_are_taken_out_of_the_second_frame():
    torch.manual_seed(0)
    network, one = Translation(4, -3), batch()
    augment = STILL | {"crop": SIZE, "eraser": 1, "eraser_size": (10, 12)}
    supervised_step(network, settings(augment=augment), one)
    assert torch.allclose(network.seen[0], one["coloured1"], atol=1e-4)
    changed = (network.seen[1] - one["coloured2"]).abs().amax(1) > 1e-3
    assert 0 < changed.float().mean() < 0.2


def test_fastflownet_learns_a_pair_by_heart():
    torch.manual_seed(0)
    network = create("fastflownet").train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3)
    losses = []
    for _ in range(30):
        loss = supervised_step(network, settings(), batch())["supervised"]
        update(network, loss, optimiser, clip=1.0)
        losses.append(float(loss.detach()))
    with torch.no_grad():
        flow = network(batch()["coloured1"], batch()["coloured2"])[-1]
    error = (flow - batch()["flow12"]).norm(dim=1).mean()
    assert losses[-1] < 0.4 * losses[0]
    assert error < 0.4 * 5


def test_a_run_is_judged_by_labels(tmp_path):
    network = Translation()
    config = SuperviseConfig(
        out=tmp_path / "run",
        steps=30,
        batch_size=2,
        score_pairs=1,
        data={"frame": SIZE, "workers": 0},
        augment=STILL | {"crop": SIZE, "colour": 0},
        optimiser={"learning_rate": 0.3, "ema": 0.5},
    )
    folder = open_run(config)
    supervise.run(config, network, Pairs(), Pairs(1), folder)
    # Pairs move right by 2 px; half of them are played backwards, which the toy cannot tell from them.
    assert network.motion[1].abs() < 0.2
    assert network.motion[0].abs() < 2.5
    last = (folder.path / "metrics.jsonl").read_text().splitlines()[-1]
    assert '"epe"' in last
    assert '"epe_zero": 2.0' in last


def test_batch_normalisation_may_keep_its_statistics():
    torch.manual_seed(0)
    two = {name: torch.cat([value, value]) for name, value in batch().items()}
    for frozen in (True, False):
        network = create("lightflow").train()
        before = network.down[0][1].running_mean.clone()
        supervised_step(network, settings(freeze_batch_norm=frozen), two)["supervised"].backward()
        assert torch.equal(network.down[0][1].running_mean, before) == frozen
        assert network.down[0][1].weight.grad is not None

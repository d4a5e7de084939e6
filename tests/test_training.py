import json
import math

import numpy as np
import pytest
import torch
from toy import Translation

from mdflow.config import OptimiserConfig, RunConfig
from mdflow.errors import InputError
from mdflow.examine import Examination
from mdflow.runs.folder import open_run
from mdflow.runs.watch import LARGEST_BAD_ROW
from mdflow.system import processor
from mdflow.training import Average, fit, make_optimiser, pick_device, precision, set_rate, to_device, update


def settings(tmp_path, name: str = "run", **changes) -> RunConfig:
    return RunConfig(out=tmp_path / name, **({"checkpoint_every": 2, "score_every": 3} | changes))


def stream(start: int):
    """Batches that tell their step; like a loader that starts, it draws from torch's generator first."""
    torch.randn(1)
    while True:
        yield {"number": torch.tensor(start)}
        start += 1


def examine(network) -> Examination:
    """Best where the motion is 2."""
    score = abs(float(network.motion[0]) - 2)
    return Examination({"score": score}, score, np.zeros((4, 4, 3), np.uint8))


def pull(network):
    """A step that draws the motion towards (2, 2), with noise from torch's generator."""

    def step(batch, progress):
        return {"pull": ((network.motion - 2 + 0.1 * torch.randn(2)) ** 2).sum()}

    return step


def train(tmp_path, name="run", network=None, step=None, steps=6, resume=False, **changes) -> Translation:
    network = network or Translation()
    config = settings(tmp_path, name, steps=steps, **changes)
    folder = open_run(config, resume=resume)
    fit(network, step or pull(network), stream, examine, config, steps, folder, "stage")
    return network


def test_training_goes_where_the_loss_falls(tmp_path):
    network = train(tmp_path, steps=40, optimiser={"learning_rate": 0.3, "ema": 0.5, "clip": 100})
    assert (network.motion - 2).abs().max() < 0.5
    assert not network.training
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    losses = [line["pull"] for line in lines if line["stage"] == "stage"]
    assert losses[-1] < losses[0] / 4
    assert [line["step"] for line in lines if line["stage"] == "stage/held-out"][-1] == 40
    assert (tmp_path / "run" / "panels" / "stage_0000040.png").exists()
    assert (tmp_path / "run" / "checkpoints" / "best_stage.safetensors").exists()


@pytest.mark.parametrize("stop", [3, 4, 5])
def test_a_resumed_run_ends_with_the_weights_of_one_that_never_stopped(tmp_path, stop):
    expected = train(tmp_path, "whole", steps=8)
    network = Translation()

    def breaking(batch, progress):
        if batch["number"] == stop:
            raise KeyboardInterrupt
        return pull(network)(batch, progress)

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, "parts", network, breaking, steps=8)
    steps = []
    network = Translation(9, 9)  # what a new process starts with does not count

    def counting(batch, progress):
        steps.append((int(batch["number"]), progress))
        return pull(network)(batch, progress)

    train(tmp_path, "parts", network, counting, steps=8, resume=True)
    assert steps[0] == (stop // 2 * 2, stop // 2 * 2 / 8)
    for name, value in expected.state_dict().items():
        assert torch.equal(network.state_dict()[name], value)


def test_a_finished_stage_is_not_trained_again(tmp_path):
    expected = train(tmp_path)

    def never(batch, progress):
        raise AssertionError

    again = train(tmp_path, network=Translation(9, 9), step=never, resume=True)
    assert torch.equal(again.motion, expected.motion)


def test_a_step_that_is_not_finite_changes_nothing(tmp_path):
    """Neither an infinite loss nor a finite one whose gradient is not."""
    network, seen = Translation(1, 1), []

    def step(batch, progress):
        seen.append(network.motion.detach().clone())
        number = int(batch["number"])
        if number == 1:
            return {"bad": network.motion.sum() * math.nan}
        if number == 3:
            return {"bad": (network.motion - network.motion.detach()).abs().sqrt().sum()}
        return {"good": network.motion.sum()}

    train(tmp_path, network=network, step=step, steps=5)
    assert torch.equal(seen[1], seen[2])
    assert torch.equal(seen[3], seen[4])
    assert not torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[2], seen[3])
    assert network.motion.isfinite().all()


def test_many_of_them_in_a_row_stop_the_run(tmp_path):
    network, steps = Translation(1, 1), []

    def step(batch, progress):
        steps.append(int(batch["number"]))
        good = len(steps) % LARGEST_BAD_ROW == 0 and len(steps) < 3 * LARGEST_BAD_ROW
        return {"loss": network.motion.sum() * (1 if good else math.inf)}

    with pytest.raises(InputError, match=rf"not finite for {LARGEST_BAD_ROW} steps in a row; .*run"):
        train(tmp_path, network=network, step=step, steps=1000)
    assert len(steps) == 3 * LARGEST_BAD_ROW


def test_a_loss_without_terms_is_said(tmp_path):
    with pytest.raises(InputError, match="every term of the loss has the weight 0"):
        train(tmp_path, step=lambda batch, progress: {})


def test_the_best_network_so_far_is_kept(tmp_path):
    def step(batch, progress):
        return {"loss": 0 * network.motion.sum()}

    scores = iter([3.0, 1.0, math.nan, 2.0])
    network, config = Translation(), settings(tmp_path, steps=4, score_every=1, optimiser={"weight_decay": 0})
    kept = []

    def judge(average):
        kept.append((tmp_path / "run" / "checkpoints" / "best_stage.safetensors").exists())
        return Examination({}, next(scores), np.zeros((4, 4, 3), np.uint8))

    folder = open_run(config)
    fit(network, step, stream, judge, config, 4, folder, "stage")
    assert kept == [False, True, True, True]
    assert folder.restore("last_stage")["best"] == 1.0


def test_the_rate_warms_up_stays_and_falls():
    config = OptimiserConfig(learning_rate=2.0, warm_up=0.1, constant=0.6, final=0.25)
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1)
    rates = []
    for number in range(100):
        set_rate(optimiser, config, number, 100)
        rates.append(optimiser.param_groups[0]["lr"])
    assert rates[:3] == pytest.approx([0.2, 0.4, 0.6])
    assert rates[9:60] == pytest.approx([2.0] * 51)
    assert rates[79] == pytest.approx(2 * (1 + 0.25) / 2)
    assert rates[99] == pytest.approx(0.5)


def test_the_rate_may_halve_in_steps():
    config = OptimiserConfig(learning_rate=2.0, warm_up=0, constant=1, halve_at=(0.2, 0.5))
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1)
    rates = []
    for number in range(10):
        set_rate(optimiser, config, number, 10)
        rates.append(optimiser.param_groups[0]["lr"])
    assert rates == [2.0] * 2 + [1.0] * 3 + [0.5] * 5


def test_one_cycle_rises_to_the_rate_and_falls_to_nothing():
    config = OptimiserConfig(learning_rate=2.0, warm_up=0.25, constant=0.25, final=0)
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1)
    rates = []
    for number in range(8):
        set_rate(optimiser, config, number, 8)
        rates.append(optimiser.param_groups[0]["lr"])
    assert rates == pytest.approx([1.0, 2.0, 10 / 6, 8 / 6, 1.0, 4 / 6, 2 / 6, 0.0])


def test_biases_may_be_left_to_themselves():
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2))
    for parameter in network.parameters():
        torch.nn.init.ones_(parameter)
        parameter.grad = torch.zeros_like(parameter)
    make_optimiser(network, OptimiserConfig(learning_rate=0.1, weight_decay=1, decay_biases=False)).step()
    assert {name for name, value in network.named_parameters() if (value == 1).all()} == {"0.bias", "1.bias"}
    assert len(make_optimiser(network, OptimiserConfig()).param_groups) == 1


def test_weight_decay_may_be_a_part_of_the_gradient():
    """Adam then takes a whole step against it, however weak it is; AdamW one in proportion."""
    for decoupled, expected in ((True, 1 - 0.1 * 0.01), (False, 1 - 0.1)):
        network = torch.nn.Linear(1, 1, bias=False)
        torch.nn.init.ones_(network.weight)
        network.weight.grad = torch.zeros_like(network.weight)
        make_optimiser(network, OptimiserConfig(learning_rate=0.1, weight_decay=0.01, decoupled=decoupled)).step()
        assert float(network.weight.detach()) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("changes", [{"warm_up": 0}, {"constant": 1}, {"warm_up": 1, "constant": 0}])
def test_a_schedule_may_lack_a_part(changes):
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1)
    for number in range(10):
        set_rate(optimiser, OptimiserConfig(learning_rate=1.0, **changes), number, 10)
        assert 0 < optimiser.param_groups[0]["lr"] <= 1


def test_gradients_are_clipped_to_a_norm():
    network = Translation()
    optimiser = torch.optim.SGD(network.parameters(), lr=1.0)
    assert update(network, (network.motion * torch.tensor([30.0, 40.0])).sum(), optimiser, clip=2.0)
    assert torch.allclose(network.motion, torch.tensor([-1.2, -1.6]), atol=1e-5)
    assert update(network, (network.motion * torch.tensor([0.3, 0.4])).sum(), optimiser, clip=2.0)
    assert torch.allclose(network.motion, torch.tensor([-1.5, -2.0]), atol=1e-5)


def test_the_average_forgets_its_start_and_then_moves_slowly():
    network = Translation(10, 10)
    average = Average(network, decay=0.9)
    with torch.no_grad():
        network.motion.fill_(1)
    network.calls += 5
    for number in range(60):
        average.update(network, number)
    assert torch.allclose(average.network.motion, torch.ones(2), atol=1e-2)
    assert average.network.calls == 5
    with torch.no_grad():
        network.motion.fill_(2)
    average.update(network, 1000)
    assert torch.allclose(average.network.motion, torch.full((2,), 1.1), atol=1e-2)
    assert not average.network.training
    assert not average.network.motion.requires_grad


def test_a_run_leaves_with_the_average(tmp_path):
    network = train(tmp_path, steps=6)
    state = open_run(settings(tmp_path, steps=6), resume=True).restore("last_stage")
    assert torch.equal(network.motion, state["average"]["motion"])
    assert not torch.equal(network.motion, state["learner"]["motion"])


def test_batches_come_to_the_device_with_images_in_0_to_1():
    batch = {
        "image1": torch.tensor([0, 51, 255], dtype=torch.uint8),
        "flow12": torch.tensor([7.0]),
        "valid1": torch.tensor([True]),
    }
    moved = to_device(batch, torch.device("cpu"))
    assert moved["image1"].tolist() == pytest.approx([0, 0.2, 1])
    assert moved["flow12"].tolist() == [7]
    assert moved["valid1"].dtype == torch.bool


@pytest.mark.parametrize(("asked", "mixed"), [("auto", False), ("float32", False), ("bfloat16", True)])
def test_precision_is_mixed_on_a_processor_only_when_asked(tmp_path, monkeypatch, asked, mixed):
    monkeypatch.setattr(processor, "has_bfloat16", lambda device: True)
    with precision(settings(tmp_path, precision=asked), torch.device("cpu")):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == (torch.bfloat16 if mixed else torch.float32)


def test_a_precision_that_the_processor_has_not_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(processor, "has_bfloat16", lambda device: False)
    with pytest.raises(InputError, match="does not compute in bfloat16"):
        precision(settings(tmp_path, precision="bfloat16"), torch.device("cpu"))


def test_devices_are_named():
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_device("auto").type in ("cpu", "cuda")


@pytest.mark.parametrize(("has_gpu", "usable"), [(True, "cpu, cuda or auto"), (False, "cpu or auto")])
def test_instead_of_a_device_that_is_not_there_those_are_named_that_are(monkeypatch, has_gpu, usable):
    monkeypatch.setattr("torch.cuda.is_available", lambda: has_gpu)
    with pytest.raises(InputError, match=f"'quantum' cannot be used here; try {usable}\\."):
        pick_device("quantum")


def test_a_step_that_is_not_finite_leaves_no_trace_in_running_statistics(tmp_path):
    network = Translation(1, 1)
    network.normalisation = torch.nn.BatchNorm2d(1)

    def step(batch, progress):
        image = torch.full((1, 1, 4, 4), math.inf if batch["number"] == 2 else 1.0)
        return {"loss": network.normalisation(image + torch.randn(4)).square().sum() + network.motion.sum()}

    train(tmp_path, network=network, step=step, steps=5)
    assert network.normalisation.running_mean.isfinite().all()
    assert network.normalisation.running_var.isfinite().all()

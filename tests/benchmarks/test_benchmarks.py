"""The benchmarks of speed compare like with like: every way of a table computes the same."""

import sys

import pytest
import torch

from benchmarks import gpu, time_to_epe
from mdflow.correlation import backend
from mdflow.data.synthetic import Synthetic
from mdflow.errors import InputError
from mdflow.networks import create
from mdflow.networks.fastflownet import DISPLACEMENTS
from mdflow.system import processor


def moving_network():
    """A FastFlowNet whose flows are some pixels long."""
    torch.manual_seed(0)
    network = create("fastflownet")
    for level in range(2, 7):
        getattr(network, f"decoder{level}").conv7.weight.data.mul_(20)
    return network


def test_the_gpu_benchmark_asks_for_a_gpu(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["gpu.py"])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="No GPU can be used here"):
        gpu.main()


def test_the_cost_volumes_of_the_gpu_benchmark_are_one():
    torch.manual_seed(0)
    pair = [torch.randn(1, 4, 6, 9, requires_grad=True) for _ in range(2)]
    ways = gpu.correlation_ways(pair, DISPLACEMENTS)
    forward = [way() for way in ways["forward"].values()]
    assert all(torch.allclose(cost, forward[0], atol=1e-6) for cost in forward)
    for first, second in (way() for way in ways["forward and backward"].values()):
        gradients = ways["forward and backward"]["mdflow"]()
        assert torch.allclose(first, gradients[0], atol=1e-6) and torch.allclose(second, gradients[1], atol=1e-6)


def test_what_a_cost_volume_must_move():
    pair = [torch.zeros(2, 3, 4, 5, dtype=torch.bfloat16) for _ in range(2)]
    moved = gpu.bytes_moved
    assert moved(pair, 7, "forward") == 2 * (2 * 120) + 4 * 2 * 7 * 20
    assert moved(pair, 7, "forward and backward") == 2 * moved(pair, 7, "forward") + 480


def test_the_steps_of_the_gpu_benchmark_run(monkeypatch):
    monkeypatch.setattr(processor, "has_bfloat16", lambda device: True)  # imitated where it must be
    device = torch.device("cpu")
    batch = gpu.random_batch(1, (64, 64), device)
    for ways in (gpu.training_steps(batch, device), gpu.distillation_steps(batch, device)):
        for step in ways.values():
            step()
    ways = gpu.inference_ways(create("fastflownet"), gpu.random_images(1, (64, 64), device))
    assert {tuple(way().shape) for way in ways.values()} == {(1, 2, 64, 64)}


def test_the_plain_training_has_the_loss_of_this_projects():
    size = (64, 128)
    given = time_to_epe.parse(["--test", "", "--target", "1", "--size", "64x128"])
    network, sample = moving_network(), Synthetic(length=1, size=size, texture_count=2)[0]
    images = [torch.from_numpy(image).permute(2, 0, 1)[None] / 255 for image in (sample.image1, sample.image2)]
    batch = {"image1": images[0], "image2": images[1], "coloured1": images[0], "coloured2": images[1]}
    found = time_to_epe.own_terms(network, time_to_epe.settings(given), batch)
    found.backward()
    own = [parameter.grad.clone() for parameter in network.parameters()]
    network.zero_grad()
    with backend("plain"):
        expected = time_to_epe.plain_terms(network, batch)
    expected.backward()
    assert abs(found - expected) < 1e-5 * expected
    largest = max(float(gradient.abs().max()) for gradient in own)
    for gradient, parameter in zip(own, network.parameters(), strict=True):
        assert (gradient - parameter.grad).abs().max() < 1e-3 * largest


def test_time_to_epe_ends_at_the_target_or_says_that_it_was_not_reached(capsys):
    small = ["--size", "64x64", "--batch-size", "1", "--pairs", "1"]
    tiny = [*small, "--every", "1", "--steps", "1", "--test", "synthetic"]
    time_to_epe.main([*tiny, "--target", "1000", "--ways", "plain", "mdflow, float32"])
    assert "mdflow, float32: step 0" in capsys.readouterr().out
    with pytest.raises(InputError, match=r"'mdflow, float32' did not reach 0\.001 px in 1 steps"):
        time_to_epe.main([*tiny, "--target", "0.001", "--ways", "mdflow, float32"])

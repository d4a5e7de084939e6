"""Fine iterations: the same weights go on from the flow on frames of twice the size."""

import numpy as np
import pytest
import torch

from mdflow.data.synthetic import Synthetic
from mdflow.errors import InputError
from mdflow.inference import Predictor
from mdflow.networks import create
from teachers import load

NAMES = ("fastflownet", "raft_small")


def test_each_of_rafts_moves_the_flow_by_half_as_much():
    """Updates of (2,-1) at an eighth of the frame are 16 and 8 px, at a quarter 8 and 4, at a half 4 and 2."""
    network = create("raft_small", iterations=2, fine_iterations=3, finest_iterations=2).eval()
    with torch.no_grad():
        network.update.flow[2].weight.zero_()
        network.update.flow[2].bias.copy_(torch.tensor([2.0, -1.0]))
        flows = network(*torch.rand(2, 1, 3, 64, 96))
    assert [flow.shape for flow in flows] == [(1, 2, 64, 96)] * 7
    for flow, x in zip(flows, (16, 32, 40, 48, 56, 60, 64), strict=True):
        torch.testing.assert_close(flow, torch.tensor([x, -x / 2]).view(1, 2, 1, 1).expand_as(flow))


def test_fastflownets_begin_with_the_flow_so_far():
    network = create("fastflownet", fine_iterations=2, finest_iterations=1).eval()
    with torch.no_grad():
        network.decoder6.conv7.bias.copy_(torch.tensor([0.5, -0.25]))  # in units of 20 px
        for level in range(2, 7):
            getattr(network, f"decoder{level}").conv7.weight.zero_()
        flows = network(*torch.rand(2, 1, 3, 256, 384))
    assert [flow.shape[-1] for flow in flows] == [6, 12, 24, 48, 96, 192, 192, 384, 384]
    middle = flows[-1][..., 96:160, 160:224].mean((0, 2, 3))
    torch.testing.assert_close(middle, torch.tensor([10.0, -5.0]), rtol=1e-4, atol=0)


@pytest.mark.parametrize("name", NAMES)
def test_they_make_the_shipped_networks_more_exact(name):
    scenes = Synthetic(length=2, size=(128, 192), motion=(1.0, 4.0), seed=11, texture_count=8)
    errors = []
    for fine in (0, 1):
        predict = Predictor(load(name, fine_iterations=fine))
        flows = [predict(scene.image1, scene.image2) - scene.flow12 for scene in (scenes[0], scenes[1])]
        errors.append(np.linalg.norm(flows, axis=-1).mean())
    assert errors[1] < 0.95 * errors[0]


def test_training_goes_without_unless_asked_for():
    images = torch.rand(2, 1, 3, 64, 64)
    counts = {}
    for name, options in {"fastflownet": {}, "raft_small": {"iterations": 2}}.items():
        network = create(name, fine_iterations=3, **options)
        counts[name] = [len(network.train(mode)(*images)) for mode in (True, False)]
    assert counts == {"fastflownet": [6, 9], "raft_small": [2, 5]}
    assert len(create("raft_small", iterations=2, fine_iterations=3, fine_training=True).train()(*images)) == 5


@pytest.mark.parametrize("name", NAMES)
def test_fewer_than_none_are_refused(name):
    with pytest.raises(InputError, match="none or more fine"):
        create(name, fine_iterations=-1)


@pytest.mark.parametrize("name", NAMES)
def test_frames_that_would_be_too_large_are_not_enlarged(name, monkeypatch):
    network = create(name, fine_iterations=1, finest_iterations=1).eval()
    images = torch.rand(2, 1, 3, 128, 192)
    with torch.no_grad():
        counts = []
        for largest in (16 * 128 * 192, 16 * 128 * 192 - 1, 4 * 128 * 192 - 1):
            monkeypatch.setattr("mdflow.networks.layers.LARGEST", largest)
            flows = network(*images)
            assert flows[-1].shape == (1, 2, 128, 192)
            counts.append(len(flows))
    assert counts == [counts[0], counts[0] - 1, counts[0] - 2]

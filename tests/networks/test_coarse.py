"""Coarse iterations and passes: the same weights first look at frames of half the size."""

import pytest
import torch

from mdflow.errors import InputError
from mdflow.geometry import warp
from mdflow.networks import create
from mdflow.networks.layers import halved

OPTION = {"fastflownet": "coarse_passes", "raft_small": "coarse_iterations"}


def constant(x, y, like):
    return torch.tensor([x, y]).view(1, 2, 1, 1).expand_as(like)


def test_each_of_rafts_moves_the_flow_by_twice_as_much():
    """Updates of (2,-1) at a sixteenth of the frame are 32 and 16 px, at an eighth 16 and 8."""
    network = create("raft_small", iterations=2, coarse_iterations=2, fine_iterations=1).eval()
    with torch.no_grad():
        network.update.flow[2].weight.zero_()
        network.update.flow[2].bias.copy_(torch.tensor([2.0, -1.0]))
        flows = network(*torch.rand(2, 1, 3, 64, 96))
    for flow, x in zip(flows, (32, 64, 80, 96, 104), strict=True):
        torch.testing.assert_close(flow, constant(x, -x / 2, like=flow).expand(1, 2, 64, 96))


def fastflownet_of_constant_flow(**options):
    """A network whose coarsest decoder adds (10, -5) px of the frame that it looks at, the others nothing."""
    network = create("fastflownet", **options).eval()
    with torch.no_grad():
        network.decoder6.conv7.bias.copy_(torch.tensor([0.5, -0.25]))  # in units of 20 px
        for level in range(2, 7):
            getattr(network, f"decoder{level}").conv7.weight.zero_()
    for level in range(3, 7):
        setattr(network, f"up{level}", torch.nn.Upsample(scale_factor=2))  # its own are lower at the border
    return network


@pytest.mark.parametrize(("passes", "x"), [(1, 10 + 20), (2, 10 + 20 + 40)])
def test_fastflownet_goes_on_from_the_flow_of_the_smaller_frames(passes, x):
    network = fastflownet_of_constant_flow(coarse_passes=passes)
    with torch.no_grad():
        flows = network(*torch.rand(2, 1, 3, 512, 768))
    assert [flow.shape[-1] for flow in flows[-6:]] == [12, 24, 48, 96, 192, 768]
    torch.testing.assert_close(flows[-6], constant(x / 64, -x / 128, like=flows[-6]))


def test_sides_that_cannot_be_halved_keep_their_motion():
    """192×320 become 128×192, so 10 px to the right there are 10·320/192 px, 5 up 5·192/128."""
    network = fastflownet_of_constant_flow(coarse_passes=1)
    with torch.no_grad():
        flows = network(*torch.rand(2, 1, 3, 192, 320))
    x, y = 10 + 10 * 320 / 192, -5 - 5 * 192 / 128
    torch.testing.assert_close(flows[-6] * 64, constant(x, y, like=flows[-6]))


def test_halved_images_lie_on_the_same_place():
    """A motion between frames is half as large between the halved ones."""
    torch.manual_seed(0)
    image2 = torch.nn.functional.interpolate(torch.rand(1, 3, 16, 24), (128, 192), mode="bicubic")
    flow = constant(6.0, -4.0, like=torch.empty(1, 2, 128, 192))
    image1, small2 = warp(image2, flow, padding="border"), halved(image2, 8)
    inner = (..., slice(8, -8), slice(8, -8))
    found = warp(small2, flow[..., ::2, ::2] / 2, padding="border")[inner]
    assert small2.shape == (1, 3, 64, 96)
    assert (found - halved(image1, 8)[inner]).abs().max() < 0.01


@pytest.mark.parametrize("name", OPTION)
def test_both_directions_are_those_of_either_order(name):
    torch.manual_seed(0)
    network = create(name, **{OPTION[name]: 1}).eval()
    image1, image2 = torch.rand(2, 1, 3, 128, 192)
    with torch.no_grad():
        flows12, flows21 = network.both_directions(image1, image2)
        torch.testing.assert_close(flows12[-1], network(image1, image2)[-1], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(flows21[-1], network(image2, image1)[-1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", OPTION)
def test_training_has_them_too(name):
    network = create(name, **{OPTION[name]: 1}).train()
    plain = create(name).train()
    images = torch.rand(2, 1, 3, 128, 192)
    more = {"fastflownet": 5, "raft_small": 1}[name]
    assert len(network(*images)) == len(plain(*images)) + more


@pytest.mark.parametrize("name", OPTION)
def test_fewer_than_none_are_refused(name):
    with pytest.raises(InputError, match=r"none or more .* coarse"):
        create(name, **{OPTION[name]: -1})

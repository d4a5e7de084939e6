"""Every network of the dict keeps the contract of mdflow.networks.network."""

import inspect

import pytest
import torch

from mdflow.errors import InputError
from mdflow.networks import NETWORKS, create

SIZE = (64, 128)


@pytest.fixture(
    params=[*(name for name in NETWORKS if not name.startswith("deqflow_")), "fastflownet fine", "raft_small fine"]
)  # the other sizes of DEQ-Flow are the same, only wider
def network(request):
    torch.manual_seed(0)
    name, *fine = request.param.split()
    iterates = "iterations" in inspect.signature(NETWORKS[name]).parameters
    options = {"iterations": 3} if iterates else {}
    return create(name, **options, **({"fine_iterations": 2} if fine else {})).eval()


def pair(batch=1, size=SIZE, seed=0):
    """Smooth random images and their right neighbours, so that there is motion to find."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(batch, 3, size[0] // 8, size[1] // 8 + 1, generator=generator)
    wide = torch.nn.functional.interpolate(coarse, (size[0], size[1] + 8), mode="bicubic").clamp(0, 1)
    return wide[..., 8:], wide[..., 5:-3]


def test_flows_are_lists_of_two_channel_maps_the_last_at_full_resolution(network):
    with torch.no_grad():
        flows = network(*pair(batch=2))
    assert isinstance(flows, list)
    heights = [flow.shape[2] for flow in flows]
    assert heights == sorted(heights)
    assert all(flow.shape[:2] == (2, 2) and flow.dtype == torch.float32 for flow in flows)
    assert all(flow.shape[3] == 2 * flow.shape[2] for flow in flows)
    assert flows[-1].shape == (2, 2, *SIZE)
    assert all(flow.isfinite().all() for flow in flows)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_can_be_made_without_options(name):
    assert create(name).options == {}


def test_training_gives_the_same_type_and_every_parameter_a_gradient(network):
    parameters = dict(network.named_parameters())
    if not parameters:
        pytest.skip("the network has no parameters")
    network.train()
    flows = network(*pair(batch=2))
    assert flows[-1].shape == (2, 2, *SIZE)
    sum((flow**2).mean() for flow in flows).backward()
    idle = [name for name, value in parameters.items() if value.grad is None or not value.grad.isfinite().all()]
    assert not idle


def test_items_of_a_batch_do_not_touch_each_other(network):
    first, second = pair(seed=1), pair(seed=2)
    both = [torch.cat(images) for images in zip(first, second, strict=True)]
    with torch.no_grad():
        together, alone = network(*both), network(*second)
    for flow, expected in zip(together, alone, strict=True):
        assert_close(flow[1:], expected)


def test_both_directions_equal_two_separate_calls(network):
    image1, image2 = pair(batch=2)
    with torch.no_grad():
        flows12, flows21 = network.both_directions(image1, image2)
        expected12, expected21 = network(image1, image2), network(image2, image1)
    for flow, expected in zip(flows12 + flows21, expected12 + expected21, strict=True):
        assert_close(flow, expected)


def test_the_last_flow_can_be_had_alone(network):
    images = pair()
    with torch.no_grad():
        expected, alone = network(*images)[-1], network(*images, last_only=True)
        directions = network.both_directions(*images, last_only=True)
    assert [len(flows) for flows in (alone, *directions)] == [1, 1, 1]
    assert_close(alone[0], expected)
    assert_close(directions[0][0], expected)


def test_flows_are_float32_under_autocast(network):
    image1, image2 = pair()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        flows = network(image1, image2)
    assert all(flow.dtype == torch.float32 for flow in flows)


def test_sizes_off_the_stride_are_refused(network):
    if network.stride == 1:
        pytest.skip("the network takes every size")
    image1, image2 = pair(size=(64, 136 if network.stride != 8 else 132))
    with pytest.raises(InputError, match=f"multiples of {network.stride}"):
        network(image1, image2)


def test_images_of_two_shapes_are_refused(network):
    image1, image2 = pair()
    with pytest.raises(InputError, match="two images of one shape"):
        network(image1, image2[..., :64])


def assert_close(flow, expected):
    """Equal up to what another batch size does to the order of float sums."""
    assert (flow - expected).abs().max() <= 1e-4 * expected.abs().max().clamp(min=1)


@pytest.mark.parametrize("name", ["fastflownet", "lightflow"])
def test_a_light_network_starts_near_zero_flow(name):
    torch.manual_seed(0)
    with torch.no_grad():
        flow = create(name).train()(*pair(batch=4))[-1]
    assert flow.abs().mean() < 2

"""From a coarse flow to full resolution."""

import pytest
import torch
import torch.nn.functional as F

from mdflow.checkpoint import load_network, save_network
from mdflow.networks import create
from mdflow.networks.upsampling import ConvexUpsampling

FACTOR = 4


@pytest.fixture
def flow() -> torch.Tensor:
    return torch.randn(2, 2, 5, 6, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def features() -> torch.Tensor:
    return torch.randn(2, 3, 5, 6, generator=torch.Generator().manual_seed(1))


def fixed_mix(place: int) -> ConvexUpsampling:
    """All weight on one of the nine neighbours."""
    upsampling = ConvexUpsampling(3, FACTOR, width=8)
    logits = torch.full((9, FACTOR**2), -400.0)
    logits[place] = 400.0
    with torch.no_grad():
        upsampling.weights[2].bias.copy_(logits.flatten())
    return upsampling


def test_it_starts_as_bilinear(flow, features):
    upsampling = ConvexUpsampling(3, FACTOR, width=8, border="replicate")
    expected = FACTOR * F.interpolate(flow, scale_factor=FACTOR, mode="bilinear", align_corners=False)
    assert (upsampling(flow, features) - expected).abs().max() < 0.01 * FACTOR * flow.abs().max()


@pytest.mark.parametrize(("place", "dy", "dx"), [(0, -1, -1), (1, -1, 0), (4, 0, 0), (5, 0, 1), (8, 1, 1)])
def test_each_weight_belongs_to_its_neighbour(flow, features, place, dy, dx):
    moved = torch.roll(flow, (-dy, -dx), dims=(2, 3))[..., 1:-1, 1:-1]
    expected = FACTOR * moved.repeat_interleave(FACTOR, 2).repeat_interleave(FACTOR, 3)
    inside = fixed_mix(place)(flow, features)[..., FACTOR:-FACTOR, FACTOR:-FACTOR]
    assert torch.allclose(inside, expected)


def test_what_lies_beyond_the_border(flow, features):
    above = fixed_mix(1)
    assert above(flow, features)[..., :FACTOR, :].abs().max() == 0
    above.border = "replicate"
    expected = FACTOR * flow[..., :1, :].repeat_interleave(FACTOR, 2).repeat_interleave(FACTOR, 3)
    assert torch.allclose(above(flow, features)[..., :FACTOR, :], expected)


@pytest.mark.parametrize("border", ["constant", "replicate"])
@pytest.mark.parametrize("half", [False, True])
def test_without_a_gradient_it_is_the_same(flow, features, border, half):
    """Where a kernel does it at one go, which keeps the weights in float32."""
    upsampling = ConvexUpsampling(3, FACTOR, width=8, border=border)
    torch.nn.init.normal_(upsampling.weights[2].weight, std=4, generator=torch.Generator().manual_seed(2))
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        expected = upsampling(flow, features).detach()
        with torch.no_grad():
            found = upsampling(flow, features)
    assert found.dtype == expected.dtype and found.is_contiguous()
    torch.testing.assert_close(found, expected, rtol=0, atol=0.03 * FACTOR if half else 1e-5)


def test_gradients(flow, features):
    upsampling = ConvexUpsampling(3, 2, width=4).double()
    torch.nn.init.normal_(upsampling.weights[2].weight, generator=torch.Generator().manual_seed(2))
    flow, features = flow[:1, :, :3, :3].double().requires_grad_(), features[:1, :, :3, :3].double().requires_grad_()
    assert torch.autograd.gradcheck(upsampling, (flow, features))


def test_small_raft_goes_on_from_weights_without_it(tmp_path):
    save_network(tmp_path / "bilinear.safetensors", create("raft_small", iterations=2).eval())
    network = load_network(tmp_path / "bilinear.safetensors", upsampling="convex", border="replicate").eval()
    before = load_network(tmp_path / "bilinear.safetensors").eval()
    images = torch.rand(2, 1, 3, 128, 128, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        flow, old = network(*images)[-1], before(*images)[-1]
    # Corners on corners and pixels as areas differ, by least in the middle.
    middle = (slice(None), slice(None), slice(56, 72), slice(56, 72))
    assert (flow[middle] - old[middle]).norm() < 0.1 * old[middle].norm()
    assert network.options["upsampling"] == "convex"

import pytest
import torch

from mdflow.errors import InputError
from mdflow.geometry import coordinate_grid
from mdflow.networks import create, raft_correlation
from mdflow.networks.raft_aggregation import MotionAggregation
from mdflow.networks.raft_correlation import WHOLE, AllPairs, OnDemand, open_correlation


def lookup_and_gradients(correlation, align_corners):
    """Costs and their gradients: matches near one another, then matches anywhere, some far outside."""
    generator = torch.Generator().manual_seed(0)
    maps = [torch.randn(2, 32, 22, 30, generator=generator).requires_grad_() for _ in range(2)]
    points = coordinate_grid(22, 30, torch.device("cpu")) + 3 * torch.rand(2, 2, 22, 30, generator=generator) - 1
    points[..., 18:] = 34 * torch.rand(2, 2, 22, 12, generator=generator) - 2
    points[..., 5, 7:9] = 1000
    points[..., 12:16, 12:16] = -1000
    costs = correlation(*maps, 2, align_corners)(points)
    gradients = torch.autograd.grad((costs**2).sum(), maps)
    return costs, *gradients


@pytest.fixture(params=["with the kernel", "without"])
def kernel(request, monkeypatch):
    if request.param == "without":
        monkeypatch.setattr(raft_correlation, "has_windows", lambda features, radius: False)


@pytest.mark.parametrize("align_corners", [True, False])
def test_on_demand_equals_all_pairs_with_gradients(align_corners, kernel):
    assert WHOLE < 22 * 30
    pairs = lookup_and_gradients(AllPairs, align_corners)
    demand = lookup_and_gradients(OnDemand, align_corners)
    for a, b in zip(pairs, demand, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_a_flow_that_is_not_finite_is_looked_up_as_such(kernel):
    """Training skips the step that comes of it; it must not end there."""
    points = coordinate_grid(22, 30, torch.device("cpu")).clone()
    points[..., 5, 7] = torch.nan
    points[..., 15, 20] = torch.inf
    costs = OnDemand(*torch.randn(2, 1, 32, 22, 30), 2, True)(points)
    assert costs.shape[-2:] == (22, 30)
    assert costs[..., :4, :4].isfinite().all()


@pytest.mark.parametrize("name", ["raft", "deqflow"])
def test_the_fastest_costs_are_those_of_all_pairs(name):
    """With a kernel they are windows, at every size that the coarsest level allows; without one all pairs."""
    options = {"iterations": 2, "size": "tiny" if name == "deqflow" else "small"}
    torch.manual_seed(0)
    network = create(name, **options).eval()
    for size in ((64, 96), (128, 160)):
        images = torch.rand(2, 1, 3, *size)
        with torch.no_grad():
            network.correlation = "fastest"
            found = network(*images)[-1]
            network.correlation = "all_pairs"
            torch.testing.assert_close(found, network(*images)[-1], rtol=1e-4, atol=1e-3)


def test_where_the_flow_has_a_gradient_so_have_the_costs():
    maps = torch.randn(2, 1, 32, 22, 30)
    points = (coordinate_grid(22, 30, torch.device("cpu")) + 0.3).requires_grad_()
    pairs, demand = (
        torch.autograd.grad(kind(*maps, 2, True)(points).sum(), points)[0] for kind in (AllPairs, OnDemand)
    )
    torch.testing.assert_close(pairs, demand, rtol=1e-3, atol=1e-3)


def test_where_the_flow_has_a_gradient_the_fastest_costs_are_all_pairs():
    assert create("deqflow", size="tiny", flow_gradient=True).correlation == "all_pairs"
    assert create("deqflow", size="tiny").correlation == "fastest"


def test_many_pairs_are_never_computed(monkeypatch):
    monkeypatch.setattr(raft_correlation, "has_windows", lambda features, radius: False)
    few, many = torch.empty(1, 32, 32, 64), torch.empty(1, 32, 64, 64)
    assert isinstance(open_correlation("fastest", few, few, 3, True, lookups=2), AllPairs)
    assert isinstance(open_correlation("fastest", many, many, 3, True, lookups=2), OnDemand)


def test_the_lookup_finds_the_inner_product_at_an_integer_match():
    generator = torch.Generator().manual_seed(0)
    features1, features2 = torch.randn(2, 1, 16, 8, 8, generator=generator)
    points = torch.tensor([3.0, 5.0]).view(1, 2, 1, 1).expand(1, 2, 8, 8)
    costs = AllPairs(features1, features2, radius=1)(points)
    centre, right, below = 4, 7, 5  # of the 3×3 window, x along its rows
    for index, (x, y) in {centre: (3, 5), right: (4, 5), below: (3, 6)}.items():
        expected = (features1[0, :, 2, 6] * features2[0, :, y, x]).sum() / 4
        torch.testing.assert_close(costs[0, index, 2, 6], expected)


def test_no_gradient_flows_from_an_iteration_to_the_flow_before():
    network = create("raft_small", iterations=2)
    images = torch.rand(2, 1, 3, 64, 64)
    flows = network(*images)
    (gradient,) = torch.autograd.grad(flows[1].sum(), network.update.flow[2].bias)
    # The head's bias adds 8 to each of the 2·64·64 fine values once, and reaches the second flow by one way.
    torch.testing.assert_close(gradient, torch.full((2,), 8.0 * 64 * 64))


def test_images_too_small_for_the_cost_pyramid_still_work():
    with torch.no_grad():
        flow = create("raft_small", iterations=2).eval()(*torch.rand(2, 1, 3, 16, 24))[-1]
    assert flow.shape == (1, 2, 16, 24)
    assert flow.isfinite().all()


@pytest.mark.parametrize("normalize", [True, False])
def test_with_cosines_for_costs_the_scale_of_the_features_makes_no_difference(normalize):
    torch.manual_seed(0)
    network, images = create("raft_small", iterations=2, normalize=normalize).eval(), torch.rand(2, 1, 3, 64, 64)
    flows = []
    with torch.no_grad():
        for scale in (1, 3):
            for parameter in network.features.conv2.parameters():
                parameter.mul_(scale)
            flows.append(network(*images)[-1])
    assert torch.allclose(*flows, rtol=1e-3, atol=1e-3) == normalize


def test_the_context_may_be_normalised_by_instance():
    network = create("raft", context_norm="instance", iterations=1)
    assert not any("running_mean" in key for key in network.state_dict())


def test_the_uncertainty_head_gives_the_flow_no_gradient():
    torch.manual_seed(0)
    network = create("raft_small", iterations=2, uncertainty=True)
    flows, variances = network.estimate_with_uncertainty(*network.encode(*torch.rand(2, 1, 3, 64, 64)))
    assert [variance.shape for variance in variances] == [(1, 1, 64, 64)] * 2
    assert all((variance == 0).all() for variance in variances)
    torch.nn.init.normal_(network.uncertainty.layers[2].weight)
    _, variances = network.estimate_with_uncertainty(*network.encode(*torch.rand(2, 1, 3, 64, 64)))
    sum(variance.sum() for variance in variances).backward()
    touched = {name.split(".")[0] for name, value in network.named_parameters() if value.grad is not None}
    assert touched == {"uncertainty"}
    assert len(flows) == 2


def test_uncertainty_needs_its_head():
    network = create("raft_small")
    with pytest.raises(InputError, match="uncertainty=True"):
        network.estimate_with_uncertainty(*network.encode(*torch.rand(2, 1, 3, 64, 64)))


def test_aggregation_shares_motion_between_pixels_that_look_alike():
    """Two kinds of pixels with orthogonal keys: each receives the mean motion of its own kind."""
    torch.manual_seed(0)
    aggregation = MotionAggregation(context=2, motion=3)
    kind = (torch.arange(24) % 2).view(1, 1, 4, 6).float()
    with torch.no_grad():
        aggregation.gain.fill_(1)
        aggregation.query_key.weight.copy_(30 * torch.eye(2).repeat(2, 1)[:, :, None, None])
        aggregation.value.weight.copy_(torch.eye(3)[:, :, None, None])
        attention = aggregation.attention(torch.cat([kind, 1 - kind], dim=1))
        motion = torch.rand(1, 3, 4, 6)
        added = aggregation(motion, attention) - motion
    for mask in (kind[0, 0] == 0, kind[0, 0] == 1):
        expected = motion[0][:, mask].mean(dim=1, keepdim=True).expand(-1, 12)
        torch.testing.assert_close(added[0][:, mask], expected)

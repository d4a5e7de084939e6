import pytest
import torch

from mdflow.correlation import local_correlation
from mdflow.deployment.profile import block_costs, count_multiply_adds, measure_cost, shares_of_modules
from mdflow.errors import InputError
from mdflow.networks import create


def test_a_convolution_counts_once_for_each_weight_and_place():
    layer, image = torch.nn.Conv2d(3, 5, 3, stride=2, padding=1), torch.zeros(2, 3, 8, 10)
    assert count_multiply_adds(lambda: layer(image)) == 2 * 5 * 3 * 9 * 4 * 5


@pytest.mark.parametrize("displacements", [None, [(0, 0), (1, -2)]])
def test_a_correlation_counts_every_channel_of_every_displacement(displacements):
    features = torch.zeros(2, 4, 6, 7)
    expected = (len(displacements) if displacements else 25) * 2 * 4 * 6 * 7
    assert count_multiply_adds(lambda: local_correlation(features, features, 2, displacements)) == expected


def test_the_cost_is_that_of_the_network_itself():
    cost = measure_cost("lightflow", {}, (64, 128))
    network = create("lightflow")
    assert cost.parameters == sum(parameter.numel() for parameter in network.parameters())
    assert cost.multiply_adds == count_multiply_adds(lambda: network(*torch.zeros(2, 1, 3, 64, 128)))
    assert cost.stride == network.stride


def test_published_sizes_come_out():
    """FastFlowNet: 1.37 M parameters, 12.2 G multiply-adds at 448×1024 (Kong et al., ICRA 2021)."""
    cost = measure_cost("fastflownet", {}, (448, 1024))
    assert cost.parameters == pytest.approx(1.37e6, rel=0.01)
    assert cost.multiply_adds == pytest.approx(12.2e9, rel=0.05)


def test_the_shares_of_all_convolutions_add_up_to_almost_everything():
    network = create("lightflow", width=0.1)
    names = [name for name, module in network.named_modules() if isinstance(module, torch.nn.Conv2d)]
    shares = shares_of_modules(network, names)
    assert sum(shares.values()) == pytest.approx(100, abs=2)  # LightFlow's fusion of flows is counted too
    assert shares["down.0.0"] == pytest.approx(3 * shares["down.0.3"])  # 6 × 9 against 6 × 3 weights at each place


def test_each_iteration_costs_the_same():
    costs = [measure_cost("raft_small", {"iterations": count}, (64, 64)).multiply_adds for count in (1, 2, 3)]
    assert costs[2] - costs[1] == costs[1] - costs[0] > 0


def test_a_network_without_parameters_costs_nothing_that_is_counted():
    assert measure_cost("dis", {}, (64, 64)) == (0, 0, 1)


def test_a_size_off_the_stride_is_refused():
    with pytest.raises(InputError, match="multiples of 64"):
        measure_cost("fastflownet", {}, (60, 64))


@pytest.mark.parametrize(("name", "options"), [("raft_small", {"iterations": 2}), ("deqflow", {"iterations": 2})])
def test_what_depends_on_images_is_counted_at_its_most(name, options):
    cost = measure_cost(name, options, (256, 2048))  # so large that RAFT's costs would be on demand
    blocks, _ = block_costs(name, options, (256, 2048))
    assert sum(blocks.values()) == cost.multiply_adds > 0


def test_shares_are_those_of_the_last_flow_alone():
    names = ["upsampling.weights.0", "upsampling.weights.2"]
    few, many = (
        sum(shares_of_modules(create("raft_small", upsampling="convex", iterations=count), names).values())
        for count in (1, 8)
    )
    assert many < 0.5 * few

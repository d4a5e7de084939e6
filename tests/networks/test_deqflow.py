import copy

import pytest
import torch

from mdflow.networks import create
from mdflow.networks.fixed_point import spectral_radius

TINY = {"size": "tiny", "iterations": 6}


def images(seed=0):
    return torch.rand(2, 1, 3, 64, 64, generator=torch.Generator().manual_seed(seed))


def patient(**options):
    """The tiny network that takes all of its steps, always with the same weights."""
    torch.manual_seed(0)
    return create("deqflow", size="tiny", tolerance=0.0, weight_norm=False, **options)


@pytest.mark.parametrize("gradient", ["phantom", "implicit"])
def test_corrections_are_flows_on_the_solvers_way(gradient):
    network = create("deqflow", corrections=3, gradient=gradient, **TINY)
    flows = network(*images())
    assert [flow.shape for flow in flows] == [(1, 2, 64, 64)] * 3
    sum(flow.abs().mean() for flow in flows).backward()
    assert all(value.grad.isfinite().all() for value in network.parameters())
    assert network.points == [2, 4, 6]


def test_corrections_come_in_the_order_of_the_steps():
    with torch.no_grad():
        flows = patient(iterations=6, corrections=3)(*images())
        for flow, iterations in zip(flows, (2, 4, 6), strict=True):
            torch.testing.assert_close(flow, patient(iterations=iterations)(*images())[-1])


@pytest.mark.parametrize("through", [False, True])
def test_the_gradient_passes_through_the_flow_before_if_asked_for(through):
    slopes = []
    for steps in (1, 2):
        network = patient(iterations=2, gradient_steps=steps, flow_gradient=through)
        slopes += torch.autograd.grad(network(*images())[-1].sum(), network.update.flow[2].bias)
    assert torch.allclose(*slopes, rtol=1e-4) != through


def test_memory_for_training_does_not_grow_with_the_steps():
    def saved_bytes(iterations):
        total = 0

        def count(tensor):
            nonlocal total
            total += tensor.numel() * tensor.element_size()
            return tensor

        torch.manual_seed(0)
        network = create("deqflow", size="tiny", iterations=iterations, tolerance=0.0)
        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            network(*images())
        return total

    assert saved_bytes(24) == saved_bytes(6)


def test_a_video_goes_on_from_the_previous_fixed_point():
    torch.manual_seed(0)
    network = create("deqflow", size="tiny", iterations=60, tolerance=0.05, weight_norm=False).eval()
    with torch.no_grad():
        # An untrained flow head never rests; without it the hidden state does.
        for parameter in network.update.flow.parameters():
            parameter.zero_()
        features = network.encode(*images())
        first = network.solve(*features)
        again = network.solve(*features, start=first.state)
    assert first.change.item() <= 0.05
    assert again.step.item() == 1 < first.step.item()


def test_weight_normalisation_changes_the_parameters_and_not_the_function():
    torch.manual_seed(0)
    normalised = create("deqflow", weight_norm=True, **TINY).eval()
    plain = create("deqflow", weight_norm=False, **TINY).eval()
    weights = {key: value for key, value in normalised.state_dict().items() if "parametrizations" not in key}
    for name, module in normalised.update.named_modules():
        if isinstance(module, torch.nn.Conv2d):
            weights[f"update.{name}.weight"] = module.weight.detach()
    plain.load_state_dict(weights)
    with torch.no_grad():
        torch.testing.assert_close(plain(*images())[-1], normalised(*images())[-1], rtol=1e-4, atol=1e-4)


def test_a_weight_normalised_network_can_be_copied():
    network = create("deqflow", **TINY).eval()
    with torch.no_grad():
        torch.testing.assert_close(copy.deepcopy(network)(*images()), network(*images()))


def test_the_spectral_radius_of_the_refinement_can_be_had():
    torch.manual_seed(0)
    network = create("deqflow", **TINY).eval()
    features = network.encode(*images())
    state = network.solve(*features).state
    radius = spectral_radius(network.dynamics(*features), state, iterations=10)
    assert radius.shape == (1,)
    assert 0 < radius.item() < 10

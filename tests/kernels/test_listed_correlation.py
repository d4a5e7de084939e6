import pytest
import torch

from mdflow.correlation import backend, local_correlation, plain_correlation, square_displacements, usual_backend
from mdflow.errors import InputError
from mdflow.kernels import native
from mdflow.kernels.listed_correlation import listed_correlation
from mdflow.networks.fastflownet import DISPLACEMENTS

needs_kernels = pytest.mark.skipif(native.panel() is None, reason="no kernels for this processor, or no compiler")
CASES = [
    (32, (11, 13), DISPLACEMENTS),
    (96, (3, 20), square_displacements(4)),
    (64, (1, 1), square_displacements(2)),
    (32, (9, 12), [(0, 3), (-2, 1)]),
]


def results(correlation, maps, displacements):
    """Costs, and the gradients of the maps for some gradient of the costs."""
    radius = max(abs(step) for displacement in displacements for step in displacement)
    costs = correlation(*maps, radius, displacements)
    gradient = torch.randn(costs.shape, generator=torch.Generator().manual_seed(1)).to(costs)
    return [costs, *torch.autograd.grad(costs, maps, gradient)]


@needs_kernels
@pytest.mark.parametrize(("channels", "size", "displacements"), CASES)
def test_costs_and_gradients_are_those_of_float64(channels, size, displacements):
    maps = torch.randn(2, 3, channels, *size, generator=torch.Generator().manual_seed(0)).requires_grad_().unbind()
    assert usual_backend(maps[0]) == "listed"
    found = results(local_correlation, maps, displacements)
    exact = results(plain_correlation, [each.detach().double().requires_grad_() for each in maps], displacements)
    for one, expected in zip(found, exact, strict=True):
        torch.testing.assert_close(one.double(), expected, rtol=1e-5, atol=2e-6)


@needs_kernels
@pytest.mark.parametrize("threads", [1, 3])
def test_threads_share_the_pixels(threads, on_threads):
    maps = torch.randn(2, 1, 32, 9, 14, generator=torch.Generator().manual_seed(0)).requires_grad_().unbind()
    alone = results(local_correlation, maps, DISPLACEMENTS)
    with on_threads(threads):
        shared = results(local_correlation, maps, DISPLACEMENTS)
    assert all(a.equal(b) for a, b in zip(alone, shared, strict=True))


@needs_kernels
def test_half_precision_is_correlated_in_float32():
    one, two = torch.randn(2, 1, 32, 5, 20).bfloat16().unbind()
    found = local_correlation(one, two, 2)
    assert found.dtype == torch.float32
    exact = plain_correlation(one.double(), two.double(), 2, square_displacements(2))
    torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-6)


@needs_kernels
def test_the_compiler_is_told_the_truth_about_the_operators():
    one, two, gradient = torch.randn(2, 32, 6, 7), torch.randn(2, 32, 6, 7), torch.randn(2, 6, 7, 3)
    listed = [0, 1, -1, 0, 2, 2]
    tests = ("test_schema", "test_autograd_registration", "test_faketensor")
    for operator, inputs in (
        (torch.ops.mdflow.correlate_listed.default, (one.requires_grad_(), two.requires_grad_(), listed)),
        (torch.ops.mdflow.correlate_listed_backward.default, (gradient, one.detach(), two.detach(), listed)),
    ):
        assert set(torch.library.opcheck(operator, inputs, test_utils=tests).values()) == {"SUCCESS"}


@needs_kernels
@pytest.mark.parametrize(("channels", "kind"), [(40, torch.float32), (32, torch.float64)])
def test_what_the_kernels_cannot_do_goes_another_way_unless_asked_for(channels, kind):
    maps = torch.randn(2, 1, channels, 6, 7, dtype=kind).unbind()
    assert usual_backend(maps[0]) == "tiled"
    with backend("listed"), pytest.raises(InputError, match=f"multiple of 32 channels, got {channels} in {kind}"):
        local_correlation(*maps, 1)


@needs_kernels
def test_the_other_width_of_registers_gives_the_same(other_registers):
    for case in CASES:
        test_costs_and_gradients_are_those_of_float64(*case)


def test_without_kernels_tiles_are_taken(monkeypatch):
    monkeypatch.setattr("mdflow.kernels.listed_correlation.panel", lambda: None)
    maps = torch.randn(2, 1, 32, 6, 7).unbind()
    assert usual_backend(maps[0]) == "tiled"
    with pytest.raises(InputError, match="needs kernels"):
        listed_correlation(*maps, [(0, 0)])

import pytest
import torch

from mdflow.kernels import native
from mdflow.kernels.census import CensusDistance
from mdflow.kernels.native import native_library, without_kernels

needs_kernels = pytest.mark.skipif(native_library() is None, reason="needs a compiler and AVX2")
# Smaller than the window, narrower than a register, and with a rest behind the last one.
SHAPES = [(1, 1, 1, 1), (1, 1, 2, 3), (2, 1, 3, 9), (3, 1, 17, 40), (1, 1, 30, 67)]


def grays(shape, kind=torch.float32):
    return [
        each.to(kind).requires_grad_()
        for each in 255 * torch.rand(2, *shape, generator=torch.Generator().manual_seed(shape[-1]))
    ]


def results(one, two, radius):
    """The distance and both gradients."""
    distance = CensusDistance.apply(one, two, radius)
    weight = torch.randn(distance.shape, generator=torch.Generator().manual_seed(1)).to(distance.dtype)
    return distance, *torch.autograd.grad(distance, (one, two), weight)


def assert_exact(found, pair, radius):
    """As float64 has it, to rounding."""
    expected = results(*(each.detach().double().requires_grad_() for each in pair), radius)
    for own, other in zip(found, expected, strict=True):
        assert own.dtype == torch.float32 and own.shape == other.shape
        assert (own - other).abs().max() < 2e-5


@needs_kernels
@pytest.mark.parametrize("radius", [1, 3])
@pytest.mark.parametrize("shape", SHAPES)
def test_kernel_is_float64_to_rounding(shape, radius, monkeypatch):
    called = []
    monkeypatch.setattr(
        "mdflow.kernels.census.call", lambda name, *rest: called.append(name) or native.call(name, *rest)
    )
    pair = grays(shape)
    assert_exact(results(*pair, radius), pair, radius)
    assert set(called) == {"census_distance", "census_gradients"}


@pytest.mark.usefixtures("other_registers")
def test_with_the_other_width_of_registers():
    for shape in SHAPES:
        pair = grays(shape)
        assert_exact(results(*pair, 3), pair, 3)


@needs_kernels
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_share_the_rows(threads, on_threads):
    """More of them than rows, too, and bands that begin within an image."""
    for shape in SHAPES:
        pair = grays(shape)
        with on_threads(threads):
            found = results(*pair, 3)
        assert_exact(found, pair, 3)


@needs_kernels
def test_views_and_equal_images():
    """Images that do not lie in one piece; no distance and no slope, but for a fused rounding."""
    one, two = (each.detach().mT.requires_grad_() for each in grays((2, 1, 12, 21)))
    assert_exact(results(one, two, 2), (one, two), 2)
    distance, *gradients = results(one, one.detach().clone().requires_grad_(), 2)
    assert max(each.abs().max() for each in (distance, *gradients)) < 1e-5


@pytest.mark.parametrize("kernels", [pytest.param(True, marks=needs_kernels), False])
def test_only_the_gradients_that_are_needed(kernels):
    def gradients(first, second):
        one, two = (each.detach() for each in grays((1, 1, 9, 20)))
        one.requires_grad_(first), two.requires_grad_(second)
        CensusDistance.apply(one, two, 3).sum().backward()
        return one.grad, two.grad

    def compare():
        both = gradients(True, True)
        for place, needed in enumerate([(True, False), (False, True)]):
            found = gradients(*needed)
            torch.testing.assert_close(found[place], both[place])
            assert found[1 - place] is None

    compare() if kernels else without_kernels()(compare)()

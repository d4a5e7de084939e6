"""The census of the GPU against its plain twin: on a GPU, or interpreted (tests/kernels/test_triton.py)."""

import os

import pytest
import torch

from mdflow.kernels.census import CensusDistance

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
pytestmark = pytest.mark.skipif(
    DEVICE == "cpu" and os.environ.get("TRITON_INTERPRET") != "1",
    reason="no GPU: tests/kernels/test_triton.py interprets these",
)


def grays(height, width, kind=torch.float64):
    generator = torch.Generator().manual_seed(height)
    pair = 255 * torch.rand(2, 2, 1, height, width, dtype=torch.float64, generator=generator)
    return [each.to(DEVICE, kind).requires_grad_() for each in pair]


def values_and_gradients(distance, one, two, radius):
    found = distance(one, two, radius)
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(found.shape, dtype=torch.float64, generator=generator).to(DEVICE, found.dtype)
    return found.detach(), *torch.autograd.grad(found, (one, two), weight)


@pytest.mark.parametrize(("height", "width", "radius"), [(1, 1, 1), (2, 3, 3), (9, 35, 1), (17, 5, 2)])
def test_values_and_gradients_are_those_of_the_plain_one(height, width, radius):
    from mdflow.kernels.triton_census import census_distance

    one, two = grays(height, width)
    found = values_and_gradients(census_distance, one, two, radius)
    expected = values_and_gradients(CensusDistance.apply, one, two, radius)
    for own, other in zip(found, expected, strict=True):
        assert own.shape == other.shape
        assert (own - other).abs().max() < 1e-12


def test_float32_is_exact_enough():
    from mdflow.kernels.triton_census import census_distance

    pair = grays(5, 9, torch.float32)
    found = values_and_gradients(census_distance, *pair, 2)
    expected = values_and_gradients(
        CensusDistance.apply, *(each.detach().double().requires_grad_() for each in pair), 2
    )
    assert found[0].dtype == torch.float32
    for own, other in zip(found, expected, strict=True):
        assert (own - other).abs().max() < 1e-5


def test_an_image_that_needs_no_gradient_gets_none():
    from mdflow.kernels.triton_census import census_distance

    one, two = grays(4, 6)
    census_distance(one.detach(), two, 1).sum().backward()
    CensusDistance.apply(one, two.detach(), 1).sum().backward()
    assert one.grad is not None
    own = two.grad.clone()
    two.grad = None
    CensusDistance.apply(one.detach(), two, 1).sum().backward()
    assert torch.allclose(own, two.grad, atol=1e-12)


def test_the_compiler_is_told_the_truth():
    from mdflow.kernels.triton_census import census_distance

    tests = "test_schema", "test_autograd_registration", "test_faketensor"
    found = torch.library.opcheck(census_distance, (*grays(4, 5), 1), test_utils=tests)
    assert set(found.values()) == {"SUCCESS"}

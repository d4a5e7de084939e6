"""The cost volume of the GPU against its plain twin: on a GPU, or interpreted (tests/kernels/test_triton.py)."""

import os

import pytest
import torch

from mdflow.correlation import backend, local_correlation, plain_correlation, square_displacements

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
pytestmark = pytest.mark.skipif(
    DEVICE == "cpu" and os.environ.get("TRITON_INTERPRET") != "1",
    reason="no GPU: tests/kernels/test_triton.py interprets these",
)
SOME = [(2, 0), (0, 0), (-1, 2), (0, 0), (1, -2)]  # of radius 2, in no order, one twice


def features(height, width, channels, kind=torch.float64, layout=torch.contiguous_format):
    generator = torch.Generator().manual_seed(height)
    shape = 2, 2, channels, height, width
    pair = torch.randn(shape, dtype=torch.float64, generator=generator).to(DEVICE, kind)
    return [each.contiguous(memory_format=layout).requires_grad_() for each in pair]


def values_and_gradients(name, one, two, radius, displacements):
    with backend(name):
        cost = local_correlation(one, two, radius, displacements)
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(cost.shape, dtype=torch.float64, generator=generator).to(DEVICE, cost.dtype)
    return cost.detach(), *torch.autograd.grad(cost, (one, two), weight)


@pytest.mark.parametrize(
    ("height", "width", "channels", "radius", "displacements"),
    [
        (1, 1, 1, 1, None),
        (5, 7, 3, 1, None),
        (3, 3, 300, 1, [(-1, 1)]),
        (11, 21, 5, 2, SOME),
        (3, 5, 8, 4, [(-4, 4), (4, 0)]),
    ],
)
def test_values_and_gradients_are_those_of_the_plain_one(height, width, channels, radius, displacements):
    one, two = features(height, width, channels)
    found = values_and_gradients("triton", one, two, radius, displacements)
    expected = values_and_gradients("plain", one, two, radius, displacements)
    for own, other in zip(found, expected, strict=True):
        assert own.dtype == other.dtype and own.shape == other.shape
        assert (own - other).abs().max() < 1e-13


def test_features_may_lie_in_memory_in_any_order():
    pair = features(6, 10, 12, layout=torch.channels_last)
    found = values_and_gradients("triton", *pair, 2, SOME)
    for own, other in zip(found, values_and_gradients("plain", *pair, 2, SOME), strict=True):
        assert (own - other).abs().max() < 1e-13
    assert found[1].is_contiguous(memory_format=torch.channels_last)
    window = [each.detach()[:, 2:5, 1:4, 3:9].requires_grad_() for each in pair]
    found = values_and_gradients("triton", *window, 2, SOME)
    for own, other in zip(found, values_and_gradients("plain", *window, 2, SOME), strict=True):
        assert (own - other).abs().max() < 1e-13


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16, torch.float16])
def test_sums_are_in_float32(kind):
    pair = features(5, 9, 24, kind)
    cost, *gradients = values_and_gradients("triton", *pair, 2, SOME)
    exact = [each.detach().double().requires_grad_() for each in pair]
    expected, *exact_gradients = values_and_gradients("plain", *exact, 2, SOME)
    assert cost.dtype == torch.float32
    assert (cost - expected).abs().max() < 1e-6
    for own, other in zip(gradients, exact_gradients, strict=True):
        assert own.dtype == kind
        assert (own - other).abs().max() < max(2 * torch.finfo(kind).eps * other.abs().max(), 1e-6)


def test_the_compiler_is_told_the_truth():
    from mdflow.kernels.triton_correlation import correlate

    one, two = features(4, 5, 3, torch.float32)
    tests = "test_schema", "test_autograd_registration", "test_faketensor"
    found = torch.library.opcheck(correlate, (one, two, [0, 1], [1, -1]), test_utils=tests)
    assert set(found.values()) == {"SUCCESS"}


def test_torch_compile_takes_it_whole():
    def total(one, two):
        with backend("triton"):
            return local_correlation(one, two, 1, square_displacements(1)[:2]).square().sum()

    one, two = (each.detach() for each in features(4, 5, 3, torch.float32))
    found = torch.compile(total, fullgraph=True, backend="aot_eager")(one, two)
    expected = plain_correlation(one, two, 1, square_displacements(1)[:2]).square().sum()
    assert torch.allclose(found, expected, atol=1e-5)

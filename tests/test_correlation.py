import pytest
import torch

from mdflow.correlation import backend as use
from mdflow.correlation import local_correlation, plain_correlation, square_displacements
from mdflow.errors import InputError
from mdflow.kernels.banded_correlation import banded_correlation
from mdflow.kernels.tiled_correlation import TILE, correlate_tiles, correlate_tiles_backward, tiled_correlation


def plain(features1, features2, radius):
    return plain_correlation(features1, features2, radius, square_displacements(radius))


def banded(features1, features2, radius):
    return banded_correlation(features1, features2, radius, square_displacements(radius))


BACKENDS = [plain, tiled_correlation, banded]
SIZES = [(1, 1), (5, 7), (3, TILE), (4, TILE - 1), (6, TILE + 1), (2, 2 * TILE + 3)]


def features(height, width, batch=2, channels=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(batch, channels, height, width, dtype=torch.float64, generator=generator) for _ in range(2)]


def by_loops(features1, features2, displacements):
    """The definition, pixel by pixel."""
    batch, _, height, width = features1.shape
    cost = torch.zeros(batch, len(displacements), height, width, dtype=features1.dtype)
    for number, (dy, dx) in enumerate(displacements):
        for y in range(max(0, -dy), min(height, height - dy)):
            for x in range(max(0, -dx), min(width, width - dx)):
                cost[:, number, y, x] = (features1[:, :, y, x] * features2[:, :, y + dy, x + dx]).mean(1)
    return cost


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("height", "width"), [(1, 1), (4, 5), (2, TILE + 1)])
def test_every_backend_is_the_definition(backend, height, width):
    one, two = features(height, width)
    displacements = square_displacements(2)
    found = backend(one, two, 2)
    assert found.dtype == torch.float64
    assert (found - by_loops(one, two, displacements)).abs().max() < 1e-12


@pytest.mark.parametrize("backend", BACKENDS[1:])
@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("radius", [1, 4, 9])
def test_every_backend_has_the_values_and_gradients_of_the_plain_one(backend, height, width, radius):
    results = []
    for function in (plain, backend):
        one, two = (each.requires_grad_() for each in features(height, width))
        cost = function(one, two, radius)
        generator = torch.Generator().manual_seed(1)
        cost.backward(torch.randn(cost.shape, dtype=cost.dtype, generator=generator))
        results.append((cost.detach(), one.grad, two.grad))
    for found, expected in zip(results[1], results[0], strict=True):
        assert (found - expected).abs().max() < 1e-12


def test_the_tiled_backward_is_the_derivative():
    one, two = (each.requires_grad_() for each in features(2, 3, batch=1, channels=2))
    assert torch.autograd.gradcheck(lambda a, b: tiled_correlation(a, b, 1), (one, two))


def test_the_compiler_is_told_the_truth_about_the_tiled_operator():
    one, two = torch.randn(2, 2, 3, 6, TILE + 3).unbind()
    gradient = torch.randn(2, 6, TILE + 3, 9)
    tests = ("test_schema", "test_autograd_registration", "test_faketensor")
    for operator, inputs in (
        (correlate_tiles, (one.requires_grad_(), two.requires_grad_(), 1)),
        (correlate_tiles_backward, (gradient, one.detach(), two.detach(), 1)),
    ):
        assert set(torch.library.opcheck(operator, inputs, test_utils=tests).values()) == {"SUCCESS"}


@pytest.mark.parametrize("correlation", [local_correlation, plain_correlation, banded_correlation])
def test_chosen_displacements_come_in_the_order_they_were_given(correlation):
    one, two = features(4, 6)
    chosen = [(2, 0), (0, 0), (-1, 2), (0, 0)]
    found = correlation(one, two, 2, chosen)
    everything = plain(one, two, 2)
    indices = [square_displacements(2).index(step) for step in chosen]
    assert torch.allclose(found, everything[:, indices], atol=1e-12)


def test_a_backend_can_be_chosen_and_is_given_back():
    one, two = features(4, 6)
    usual = local_correlation(one, two, 2)
    with use("plain"):
        with use("banded"):
            found = local_correlation(one, two, 2)
        assert torch.equal(local_correlation(one, two, 2), plain(one, two, 2))
    assert torch.equal(found, banded(one, two, 2))
    assert torch.equal(local_correlation(one, two, 2), usual)
    with pytest.raises(InputError, match="no correlation backend 'cuda'; expected one of plain, listed"), use("cuda"):
        pass


def test_displacements_run_along_rows_first():
    assert square_displacements(1)[:4] == [(-1, -1), (-1, 0), (-1, 1), (0, -1)]
    one = torch.zeros(1, 1, 3, 3)
    two = torch.zeros(1, 1, 3, 3)
    one[..., 1, 1] = two[..., 1, 2] = 1
    best = int(local_correlation(one, two, 1)[0, :, 1, 1].argmax())
    assert square_displacements(1)[best] == (0, 1)


@pytest.mark.parametrize("needs_gradient", [False, True])
def test_both_uses_give_the_same_values(needs_gradient):
    one, two = (each.float().requires_grad_(needs_gradient) for each in features(5, 20))
    found = local_correlation(one, two, 3)
    assert found.requires_grad == needs_gradient
    expected = plain(one.double(), two.double(), 3)
    assert (found.double() - expected).abs().max() < 1e-6


def test_half_precision_features_are_correlated_in_float32():
    one, two = (each.bfloat16().requires_grad_() for each in features(5, 20))
    found = tiled_correlation(one, two, 2)
    assert found.dtype == torch.float32
    assert (found - plain(one.float(), two.float(), 2)).abs().max() < 1e-6

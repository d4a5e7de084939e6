import pytest
import torch

from mdflow.kernels.cosines import cosines
from mdflow.kernels.native import panel

needs_kernels = pytest.mark.skipif(panel() is None, reason="no kernels for this processor, or no compiler")
FLAT = 0.1
SINGLE, HALF = torch.float32, torch.bfloat16
KINDS = [(SINGLE, SINGLE), (HALF, HALF), (HALF, SINGLE)]


def plain(features1, features2):
    """The definition, of float64."""
    mean = (features1.mean((2, 3), keepdim=True) + features2.mean((2, 3), keepdim=True)) / 2
    centred1, centred2 = features1 - mean, features2 - mean
    squares = [each.square().mean(1, keepdim=True) for each in (centred1, centred2)]
    least = FLAT * (squares[0].mean((2, 3), keepdim=True) + squares[1].mean((2, 3), keepdim=True)) / 2 + 1e-8
    return centred1 / (squares[0] + least).sqrt(), centred2 / (squares[1] + least).sqrt()


def some_maps(kinds, channels):
    """Two maps far from zero, with pixels of all lengths."""
    generator = torch.Generator().manual_seed(0)
    lengths = torch.rand(2, 2, 1, 19, 23, generator=generator) ** 3
    maps = 7 + lengths * torch.randn(2, 2, channels, 19, 23, generator=generator)
    return [each.to(kind).requires_grad_() for each, kind in zip(maps, kinds, strict=True)]


@needs_kernels
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("channels", [5, 16, 39])
@pytest.mark.parametrize("kinds", KINDS)
def test_vectors_and_gradients_are_those_of_float64(kinds, channels, threads, on_threads):
    maps = some_maps(kinds, channels)
    gradients = torch.randn(2, 2, channels, 19, 23, generator=torch.Generator().manual_seed(1))
    exact = [each.detach().double().requires_grad_() for each in maps]
    with on_threads(threads):
        found = cosines(*maps, FLAT)
        back = torch.autograd.grad(found, maps, list(gradients))
    expected = plain(*exact)
    expected_back = torch.autograd.grad(expected, exact, list(gradients.double()))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other.float(), rtol=1e-4, atol=1e-5)
    for one, other, kind in zip(back, expected_back, kinds, strict=True):
        assert one.dtype == kind
        torch.testing.assert_close(one, other.to(kind), rtol=0.01 if kind == HALF else 1e-4, atol=1e-3)


@needs_kernels
def test_maps_without_anything_stay_empty():
    maps = torch.full((2, 1, 8, 4, 5), 3.0).requires_grad_()
    found = torch.stack(cosines(*maps, FLAT))
    found.sum().backward()
    assert not found.any() and maps.grad.isfinite().all()


@needs_kernels
def test_the_compiler_takes_it_in_one_piece():
    maps = some_maps(KINDS[0], 8)
    compiled = torch.compile(lambda one, two: cosines(one, two, FLAT), backend="aot_eager", fullgraph=True)
    for one, other in zip(compiled(*maps), cosines(*maps, FLAT), strict=True):
        torch.testing.assert_close(one, other)


def test_shapes_alone_are_enough():
    maps = [torch.empty(2, 12, 5, 7, device="meta", dtype=HALF) for _ in range(2)]
    assert all(each.shape == maps[0].shape and each.dtype == SINGLE for each in cosines(*maps, FLAT))


@needs_kernels
@pytest.mark.usefixtures("other_registers")
def test_the_other_width_of_registers_gives_the_same(on_threads):
    for kinds in KINDS:
        test_vectors_and_gradients_are_those_of_float64(kinds, 39, 3, on_threads)

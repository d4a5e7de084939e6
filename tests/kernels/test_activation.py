import pytest
import torch
import torch.nn.functional as F

from mdflow.kernels.activation import activation_gradient
from mdflow.kernels.native import panel

needs_kernels = pytest.mark.skipif(panel() is None, reason="no kernels for this processor, or no compiler")

# Channels, parts; pixels off every block.
CASES = [(40, 1), (96, 3), (12, 4), (7, 7)]


def exact(gradient, x, slope, parts):
    """The gradient of x and its sums in float64, by PyTorch's own operations."""
    x = x.double().requires_grad_()
    y = F.channel_shuffle(F.leaky_relu(x, slope), parts)
    (found,) = torch.autograd.grad(y, x, gradient.double())
    return found, found.sum((0, 2, 3))


@needs_kernels
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize(("channels", "parts"), CASES)
def test_the_gradient_goes_back_through_both(channels, parts, threads, on_threads):
    torch.manual_seed(0)
    x, gradient = torch.randn(2, 2, channels, 19, 23).unbind()
    y = F.channel_shuffle(F.leaky_relu(x, 0.3), parts)
    with on_threads(threads):
        found, bias = activation_gradient(gradient, y, 0.3, parts)
    expected, sums = exact(gradient, x, 0.3, parts)
    torch.testing.assert_close(found.double(), expected)
    torch.testing.assert_close(bias.double(), sums, rtol=1e-5, atol=1e-5)


@needs_kernels
def test_sums_of_many_pixels_are_exact():
    """In single precision alone they would be off in the third digit."""
    y = torch.ones(1, 8, 1500, 1500)
    gradient = torch.full_like(y, 0.1)
    _, bias = activation_gradient(gradient, y, 0.1, 1)
    expected = torch.full_like(bias, 1500**2 * gradient[0, 0, 0, 0].item())
    torch.testing.assert_close(bias, expected, rtol=1e-5, atol=0)


def test_shapes_alone_are_enough():
    y = torch.empty(2, 12, 5, 7, device="meta")
    found, bias = activation_gradient(y, y, 0.1, 3)
    assert found.shape == y.shape and bias.shape == (12,)


@needs_kernels
@pytest.mark.usefixtures("other_registers")
def test_the_other_width_of_registers_gives_the_same(on_threads):
    for channels, parts in CASES:
        test_the_gradient_goes_back_through_both(channels, parts, 2, on_threads)
